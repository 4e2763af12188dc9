"""Accuracy on labelled frames, and agreement with what the sensors saw."""
