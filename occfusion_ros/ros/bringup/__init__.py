"""Which processes a launch starts, with which arguments, and the view that RViz opens."""
