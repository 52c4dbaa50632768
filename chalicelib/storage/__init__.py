"""Calls of AWS: DynamoDB's reads, transactions and items, S3, secrets, queues, state machines and schedules."""
