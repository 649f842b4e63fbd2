"""Threads, permits and forks."""
