"""Malformed messages through conversions and node."""
