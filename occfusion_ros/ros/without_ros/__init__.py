"""Stand-ins for `ros2 launch`, `ros2 bag play` and tf2_ros; whoever has ROS installed may ignore them."""
