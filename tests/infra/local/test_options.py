"""The settings of `make run`: what they may be."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from chalicelib import settings
from infra.local.options import FUNCTION_SETTINGS, StartError, from_environment
from tests.infra.settings_page import RELAY_ONLY

RESOURCES = {
    "BLOBS_TABLE",
    "REPOSITORIES_TABLE",
    "UPLOADS_TABLE",
    "PROJECTS_TABLE",
    "ACCOUNTS_TABLE",
    "BUCKET",
    "EVENTS_TABLE",
    "WEBHOOK_QUEUE",
    "JOBS_TABLE",
    "STATE_MACHINES",
    "SCHEDULE_GROUP",
    "SCHEDULE_TARGET",
    "SCHEDULE_ROLE",
}
PLACED = {
    f"BERTH_{name}"
    for name in RESOURCES
    | {
        "SIGNING_SECRET",
        "UPLOAD_SECRET",
        "ADMIN_SECRET",
        "OIDC_SECRET",
        "ENDPOINT_SECRETS",
        "RELAY_URL",
        "S3_PUBLIC_ENDPOINT",
    }
}


def test_without_any_setting() -> None:
    found = from_environment({"BERTH_HOST": ""})
    assert found.registry == "localhost:8080"
    assert found.bind == "127.0.0.1"
    assert found.state == Path(".berth").resolve()
    assert found.password is None
    assert found.function_settings == {}


@pytest.mark.parametrize("port", ["0", "65536", "-1", "8080x", "1e3", "٣", "123456", " 80"])
def test_a_port_is_a_number_in_range(port: str) -> None:
    with pytest.raises(StartError, match="BERTH_PORT must be a number from 1 to 65535"):
        from_environment({"BERTH_PORT": port})


@pytest.mark.parametrize("host", ["http://x", "x:80", "a b", "x/y", "-x", "::1"])
def test_a_host_is_a_name(host: str) -> None:
    with pytest.raises(StartError, match="BERTH_HOST"):
        from_environment({"BERTH_HOST": host})


@pytest.mark.parametrize(
    ("host", "bind"),
    [("localhost", "127.0.0.1"), ("berth.localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("a.lan", "0.0.0.0")],
)
def test_only_another_name_is_served_to_other_machines(host: str, bind: str) -> None:
    assert from_environment({"BERTH_HOST": host}).bind == bind


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BERTH_TOKEN_SECONDS", "10"),
        ("BERTH_TOKEN_SECONDS", "five"),
        ("BERTH_URL_SECONDS", "999999"),
        ("BERTH_SPARSE_INDEXES", "yes"),
        ("BERTH_OUTBOUND_ALLOWED", "10.0.0.0/8;rm"),
    ],
)
def test_settings_of_the_functions_are_what_the_stack_takes(name: str, value: str) -> None:
    with pytest.raises(StartError, match=name):
        from_environment({name: value})


def test_settings_of_the_functions_go_on() -> None:
    given = {"BERTH_TOKEN_SECONDS": "60", "BERTH_SPARSE_INDEXES": "true", "BERTH_BUCKET": "not for users"}
    assert from_environment(given).function_settings == {"BERTH_TOKEN_SECONDS": "60", "BERTH_SPARSE_INDEXES": "true"}


def test_a_password_is_one_line() -> None:
    with pytest.raises(StartError, match="BERTH_ADMIN_PASSWORD"):
        from_environment({"BERTH_ADMIN_PASSWORD": "a\nb"})


def test_every_setting_of_the_functions_can_be_set() -> None:
    read = set(re.findall(r"BERTH_[A-Z0-9_]+", inspect.getsource(settings)))
    assert read - PLACED - RELAY_ONLY == set(FUNCTION_SETTINGS)
