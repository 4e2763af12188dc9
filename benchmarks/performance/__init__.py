"""What a frame costs: operations, bytes, time and memory, by stage and by size."""
