"""Tag retention: what is chosen, and what becomes of it."""
