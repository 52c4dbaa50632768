"""What a pull from a proxy project costs once it is warm, and that other projects' pulls know nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.access import tokens
from chalicelib.access.authentication import Caller
from chalicelib.registry.pull import _contents
from chalicelib.settings import settings
from tests.conftest import ADMIN
from tests.proxycache.pulls.conftest import Proxy
from tests.registry.images import push_blob, push_image
from tests.registry.test_budgets import counted
from tests.upstreams.servers.scripted import Scripted

_PROJECT = Path(__file__).resolve().parents[3]

_SCRIPT = """
import json, sys
from chalicelib.v2 import hits
from chalicelib.http import Request
from chalicelib.v2.routes import handle
for path in sys.argv[2:]:
    answer = handle(Request("GET", path, {}, {"authorization": sys.argv[1]}, b"", "http://localhost"))
    assert answer.status in (200, 307), answer
hits.blobs.flush()
print(json.dumps([name for name in sys.modules if name.startswith(("chalicelib.proxycache", "chalicelib.upstreams"))]))
"""


@pytest.fixture
def fresh_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_PROXY_FRESH_SECONDS", "60")
    settings.cache_clear()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.usefixtures("fresh_for_a_minute")
def test_a_warm_manifest(proxy: Proxy, upstream: Scripted, method: str) -> None:
    digest = upstream.put_image("app", "v1").digest
    assert proxy.get("app/manifests/v1").status == 200
    upstream.forget()
    by_tag = {"GET": (1, 0, 0), "HEAD": (0, 0, 0)}[method]  # a HEAD is answered by what upstream said of the tag
    for reference, budget in ((digest, (1, 0, 0)), ("v1", by_tag)):
        for state in ("warm", "cold"):
            if state == "cold":
                _contents.__init__(1 << 20)  # type: ignore[misc]  # a container that has served nothing yet
            with counted() as calls:
                assert proxy.ask(method, f"app/manifests/{reference}").status == 200
            assert calls.summary == budget, (state, reference, calls)
    proxy.later()
    with counted() as calls:
        assert proxy.ask(method, "app/manifests/v1").status == 200
    assert calls.summary == (by_tag[0] + 1, 0, 0)  # what another container was told
    assert upstream.count(path="*/manifests/*") == 0


def test_a_tag_that_is_asked_for_anew(proxy: Proxy, upstream: Scripted) -> None:
    upstream.put_image("app", "v1")
    assert proxy.get("app/manifests/v1").status == 200
    upstream.forget()
    with counted() as calls:
        assert proxy.get("app/manifests/v1").status == 200
    assert calls.summary == (3, 2, 0)
    assert [each.method for each in upstream.asked(path="*/manifests/*")] == ["HEAD"]


def test_a_warm_blob(proxy: Proxy) -> None:
    digest = push_blob(f"{proxy.name}/app", os.urandom(8))["digest"]
    for method in ("GET", "HEAD"):
        with counted() as calls:
            assert proxy.ask(method, f"app/blobs/{digest}").status == 307
        assert calls.summary[1:] == (0, 0)
        assert calls.summary[0] <= 1  # who cannot push is answered for seconds by what was found


def test_a_pull_from_another_project_does_not_even_import_it(repository: str) -> None:
    digest, _ = push_image(repository, "v1")
    blob = push_blob(repository, os.urandom(8))["digest"]
    authorization = f"Bearer {tokens.issue(Caller(ADMIN, is_admin=True), [f'repository:{repository}:pull']).text}"
    paths = [f"/v2/{repository}/{each}" for each in (f"manifests/{digest}", "manifests/v1", f"blobs/{blob}")]
    command = [sys.executable, "-c", _SCRIPT, authorization, *paths]
    ran = subprocess.run(command, cwd=_PROJECT, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout.splitlines()[-1]) == []
