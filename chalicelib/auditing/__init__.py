"""The audit log: listing who did what, when and from where, and purging it (Harbor's AuditLog and AuditLogExt)."""
