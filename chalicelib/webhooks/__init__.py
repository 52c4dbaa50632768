"""Webhooks: what a project's policies want to be told, and the telling (Harbor, src/pkg/notification)."""
