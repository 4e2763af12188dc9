"""Readers and generators that yield the same `SensorFrame` the node builds."""
