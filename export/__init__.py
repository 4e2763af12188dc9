"""PyTorch weights to network files with a contract (used from a checkout, not installed)."""
