"""What goes on working after a restart of `make run`, whose cloud then has another port."""

from __future__ import annotations

import base64
import json
import re
import urllib.request
from pathlib import Path

import pytest

from infra.local.snapshots import Snapshots
from tests.crash.client import Client
from tests.infra.local.instance import PASSWORD, Instance
from tests.webhooks.receiver import receiving


def call(instance: Instance, method: str, path: str, body: object) -> None:
    basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    content = json.dumps(body).encode()
    request = urllib.request.Request(f"{instance.url}/api/v2.0{path}", content, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status in (200, 201)


def push(instance: Instance, tag: str) -> None:
    client = Client(instance.url)
    client.log_in("library/app")
    client.push("library/app", tag, size=1000)


@pytest.mark.slow
def test_webhooks_are_delivered_after_a_restart(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "state", BERTH_OUTBOUND_ALLOWED="127.0.0.0/8")
    with receiving() as receiver:
        instance.start()
        target = {"type": "http", "address": receiver.url}
        policy = {"name": "hook", "enabled": True, "event_types": ["PUSH_ARTIFACT"], "targets": [target]}
        call(instance, "POST", "/projects/library/webhook/policies", policy)
        push(instance, "before")
        receiver.wait(1)
        assert instance.stop()[0] == 0
        before = instance.facts["cloud_url"]

        use_old_urls(instance.state)
        instance.start()
        assert instance.facts["cloud_url"] != before
        push(instance, "after")
        assert receiver.wait(2)[1].json["event_data"]["resources"][0]["tag"] == "after"
        assert instance.stop()[0] == 0


def use_old_urls(state: Path) -> None:
    """Name the queues by the port of a run, as states have them that an older Berth has saved."""
    current = Snapshots(state / "ministack").current
    saved = current.parent / str(int(current.name) - 1) / "sqs.json"
    text = saved.read_text()
    assert re.search(r"http://127\.0\.0\.1:[0-9]+/", text)
    saved.write_text(re.sub(r"http://127\.0\.0\.1:[0-9]+/", "http://127.0.0.1:41825/", text))
