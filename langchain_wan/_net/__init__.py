"""HTTP with a guard: deadlines, allowed addresses, and no knowledge of any service."""
