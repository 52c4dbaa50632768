"""What webhooks keep: policies, and deliveries."""
