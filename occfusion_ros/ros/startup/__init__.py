"""How every command of the package begins and ends: middleware, memory, rclpy, names, signals."""
