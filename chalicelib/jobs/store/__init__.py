"""What jobs keep: executions, their tasks, and schedules."""
