"""The Chalice app: registers the blueprints and names the Lambdas; nothing else."""

from __future__ import annotations

import os
from typing import Any

from chalicelib import background
from chalicelib.access.routes import blueprint as access_routes
from chalicelib.api.routes import blueprint as api_routes
from chalicelib.chalice_http import BerthApp
from chalicelib.console.routes import blueprint as console_routes
from chalicelib.v2.routes import blueprint as registry_routes

app = BerthApp(app_name="berth")
app.register_blueprint(registry_routes)
app.register_blueprint(access_routes)
app.register_blueprint(api_routes)
app.register_blueprint(console_routes)

if os.environ.get("_HANDLER") == "app.app" and "AWS_LAMBDA_RUNTIME_API" in os.environ:
    background.start_extension()


@app.lambda_function(name="rotate_signing_key")
def rotate_signing_key(event: dict[str, Any], _context: Any) -> None:
    from chalicelib.access.keys import rotate  # noqa: PLC0415 -- the request Lambda does without it

    rotate(event)


@app.lambda_function(name="sweep_uploads")
def sweep_uploads(_event: dict[str, Any], _context: Any) -> int:
    from chalicelib.registry.uploads import sweep  # noqa: PLC0415 -- see above

    return sweep()


@app.lambda_function(name="collect_garbage")
def collect_garbage(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    from chalicelib.gc.steps import run  # noqa: PLC0415 -- see above

    return run(event)


@app.lambda_function(name="recount_usage")
def recount_usage(event: dict[str, Any], context: Any) -> list[dict[str, Any]]:
    from chalicelib.artifacts.recount import run  # noqa: PLC0415 -- see above

    # A page takes seconds at most; what is not done by then is left to the next run.
    return run(event.get("project", ""), lambda: context.get_remaining_time_in_millis() > 60_000)


@app.lambda_function(name="dispatch_events")
def dispatch_events(event: dict[str, Any], _context: Any) -> int:
    from chalicelib.webhooks.dispatch import run  # noqa: PLC0415 -- see above

    return run(event)


@app.lambda_function(name="deliver_webhook")
def deliver_webhook(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    from chalicelib.webhooks.delivery import run  # noqa: PLC0415 -- see above

    return run(event)


@app.lambda_function(name="run_purge_audit_log")
def run_purge_audit_log(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    from chalicelib.auditing.purge_steps import run  # noqa: PLC0415 -- see above

    return run(event)


@app.lambda_function(name="run_retention")
def run_retention(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    from chalicelib.retention.steps import run  # noqa: PLC0415 -- see above

    return run(event)


@app.lambda_function(name="delete_repositories")
def delete_repositories(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    from chalicelib.artifacts.repository_deletion_steps import run  # noqa: PLC0415 -- see above

    return run(event)


@app.lambda_function(name="refresh_proxies")
def refresh_proxies(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    from chalicelib.proxycache.refresh_steps import run  # noqa: PLC0415 -- see above

    return run(event)


@app.lambda_function(name="fill_blobs")
def fill_blobs(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    from chalicelib.proxycache.steps import run  # noqa: PLC0415 -- see above

    return run(event)


@app.lambda_function(name="run_scheduled_job")
def run_scheduled_job(event: dict[str, Any], _context: Any) -> int | None:
    from chalicelib import job_kinds  # noqa: F401, PLC0415 -- a schedule may be of any kind
    from chalicelib.jobs.schedules import run  # noqa: PLC0415 -- see above

    return run(event)


@app.lambda_function(name="check_registries")
def check_registries(_event: dict[str, Any], _context: Any) -> dict[str, int]:
    from chalicelib.upstreams.health import run  # noqa: PLC0415 -- see above

    return run()
