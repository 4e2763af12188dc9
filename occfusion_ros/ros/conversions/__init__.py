"""ROS messages to arrays and arrays to ROS messages; no state, no node."""
