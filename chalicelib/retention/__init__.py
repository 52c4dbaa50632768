"""Tag retention: which artifacts of a project's repositories stay, and the deletion of the others."""
