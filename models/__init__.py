"""The network, its losses, training and evaluation (used from a checkout, not installed)."""
