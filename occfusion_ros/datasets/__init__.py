"""Readers that yield the same `SensorFrame` the node builds."""
