"""`make demo`: plays drives through the node and keeps pictures of what it published."""
