"""From a sensor frame to fixed-size tensors: the same code in training, export and on the robot."""
