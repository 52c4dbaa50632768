"""What has happened: its record, the topics of webhooks, and the table that keeps it."""
