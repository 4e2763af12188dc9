"""Transforms from TF: the buffer that the node asks, and the tree of messages it stands on without tf2."""
