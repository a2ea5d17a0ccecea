"""The page of one star."""
