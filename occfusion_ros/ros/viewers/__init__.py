"""What the node publishes, for programs that show it to people: one reader, and a thin writer for each of them."""
