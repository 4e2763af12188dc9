"""What each idea of the method is worth: variants trained on one budget, compared on one page."""
