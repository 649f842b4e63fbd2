"""Threads for heavy work, permits for paid calls, and forks."""
