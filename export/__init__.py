"""PyTorch weights to engine files with a contract (used from a checkout, not installed)."""
