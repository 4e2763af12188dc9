"""What a planner asks of an answer: how high the road lies, what blocks the way, and what a way costs."""
