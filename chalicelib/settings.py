"""Settings: the environment, read once into a frozen record. docs/settings.md lists each."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Settings:
    """What the deployed stack tells its functions. Durations are seconds, sizes are bytes."""

    blobs_table: str
    repositories_table: str
    uploads_table: str
    projects_table: str
    accounts_table: str
    events_table: str
    jobs_table: str
    bucket: str
    signing_secret: str
    """Name of the Secrets Manager secret that holds the current and the previous signing key."""
    upload_secret: str
    """Name of that of the keys which sign upload addresses, and nothing else."""
    admin_secret: str
    """Name of the Secrets Manager secret that holds the administrator's name and password hash."""
    oidc_secret: str
    """Name of the Secrets Manager secret that holds what Berth proves itself by to the OIDC provider."""
    endpoint_secrets: str
    """What the names of the Secrets Manager secrets of upstream registries begin with."""
    state_machines: str
    """What the ARNs of the stack's state machines begin with; the name of each follows."""
    schedule_group: str
    """Name of EventBridge Scheduler's group that the schedules of jobs are in."""
    schedule_target: str
    """ARN of the function that schedules of jobs invoke."""
    schedule_role: str
    """ARN of the role that they do it with."""
    s3_public_endpoint: str | None
    """Where clients reach S3, when that differs from where the function does (never so on AWS).

    `{host}` in it stands for the name by which the client reached the registry.
    """
    relay_url: str
    """Base of upload Locations: an absolute URL, a path on the same host, or empty for the API itself."""
    registry_url: str
    """The registry's base URL, for a relay with a host of its own: where the blobs that it finishes are. Else empty."""
    token_seconds: int
    refresh_tokens: bool
    """Give `docker login` a refresh token to keep in place of the password (chalicelib/access/token_service.py)."""
    upload_seconds: int
    url_seconds: int
    """Life of a presigned download URL. A collector's grace period must exceed it (docs/gc.md)."""
    candidate_renew_seconds: int
    """A candidate for collection that has waited so long gets its full time again when a client is told of it."""
    push_seconds: int
    """How long a push may take: an edge that is older and belongs to no manifest is an orphan."""
    gc_grace_seconds: int
    """How long a condemned blob waits for somebody who still needs it (docs/gc.md, "Times")."""
    gc_window_seconds: int
    """How long something must have been garbage before it is condemned: a run's `time_window`, when it gives none."""
    gc_reconcile_days: int
    """How often a run looks through all tables and objects for what crashes have left."""
    gc_unsafe_times: bool
    """Allow a grace and a window of any length: clients may be told of blobs that then go. For tests."""
    sparse_indexes: bool
    """Accept an index that names what the repository holds neither as a manifest nor as a blob."""
    proxy_fresh_seconds: int
    """How long what an upstream registry said of a tag is good for (chalicelib/proxycache/freshness.py)."""
    proxy_wait_seconds: int
    """How long a request waits for a blob that is being fetched, inside the gateway's 30 seconds."""
    webhook_queue: str
    """URL of the queue of deliveries."""
    webhook_retry_seconds: int
    """How long a delivery that failed waits for its second attempt; each pause after that is four times as long."""
    outbound_allowed: tuple[str, ...]
    """Private networks (CIDR) and host names that may be called all the same (chalicelib/outbound.py)."""


@cache
def settings() -> Settings:
    """The process's settings. Raises KeyError naming the variable that is missing."""
    env = os.environ
    return Settings(
        blobs_table=env["BERTH_BLOBS_TABLE"],
        repositories_table=env["BERTH_REPOSITORIES_TABLE"],
        uploads_table=env["BERTH_UPLOADS_TABLE"],
        projects_table=env["BERTH_PROJECTS_TABLE"],
        accounts_table=env["BERTH_ACCOUNTS_TABLE"],
        events_table=env["BERTH_EVENTS_TABLE"],
        jobs_table=env["BERTH_JOBS_TABLE"],
        bucket=env["BERTH_BUCKET"],
        signing_secret=env["BERTH_SIGNING_SECRET"],
        upload_secret=env["BERTH_UPLOAD_SECRET"],
        admin_secret=env["BERTH_ADMIN_SECRET"],
        oidc_secret=env["BERTH_OIDC_SECRET"],
        endpoint_secrets=env["BERTH_ENDPOINT_SECRETS"],
        state_machines=env["BERTH_STATE_MACHINES"],
        schedule_group=env["BERTH_SCHEDULE_GROUP"],
        schedule_target=env["BERTH_SCHEDULE_TARGET"],
        schedule_role=env["BERTH_SCHEDULE_ROLE"],
        s3_public_endpoint=env.get("BERTH_S3_PUBLIC_ENDPOINT") or None,
        relay_url=env.get("BERTH_RELAY_URL", "").rstrip("/"),
        registry_url=env.get("BERTH_REGISTRY_URL", "").rstrip("/"),
        token_seconds=int(env.get("BERTH_TOKEN_SECONDS", "300")),
        refresh_tokens=env.get("BERTH_REFRESH_TOKENS", "false").lower() == "true",
        upload_seconds=int(env.get("BERTH_UPLOAD_SECONDS", "86400")),
        url_seconds=int(env.get("BERTH_URL_SECONDS", "1200")),
        candidate_renew_seconds=int(env.get("BERTH_CANDIDATE_RENEW_SECONDS", "600")),
        push_seconds=int(env.get("BERTH_PUSH_SECONDS", "60")),
        gc_grace_seconds=int(env.get("BERTH_GC_GRACE_SECONDS", "7200")),
        gc_window_seconds=int(env.get("BERTH_GC_WINDOW_SECONDS", "7200")),
        gc_reconcile_days=int(env.get("BERTH_GC_RECONCILE_DAYS", "7")),
        gc_unsafe_times=env.get("BERTH_GC_UNSAFE_TIMES", "false").lower() == "true",
        sparse_indexes=env.get("BERTH_SPARSE_INDEXES", "false").lower() == "true",
        proxy_fresh_seconds=int(env.get("BERTH_PROXY_FRESH_SECONDS", "5")),
        proxy_wait_seconds=int(env.get("BERTH_PROXY_WAIT_SECONDS", "21")),
        webhook_queue=env["BERTH_WEBHOOK_QUEUE"],
        webhook_retry_seconds=int(env.get("BERTH_WEBHOOK_RETRY_SECONDS", "10")),
        outbound_allowed=tuple(filter(None, re.split(r"[\s,]+", env.get("BERTH_OUTBOUND_ALLOWED", "")))),
    )
