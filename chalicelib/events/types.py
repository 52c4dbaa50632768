"""The types of events that the audit log holds."""

from __future__ import annotations

EVENT_TYPES = (
    *("create_artifact", "delete_artifact", "pull_artifact", "delete_tag", "delete_repository"),
    *("create_project", "update_project", "delete_project"),
    *("create_member", "update_member", "delete_member"),
    *("create_robot", "update_robot", "delete_robot"),
    *("create_user", "update_user", "delete_user", "login_user", "logout_user"),
    *("create_webhook", "update_webhook", "delete_webhook", "update_configuration"),
    "execute_gc",
)
"""What is logged: Harbor's types (src/pkg/auditext/model/model.go), with those that Berth tells of beside them."""
