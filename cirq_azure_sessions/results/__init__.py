"""Results, and what they look like to a person."""
