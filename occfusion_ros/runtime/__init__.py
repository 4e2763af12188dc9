"""From sensor frames to occupancy grids on whatever runs the engines."""
