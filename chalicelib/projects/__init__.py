"""Projects: who owns the repositories, and who may see them."""
