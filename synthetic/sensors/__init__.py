"""What a rig of cameras and LiDAR sees of a world."""
