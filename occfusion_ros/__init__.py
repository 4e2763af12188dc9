"""OccFusion for ROS 2: camera + LiDAR semantic occupancy."""

__version__ = "0.1.0"
