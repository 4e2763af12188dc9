"""What runs the networks: one file for each backend, the protocol they keep and the table of all."""
