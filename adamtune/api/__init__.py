"""adamtune from Python: a search, and studies with their numbers, charts and settings."""
