"""Text on its way to people: what a terminal, a log or a page may hold."""
