"""Between the gateway's event and the registry's own request."""

from __future__ import annotations

from typing import Any

from chalice.app import Request as ChaliceRequest

from chalicelib.chalice_http import to_request
from chalicelib.http import Request
from infra.local.gateway import Match, make_event


def arrived(query: str, body: bytes = b"", **headers: str) -> Request:
    """The request that a client's becomes on its way through the gateway and Chalice."""
    scope: dict[str, Any] = {
        "method": "GET",
        "scheme": "http",
        "http_version": "1.1",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 1),
    }
    event = make_event(scope, "/v2/a/b", Match("/v2/{proxy+}", {"proxy": "a/b"}), body)
    return to_request(ChaliceRequest(event, None), "/v2/a/b")


def test_of_a_parameter_that_stands_twice_the_first_counts() -> None:
    """As at the relay: what one of the two checks must not be another value than what the other uses."""
    assert arrived("digest=a&n=1&digest=b").query == {"digest": "a", "n": "1"}


def test_bytes_arrive_as_they_were_sent() -> None:
    for content in (b"", b"\xff\x00", b'{"a": 1}', "é".encode()):
        assert arrived("", content, **{"content-type": "application/json"}).body == content


def test_the_clients_own_address_is_the_gateways_to_say() -> None:
    request = arrived("", **{"x-forwarded-for": "198.51.100.7", "host": "registry.example.com"})
    assert (request.address, request.origin) == ("192.0.2.1", "http://registry.example.com")


def test_behind_several_proxies_the_scheme_is_the_first_ones() -> None:
    request = arrived("", **{"x-forwarded-proto": "https, http", "host": "registry.example.com"})
    assert request.origin == "https://registry.example.com"


def test_every_value_of_a_parameter_is_there_for_whom_it_may_stand_twice() -> None:
    request = arrived("tag=a&tag=b&n=1")
    assert (request.values("tag"), request.values("n"), request.values("digest")) == (["a", "b"], ["1"], [])
