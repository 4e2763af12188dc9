"""Accuracy on labeled frames, and agreement with what the sensors saw."""
