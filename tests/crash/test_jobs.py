"""`make run` killed while a job runs: what ran is an error, what is scheduled goes on."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.infra.local.instance import PASSWORD, Instance
from tests.jobs.support import rule


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(tmp_path / "state")
    instance.start()
    try:
        yield instance
    finally:
        instance.stop()


def api(instance: Instance, method: str, path: str, body: Any = None) -> tuple[Any, str]:
    """The answer's JSON, and its Location."""
    credentials = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{instance.url}/api/v2.0{path}", content, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
        return (json.loads(text) if text else None), answer.headers.get("Location", "")


def schedules_of(instance: Instance) -> list[str]:
    client = boto3.client(
        "scheduler",
        endpoint_url=instance.facts["cloud_url"],
        region_name=instance.facts["region"],
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    return [schedule["Name"] for schedule in client.list_schedules(GroupName="berth-jobs")["Schedules"]]


def test_a_job_that_a_kill_ends_is_an_error_and_its_schedule_is_back(instance: Instance) -> None:
    policy = {
        "algorithm": "or",
        "rules": [rule()],
        "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 3 * * *"}},
        "scope": {"level": "project", "ref": api(instance, "GET", "/projects/library")[0]["project_id"]},
    }
    number = api(instance, "POST", "/retentions", policy)[1].rpartition("/")[2]
    started = api(instance, "POST", f"/retentions/{number}/executions", {"dry_run": True})[1].rpartition("/")[2]
    instance.kill()
    instance.start()
    assert f"RETENTION-{number}" in schedules_of(instance)
    assert _final(instance, number, started) in ("Error", "Success")
    again = api(instance, "POST", f"/retentions/{number}/executions", {"dry_run": True})[1].rpartition("/")[2]
    assert int(again) > int(started), "numbers are not used twice"
    assert _final(instance, number, again) == "Success"


def _final(instance: Instance, policy: str, execution: str) -> str:
    """How an execution ends. One that was killed before its first step is found dead after a minute."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        found, _ = api(instance, "GET", f"/retentions/{policy}/executions")
        [status] = [each["status"] for each in found if str(each["id"]) == execution]
        if status not in ("Pending", "Running"):
            return str(status)
        time.sleep(0.5)
    raise AssertionError("it does not end")
