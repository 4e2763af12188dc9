"""What the node says of itself on /diagnostics and in the log: inputs, frames, cameras, memory."""
