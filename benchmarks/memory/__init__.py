"""What earlier frames are worth: accuracy, flicker, ghosts and cost of the memory."""
