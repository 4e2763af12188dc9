"""Measures how fast recordings are labeled, and how that grows with the number of workers."""
