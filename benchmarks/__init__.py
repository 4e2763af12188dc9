"""Proof of the claims: variants trained on one budget, their accuracy and cost, and the page that shows them."""
