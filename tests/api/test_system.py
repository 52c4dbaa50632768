from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from chalicelib.api import dispatch, system
from chalicelib.http import Request
from chalicelib.settings import settings
from chalicelib.storage import s3, secrets
from tests.api.support import call
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("administrator")


def health() -> dict[str, str]:
    response = call("GET", "/health", admin=False)
    assert response.status == 200
    body = json.loads(response.body)
    return {"overall": body["status"], **{entry["name"]: entry["status"] for entry in body["components"]}}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Change the environment; the settings are read anew before and after."""
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture(autouse=True)
def asked_anew() -> None:
    system._healthy.clear()


def test_all_is_healthy() -> None:
    assert set(health().values()) == {"healthy"}


def test_stores_that_answered_a_moment_ago_are_not_asked_again() -> None:
    health()
    with counted() as calls:
        assert set(health().values()) == {"healthy"}
    assert calls == []


@pytest.mark.parametrize(
    ("variable", "component"),
    [("BERTH_BUCKET", "storage"), ("BERTH_PROJECTS_TABLE", "database"), ("BERTH_SIGNING_SECRET", "secrets")],
)
def test_a_component_that_does_not_answer_is_told(variable: str, component: str, elsewhere: pytest.MonkeyPatch) -> None:
    elsewhere.setenv(variable, "no-such-thing")
    settings.cache_clear()
    found = health()
    assert found.pop(component) == "unhealthy"
    assert found.pop("overall") == "unhealthy"
    assert set(found.values()) == {"healthy"}


def test_health_names_no_host_or_store(elsewhere: pytest.MonkeyPatch) -> None:
    elsewhere.setenv("BERTH_BUCKET", "no-such-thing")
    settings.cache_clear()
    assert b"no-such-thing" not in call("GET", "/health", admin=False).body


def test_ping_answers_in_plain_text() -> None:
    response = call("GET", "/ping", admin=False)
    assert (response.status, response.headers["Content-Type"], response.body) == (200, "text/plain", b"Pong")


def test_systeminfo_tells_nobody_only_how_to_log_in() -> None:
    anonymous = json.loads(call("GET", "/systeminfo", admin=False).body)
    full = json.loads(call("GET", "/systeminfo").body)
    assert anonymous["auth_mode"] == "db_auth"
    assert "harbor_version" not in anonymous
    assert full["registry_url"] == "registry.example.com"
    assert full["harbor_version"].startswith("v2.")


def test_the_probes_ask_the_configured_stores() -> None:
    assert s3.bucket_url().endswith(settings().bucket)
    assert secrets.read(settings().signing_secret)


def test_answers_are_kept_by_nobody_and_run_nowhere() -> None:
    """Among them are robots' secrets, and what users have written. HSTS is for TLS only (RFC 6797, section 7.2)."""
    secure = call("GET", "/ping").headers
    assert (secure["Cache-Control"], secure["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert secure["Content-Security-Policy"].endswith("sandbox")
    assert secure["Strict-Transport-Security"] == "max-age=31536000"
    plain = dispatch.handle(Request("GET", "/api/v2.0/nothing", origin="http://127.0.0.1:8080"))
    assert (plain.status, plain.headers["Cache-Control"]) == (404, "no-store")
    assert "Strict-Transport-Security" not in plain.headers
