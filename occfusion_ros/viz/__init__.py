"""Pictures of occupancy grids: numpy in, numpy out; headless, no window system and no GPU."""
