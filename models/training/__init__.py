"""Training: frames, batches, losses, objective, checkpoints."""
