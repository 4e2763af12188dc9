"""Is what the networks say of their own certainty true?"""
