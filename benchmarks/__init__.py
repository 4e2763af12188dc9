"""Measurements behind every figure of the documentation; each package is a command, `python -m benchmarks.NAME`."""
