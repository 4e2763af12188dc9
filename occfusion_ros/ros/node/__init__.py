"""The line from messages to messages: the lifecycle node and everything that a frame passes in it."""
