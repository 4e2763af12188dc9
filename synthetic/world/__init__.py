"""Streets put together from objects, block by block, with the truth of what is where."""
