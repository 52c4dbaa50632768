"""Calls to servers that users name, against real ones on this machine, which is what must not be called."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chalicelib import outbound
from chalicelib.outbound import AddressRefusedError, AnswerTooLargeError, UnreachableError, call, check
from chalicelib.settings import settings
from tests.upstreams.servers.certificates import make_certificate
from tests.upstreams.servers.scripted import scripted

Allow = Callable[..., None]


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[str]
    to: str

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if self.path == "/slow":
            time.sleep(0.7)
            self.send_response(302)
            self.send_header("Location", "/slow")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/stops":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(20):
                    time.sleep(1)
                    self.wfile.write(b"x")
            return
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", self.to)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        body = b"x" * 5000
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[str, type[_Server]]]]:
    """Start a server on a loopback address; returns its `host:port` and what it has seen."""
    servers = []

    def start(host: str, to: str = "") -> tuple[str, type[_Server]]:
        handler = type("Handler", (_Server,), {"seen": [], "to": to})
        server = ThreadingHTTPServer((host, 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"{host}:{server.server_port}", handler

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Allow]:
    present = settings()
    outbound.pool.cache_clear()

    def set_allowed(*entries: str) -> None:
        outbound.pool.cache_clear()
        monkeypatch.setattr(outbound, "settings", lambda: replace(present, outbound_allowed=entries))

    yield set_allowed
    outbound.pool.cache_clear()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST",
        "0.0.0.0",
        "0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "2852039166",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "192.0.0.9",
        "192.0.0.192",
        "192.88.99.1",
        "168.63.129.16",
        "100.100.100.200",
        "[fec0::1]",
        "[3fff::1]",
        "[5f00::1]",
        "[100::1]",
        "[64:ff9b:1::7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2001:db8::1]",
    ],
)
def test_what_is_not_public_is_refused(host: str, serve: Callable[..., tuple[str, type[_Server]]]) -> None:
    place, server = serve("127.0.0.1")
    with pytest.raises(AddressRefusedError):
        call("GET", f"http://{host}:{place.rpartition(':')[2]}/", seconds=2)
    assert server.seen == []


@pytest.mark.parametrize("address", ["8.8.8.8", "2600::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::"])
def test_public_addresses_may_be_called(address: str) -> None:
    check("example.com", address)


def test_a_network_that_is_allowed_may_be_called(serve: Callable[..., tuple[str, type[_Server]]], allow: Allow) -> None:
    place, _ = serve("127.0.0.2")
    allow("10.0.0.0/8", "127.0.0.2/32")
    assert call("GET", f"http://{place}/").body == b"x" * 5000
    check("x", "::ffff:127.0.0.2")
    with pytest.raises(AddressRefusedError):
        check("127.0.0.2", "127.0.0.3")


def test_a_name_that_is_allowed_opens_its_private_addresses_but_no_metadata(allow: Allow) -> None:
    allow("scanner.internal")
    check("Scanner.Internal.", "10.0.0.7")
    for host, address in [("other.internal", "10.0.0.7"), ("scanner.internal", "169.254.169.254")]:
        with pytest.raises(AddressRefusedError):
            check(host, address)
    allow("169.254.169.0/24")
    check("anything", "169.254.169.254")


def test_a_redirect_is_checked_like_the_first_address(
    serve: Callable[..., tuple[str, type[_Server]]], allow: Allow
) -> None:
    private, hidden = serve("127.0.0.1")
    place, server = serve("127.0.0.2", to=f"http://{private}/secret")
    allow("127.0.0.2")
    with pytest.raises(AddressRefusedError):
        call("GET", f"http://{place}/redirect")
    assert server.seen == ["/redirect"]
    assert hidden.seen == []
    assert call("GET", f"http://{place}/redirect", redirects=0).status == 302


@pytest.mark.parametrize(
    ("written", "arrives"),
    [
        ("/a%2fb/c?Signature=a%2bb%3d~x+y|z&X=%7e%41", "/a%2fb/c?Signature=a%2bb%3d~x+y|z&X=%7e%41"),
        ("/100%?a=%zz", "/100%?a=%zz"),
        ("/a#b", "/a"),
        ("/a/../b%2f", "/b%2F"),
        ("/a b/\u00fc", "/a%20b/%C3%BC"),
        ("?a=%2f", "/?a=%2f"),
    ],
)
def test_an_address_is_called_as_it_is_written(
    serve: Callable[..., tuple[str, type[_Server]]], allow: Allow, written: str, arrives: str
) -> None:
    """It may be signed, byte by byte."""
    allow("127.0.0.0/8")
    address, seen = serve("127.0.0.1")
    first, _ = serve("127.0.0.1", f"http://{address}{written}".encode().decode("latin-1"))
    call("GET", f"http://{first}/redirect")
    call("GET", f"http://{address}{written}")
    assert seen.seen[-1] == arrives
    if written.isascii():
        assert seen.seen == [arrives] * 2


def test_a_redirect_to_another_scheme_is_no_call(serve: Callable[..., tuple[str, type[_Server]]], allow: Allow) -> None:
    for target in ("file:///etc/passwd", "gopher://127.0.0.1/", "ftp://example.com/"):
        place, _ = serve("127.0.0.2", to=target)
        allow("127.0.0.2")
        with pytest.raises(UnreachableError):
            call("GET", f"http://{place}/redirect")


def test_the_address_that_was_checked_is_the_one_that_is_dialled(
    serve: Callable[..., tuple[str, type[_Server]]], allow: Allow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers with a harmless address first, and with a private one to whoever asks again."""
    place, public = serve("127.0.0.2")
    port = int(place.rpartition(":")[2])
    allow("127.0.0.2/32")
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def rebinding(host: str, *more: Any, **options: Any) -> Any:
        if host == "rebinding.example.com":
            asked.append(host)
            return resolve("127.0.0.2" if len(asked) == 1 else "127.0.0.1", *more, **options)
        return resolve(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    answer = call("GET", f"http://rebinding.example.com:{port}/", headers={"Connection": "close"})
    assert (answer.status, len(asked), public.seen) == (200, 1, ["/"])
    outbound.pool.cache_clear()
    with pytest.raises(AddressRefusedError):
        call("GET", f"http://rebinding.example.com:{port}/")


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    with pytest.raises(AddressRefusedError):
        call("GET", "http://two.example.com/")


def test_a_long_answer_is_cut_off(serve: Callable[..., tuple[str, type[_Server]]], allow: Allow) -> None:
    place, _ = serve("127.0.0.2")
    allow("127.0.0.2")
    with pytest.raises(AnswerTooLargeError):
        call("GET", f"http://{place}/", limit=4999)
    assert len(call("GET", f"http://{place}/", limit=5000).body) == 5000


@pytest.mark.parametrize(
    "url", ["", "x", "http://", "http://:80/", "file:///etc/passwd", "http://a b/", "http://x:99999/"]
)
def test_what_is_no_address_is_unreachable(url: str) -> None:
    with pytest.raises(UnreachableError):
        call("GET", url)


def test_nothing_that_listens_is_unreachable_and_the_text_has_no_secret(allow: Allow) -> None:
    allow("127.0.0.2")
    with socket.socket() as closed:
        closed.bind(("127.0.0.2", 0))
        port = closed.getsockname()[1]
    with pytest.raises(UnreachableError) as caught:
        call("GET", f"http://user:s3cret@127.0.0.2:{port}/path?token=s3cret")
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a name have addresses."""
    found = socket.getaddrinfo

    def set_addresses(name: str, *addresses: str) -> None:
        def answer(host: str, port: Any, *more: Any, **options: Any) -> Any:
            if host != name:
                return found(host, port, *more, **options)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", answer)

    return set_addresses


@pytest.fixture
def silence() -> Iterator[Callable[[str, int], None]]:
    """Let a port of an address leave whoever connects without an answer, as a firewall does: its queue is full."""
    with ExitStack() as stack:

        def be_silent(host: str, port: int) -> None:
            listener = stack.enter_context(socket.socket())
            listener.bind((host, port))
            listener.listen(0)
            for _ in range(3):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex((host, port))

        yield be_silent


def test_silent_addresses_take_no_longer_together_than_one(
    allow: Allow, resolve: Callable[..., None], silence: Callable[[str, int], None]
) -> None:
    allow("127.0.0.0/8")
    with socket.socket() as free:
        free.bind(("127.0.0.11", 0))
        port = free.getsockname()[1]
    addresses = [f"127.0.0.{number}" for number in range(11, 17)]
    for address in addresses:
        silence(address, port)
    resolve("silent.example.com", *addresses)
    begin = time.monotonic()
    with pytest.raises(UnreachableError):
        call("GET", f"http://silent.example.com:{port}/", seconds=2)
    assert 1.5 < time.monotonic() - begin < 9  # one after another they would take 12


def test_behind_a_silent_address_another_is_reached(
    serve: Callable[..., tuple[str, type[_Server]]],
    allow: Allow,
    resolve: Callable[..., None],
    silence: Callable[[str, int], None],
) -> None:
    place, _ = serve("127.0.0.2")
    port = int(place.rpartition(":")[2])
    allow("127.0.0.0/8")
    silence("127.0.0.11", port)
    resolve("half.example.com", "127.0.0.11", "127.0.0.2")
    assert call("GET", f"http://half.example.com:{port}/", seconds=3).status == 200


@pytest.mark.parametrize("path", ["/slow", "/stops"])
def test_redirects_and_pauses_count_in_the_time_of_a_call(
    path: str, serve: Callable[..., tuple[str, type[_Server]]], allow: Allow
) -> None:
    """Each redirect, and each piece, comes before the time is over, but not all of them."""
    place, handler = serve("127.0.0.2")
    allow("127.0.0.2")
    begin = time.monotonic()
    with pytest.raises(UnreachableError):
        call("GET", f"http://{place}{path}", seconds=1.7)
    assert len(handler.seen) <= 3
    assert time.monotonic() - begin < 10  # the pieces would come for 20


def test_certificates_of_ones_own_are_trusted_besides_the_systems(
    allow: Allow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry of a private authority sends clients to a bucket of a public one."""
    allow("127.0.0.0/8")
    private, public, unknown = (make_certificate(tmp_path / name, "127.0.0.1") for name in ("own", "system", "other"))
    monkeypatch.setenv("SSL_CERT_FILE", str(public.file))
    own = private.file.read_text()
    with ExitStack() as stack:
        registry, bucket, stranger = (
            stack.enter_context(scripted(tls=each)).url for each in (private, public, unknown)
        )
        elsewhere = stack.enter_context(scripted("127.0.0.2", tls=private)).url
        assert call("GET", f"{registry}/v2/", verify=own).status == 200
        assert call("GET", f"{bucket}/v2/", verify=own).status == 200
        for url, verify in ((stranger, own), (elsewhere, own), (registry, True)):
            with pytest.raises(UnreachableError, match="SSL"):
                call("GET", f"{url}/v2/", verify=verify)
        assert call("GET", f"{elsewhere}/v2/", verify=False).status == 200
