"""Inference backends and the frame-to-grid pipeline."""
