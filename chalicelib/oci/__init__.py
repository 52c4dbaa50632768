"""The words of the OCI protocol, and of what it carries: pure, and below all else."""
