"""Adaptation of a model to a vehicle from its recordings, without labels."""
