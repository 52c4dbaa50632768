"""The audit log: who did what, when and from where (Harbor's AuditLog and AuditLogExt)."""
