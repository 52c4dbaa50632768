"""What access keeps: users, groups, robots, failed logins, sessions, settings."""
