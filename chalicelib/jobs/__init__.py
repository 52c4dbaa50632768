"""Background jobs: Harbor's executions and tasks, driven by Step Functions (docs/decisions/jobs.md)."""
