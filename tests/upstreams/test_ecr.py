"""Logging in to Amazon ECR: the local cloud exchanges the access key, a registry beside it wants what comes of that."""

from __future__ import annotations

import json
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chalicelib.upstreams import ecr, endpoints
from chalicelib.upstreams.authorization import Credential
from chalicelib.upstreams.client import Upstream
from chalicelib.upstreams.endpoints import Changes
from chalicelib.upstreams.errors import (
    EndpointInvalidError,
    EndpointUnhealthyError,
    UpstreamRateLimited,
    UpstreamUnauthorized,
    UpstreamUnreachable,
)
from tests.conftest import URL
from tests.upstreams.endpoints import endpoint
from tests.upstreams.servers.scripted import Scripted, scripted
from tests.upstreams.servers.serving import Handler, Server, serving

HOST = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
KEY = Credential("AKIDEXAMPLE", "secret of the key")


@pytest.fixture
def registry(loopback: None, cloud: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """What stands at the account's name, and wants the password that the local cloud gives."""
    resolve = socket.getaddrinfo

    def to_here(host: str, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host.endswith(".amazonaws.com") else host, *rest, **more)

    monkeypatch.setattr("chalicelib.outbound.socket.getaddrinfo", to_here)
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", URL)
    with scripted(basic=("AWS", "ministack-auth-token")) as running:
        yield running


def address(registry: Scripted) -> str:
    return f"http://{HOST}:{registry.name.rpartition(':')[2]}"


@contextmanager
def api(status: int, document: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An API of ECR's that answers this; with the headers of what it was asked."""
    asked: list[dict[str, str]] = []

    class _Handler(Handler):
        def respond(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append({name.lower(): value for name, value in self.headers.items()})
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Server("127.0.0.1", 0, _Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}", asked


def login(seconds: float = 43_200, registry: str = f"https://{HOST}") -> dict[str, Any]:
    token = b64encode(b"AWS:given").decode()
    data = {"authorizationToken": token, "expiresAt": time.time() + seconds, "proxyEndpoint": registry}
    return {"authorizationData": [data]}


def test_images_are_pulled_with_what_the_key_is_exchanged_for(registry: Scripted) -> None:
    image = registry.put_image("team/app", "v1")
    it = Upstream(endpoint(address(registry), type="aws-ecr", access_key=KEY.name), KEY)
    it.ping()
    assert it.get_manifest("team/app", "v1")[1] == image.manifest
    registry.basic = ("AWS", "another")
    with pytest.raises(UpstreamUnauthorized):
        it.get_manifest("team/app", "v1")


def test_the_address_of_a_regions_api_stands_for_the_accounts_registry(
    registry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = registry.put_image("app", "v1")
    registry.basic = ("AWS", "given")
    with api(200, login(registry=address(registry))) as (url, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", url)
        record = endpoint("https://api.ecr.eu-west-1.amazonaws.com", type="aws-ecr", access_key=KEY.name)
        it = Upstream(record, KEY)
        for _ in range(3):
            assert it.get_manifest("app", "v1")[2] == image.digest
    [headers] = asked
    assert headers["x-amz-target"].endswith(".GetAuthorizationToken")
    assert "Credential=AKIDEXAMPLE/" in headers["authorization"]
    assert "/eu-west-1/ecr/aws4_request" in headers["authorization"]
    assert KEY.password not in str(headers)


def test_a_login_is_kept_for_the_most_of_its_life(loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = time.time()
    with api(200, login(seconds=1000)) as (url, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", url)
        account = ecr.Account(f"https://{HOST}", lambda: KEY, True)
        for _ in range(5):
            assert account.credential() == Credential("AWS", "given")
        assert len(asked) == 1
        monkeypatch.setattr(time, "time", lambda: begun + 850)
        account.credential()
        assert len(asked) == 2


@pytest.mark.parametrize(
    ("status", "document", "error"),
    [
        (400, {"__type": "UnrecognizedClientException"}, UpstreamUnauthorized),
        (400, {"__type": "com.amazonaws.ecr#ThrottlingException"}, UpstreamRateLimited),
        (403, {}, UpstreamUnauthorized),
        (500, {}, UpstreamUnreachable),
        (200, {}, UpstreamUnreachable),
        (200, {"authorizationData": []}, UpstreamUnreachable),
        (
            200,
            {"authorizationData": [{"authorizationToken": "é", "expiresAt": 1, "proxyEndpoint": ""}]},
            UpstreamUnreachable,
        ),
    ],
)
def test_an_api_that_gives_no_login(
    loopback: None, monkeypatch: pytest.MonkeyPatch, status: int, document: dict[str, Any], error: type[Exception]
) -> None:
    with api(status, document) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", url)
        with pytest.raises(error) as caught:
            ecr.Account(f"https://{HOST}", lambda: KEY, True).credential()
        assert KEY.password not in str(caught.value)


def test_a_record_needs_an_address_of_ecr_and_a_key(registry: Scripted) -> None:
    for wrong in (
        Changes(name="ecr", url="https://registry.example.com", access_key="AKID", password="secret"),
        Changes(name="ecr", url=f"https://{HOST}.example.com", access_key="AKID", password="secret"),
        Changes(name="ecr", url=address(registry)),
    ):
        with pytest.raises(EndpointInvalidError):
            endpoints.create("aws-ecr", wrong)
    registry.basic = ("AWS", "another")
    with pytest.raises(EndpointUnhealthyError):
        endpoints.create("aws-ecr", Changes(name="ecr", url=address(registry), access_key="AKID", password="secret"))
    registry.basic = ("AWS", "ministack-auth-token")
    made = endpoints.create("aws-ecr", Changes(name="ecr", url=address(registry), access_key="AKID", password="secret"))
    assert endpoints.check_health(made) == "healthy"
    endpoints.delete(made.number)
