from __future__ import annotations

import json
import logging
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import observability
from chalicelib.http import Request, Response
from chalicelib.observability import observed, redact

DIGEST = "sha256:" + "1" * 64
SECRET = "c2VjcmV0LXZhbHVl"

MANIFEST = Request(
    "GET",
    "/v2/library/app/manifests/v1",
    {"_state": SECRET},
    {"authorization": f"Basic {SECRET}"},
    SECRET.encode(),
    request_id="id-of-the-gateway",
)


@observed
def found(_request: Request) -> Response:
    return Response(200, {"Docker-Content-Digest": DIGEST})


@observed
def busy(_request: Request) -> Response:
    return Response(503)


@observed
def broken(_request: Request) -> Response:
    raise RuntimeError(f"https://relay/v2/x?_state={SECRET}&a=1 authorization: 'Basic {SECRET}' token={SECRET}")


def lines(capture: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out = capture.readouterr().out
    assert SECRET not in out
    return [json.loads(line) for line in out.splitlines()]


def test_a_request_is_one_line_of_metrics_and_properties(capsys: pytest.CaptureFixture[str]) -> None:
    response = found(MANIFEST)
    [line] = lines(capsys)
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Berth"
    assert {metric["Name"] for metric in directive["Metrics"]} == {"Requests", "Duration"}
    expected = {
        "kind": "manifest",
        "status_class": "2xx",
        "status": 200,
        "request_id": "id-of-the-gateway",
        "repository": "library/app",
        "reference": "v1",
        "digest": DIGEST,
        "method": "GET",
        "service": "berth",
    }
    assert expected.items() <= line.items()
    assert response.headers["X-Request-Id"] == "id-of-the-gateway"


def test_a_throttled_request_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    busy(MANIFEST)
    [line] = lines(capsys)
    assert line["Throttled"] == [1.0]
    found(MANIFEST)
    [line] = lines(capsys)
    assert "Throttled" not in line


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/service/token", "token"), ("/api/v2.0/projects", "api"), ("/v2/_catalog", "catalog"), ("/v2/../x", "invalid")],
)
def test_the_kind_of_route_is_a_dimension(path: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    found(Request("GET", path))
    [line] = lines(capsys)
    assert line["kind"] == kind


def test_a_fault_is_logged_without_credentials_and_answered_500(capsys: pytest.CaptureFixture[str]) -> None:
    [handler] = observability.logger.handlers
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(sys.stdout)
    response = broken(MANIFEST)
    handler.setStream(before)
    fault, line = lines(capsys)
    assert (response.status, json.loads(response.body)["errors"][0]["code"]) == (500, "UNKNOWN")
    assert (fault["level"], fault["exception_name"], fault["repository"]) == ("ERROR", "RuntimeError", "library/app")
    assert line["status_class"] == "5xx"


@given(
    st.sampled_from(["?_state={}", "&token={}", "Authorization: Bearer {}", "'password': '{}'", "X-Amz-Signature={}"]),
    st.from_regex(r"[A-Za-z0-9_.\-]{8,60}", fullmatch=True),
)
def test_no_form_of_a_credential_survives_redaction(form: str, secret: str) -> None:
    assert secret not in redact(f"before {form.format(secret)} after")


@pytest.fixture
def xray(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """An X-Ray daemon's socket, and a Lambda's environment with a sampled trace."""
    daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    daemon.bind(("127.0.0.1", 0))
    daemon.settimeout(5)
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=557abcec3ee5a047;Sampled=1"
    monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", f"127.0.0.1:{daemon.getsockname()[1]}")
    monkeypatch.setenv("LAMBDA_TASK_ROOT", "/var/task")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    yield daemon
    observability._tracer.cache_clear()
    daemon.close()


def test_a_sampled_request_is_traced_by_what_it_names(xray: socket.socket) -> None:
    found(MANIFEST)
    found(MANIFEST)
    segment = json.loads(xray.recv(65536).split(b"\n", 1)[1])
    assert segment["name"] == "## manifest"
    assert segment["annotations"]["repository"] == "library/app"
    assert SECRET not in json.dumps(segment)


def test_a_record_costs_a_fraction_of_a_millisecond(capsys: pytest.CaptureFixture[str]) -> None:
    def round_of(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            found(MANIFEST)
        return (time.perf_counter() - started) / count

    assert min(round_of(200) for _ in range(5)) < 0.0004
