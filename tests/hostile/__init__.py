"""What one tenant may do to all others, done on purpose."""
