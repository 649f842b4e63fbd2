"""Remote services as values: what is sent to each, and how its answers are read."""
