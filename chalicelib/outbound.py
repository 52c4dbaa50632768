"""HTTP calls to servers that users name: providers of logins, webhooks, scanners, upstream registries.

Such a server must not be the deployment's own network or the machine itself (server-side request forgery). So every
connection resolves its host once, refuses what is not a public address, and goes to exactly the address that it
checked: a name that resolves to another one a moment later changes nothing, and a redirect makes a connection that is
checked like the first. `BERTH_OUTBOUND_ALLOWED` names the private networks and hosts that may be called all the same.
No proxy of the environment is used: it would do the resolving.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3 import connection as plain
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, ProtocolError, ReadTimeoutError
from urllib3.util import Retry, Timeout
from urllib3.util.connection import create_connection
from urllib3.util.ssl_ import create_urllib3_context

from chalicelib.settings import settings

T = TypeVar("T")
Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as a translating gateway has them (RFC 6052); AWS subnets with DNS64 use it."""
_METADATA = (
    *(ip_network("169.254.0.0/16"), ip_network("fe80::/10"), ip_network("fd00:ec2::/32")),
    *(ip_network("192.0.0.192/32"), ip_network("100.100.100.200/32"), ip_network("168.63.129.16/32")),
)
"""Where clouds hand out credentials: a name that is allowed does not open these, only their network does."""

_PUBLIC_IPV6 = IPv6Network("2000::/3")
"""Where IANA gives out addresses to the public; all of IPv6 beside it has another purpose."""
_SPECIAL = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
"""IANA's special-purpose registries of IPv4 and IPv6, and multicast: Python's own lists differ by its patch version."""

_CONNECT_SECONDS = 5.0
_TRY_SECONDS = 1.0
"""What an address gets at least to answer in, however many there are."""
_REDIRECTS = 3
_VISIBLE = re.compile(r"/[!-~]*")


class OutboundError(Exception):
    """A call that came to nothing. The text is for the administrator who named the server, and holds no secret."""


class AddressRefusedError(OutboundError):
    """The host is, or resolves to, an address that must not be called."""


class UnreachableError(OutboundError):
    """No answer: the name is unknown, nothing listens, TLS fails, or it took too long."""


class ConnectionLostError(UnreachableError):
    """The connection ended before the answer did."""


class AnswerTooLargeError(OutboundError):
    """The answer's body is longer than the caller takes."""


@dataclass(frozen=True)
class Answer:
    """An answer of any status; `headers` has lower-cased names."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_elsewhere: bool = False
    """Whether it comes from another host than was called, by redirects: one that credentials were not meant for."""


Verify = bool | str
"""Whether a server's certificate is checked; a text is certificates (PEM) that are trusted besides the system's."""


class Stream:
    """An answer whose body is still to come. Whoever got it closes it."""

    def __init__(self, answer: urllib3.BaseHTTPResponse, host: str) -> None:
        self._answer = answer
        self._host = host
        self.status = answer.status
        self.headers: Mapping[str, str] = _headers(answer)
        self.is_elsewhere = _is_elsewhere(answer)

    def chunks(self, size: int) -> Iterator[bytes]:
        """The body as it was sent, in pieces of up to `size` bytes, each as soon as it is there.

        Raises UnreachableError when it breaks off.
        """
        try:
            while chunk := self._answer.read1(size, decode_content=False):
                yield chunk
        except (HTTPError, OSError) as error:
            raise _failure(self._host, error) from error

    def close(self) -> None:
        """Give the connection back, or end it when the body was not read to its end."""
        self._answer.close()


def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    verify: Verify = True,
    seconds: float = 10.0,
    limit: int = 1 << 20,
    redirects: int = _REDIRECTS,
) -> Answer:
    """The answer to one request, with at most `limit` bytes, within about `seconds` altogether.

    Redirects count in that. What urllib3 has no limit for does not: resolving names, and a head or a redirect's body
    that comes in drops. As many `redirects` are followed; an Authorization header goes to no other host. Nothing is
    tried twice. Raises AddressRefusedError, UnreachableError or AnswerTooLargeError.
    """
    deadline = time.monotonic() + seconds
    try:
        answer = _request(method, url, headers, body, verify, _DeadlineTimeout(deadline), redirects)
        try:
            content = _content(answer, limit, deadline)
        finally:
            answer.close()
    except (HTTPError, ValueError, OSError) as error:
        raise _failure(_host(url), error) from error
    return Answer(answer.status, _headers(answer), content, _is_elsewhere(answer))


def stream(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    verify: Verify = True,
    seconds: float = 30.0,
    redirects: int = _REDIRECTS,
) -> Stream:
    """The answer to a GET, when its head is there. Its body may take any time, but for pauses of `seconds`.

    Otherwise as `call`.
    """
    timeout = Timeout(connect=min(seconds, _CONNECT_SECONDS), read=seconds)
    try:
        return Stream(_request("GET", url, headers, None, verify, timeout, redirects), _host(url))
    except (HTTPError, ValueError, OSError) as error:
        raise _failure(_host(url), error) from error


def again_if_lost(send: Callable[[], T]) -> T:
    """What `send` returns, once more if the connection is lost: for what may be sent twice.

    A connection that was kept open may have been closed by the other side while Lambda had the function frozen.
    """
    try:
        return send()
    except ConnectionLostError:
        return send()


def _request(
    method: str,
    url: str,
    headers: Mapping[str, str] | None,
    body: bytes | None,
    verify: Verify,
    timeout: Timeout,
    redirects: int,
) -> urllib3.BaseHTTPResponse:
    if not url.lower().startswith(("http://", "https://")):
        raise UnreachableError("only http and https are called")
    return pool(verify).request(
        method,
        url,
        headers=dict(headers or {}),
        body=body,
        retries=_once(redirects),
        timeout=timeout,
        preload_content=False,
    )


@lru_cache(16)
def pool(verify: Verify = True) -> urllib3.PoolManager:
    """Connections that check where they go, for callers that need more than `call`: streams, other time limits.

    Threads may share it. It raises urllib3's exceptions, and AddressRefusedError.
    """
    # The API warns where the check is switched off; the log of every call need not.
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    options: dict[str, Any] = {} if verify else {"cert_reqs": "CERT_NONE", "assert_hostname": False}
    if isinstance(verify, str):
        options = {"ssl_context": _trusting(verify)}
    manager = _Manager(num_pools=16, maxsize=32, **options)
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return manager


def _trusting(certificates: str) -> ssl.SSLContext:
    """What urllib3 makes for itself, with more to trust: a redirect may lead from a private authority to a public one.

    Given `ca_cert_data`, urllib3 would trust nothing else.
    """
    context = create_urllib3_context()
    context.load_default_certs()
    context.load_verify_locations(cadata=certificates)
    return context


def check(host: str, address: str) -> None:
    """Return if a call to `host` may go to `address`, which it resolves to. Raises AddressRefusedError."""
    allowed = _allowed(settings().outbound_allowed)
    target = _meaning(ip_address(address.partition("%")[0]))
    if _is_public(target):
        return
    if any(target in network for network in allowed.networks):
        return
    if host.lower().rstrip(".") in allowed.hosts and not any(target in network for network in _METADATA):
        return
    raise AddressRefusedError(f"{host[:255]} is a private address, and BERTH_OUTBOUND_ALLOWED does not name it")


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _PUBLIC_IPV6:
        return False
    return not any(address in network for network in (*_SPECIAL, *_METADATA))


def check_host(host: str) -> None:
    """Return unless `host` is, or resolves to, an address that must not be called: to refuse it early.

    A name that is not known now may be. What is called is checked anew each time. Raises AddressRefusedError.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return
    for entry in found:
        check(host, str(entry[4][0]))


@dataclass(frozen=True)
class _Allowed:
    networks: tuple[IPv4Network | IPv6Network, ...]
    hosts: frozenset[str]


@lru_cache(4)
def _allowed(entries: tuple[str, ...]) -> _Allowed:
    """What `BERTH_OUTBOUND_ALLOWED` names: an entry that is no network or address is a host."""
    networks, hosts = [], set()
    for entry in entries:
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            hosts.add(entry.lower().rstrip("."))
    return _Allowed(tuple(networks), frozenset(hosts))


def _meaning(address: Address) -> Address:
    """The address itself, or the IPv4 address that an IPv6 one stands for."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class _DeadlineTimeout(Timeout):
    """Time limits of a call that ends at `deadline`: urllib3 clones them for each request, which gets what is left."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def clone(self) -> Timeout:
        left = _left(self._deadline)
        return Timeout(total=left, connect=min(left, _CONNECT_SECONDS))


_target: ContextVar[str] = ContextVar("target", default="")
"""The path and query of the address that is called just now, as it is written."""


class _Manager(urllib3.PoolManager):
    """Calls addresses as they are written, those that redirects lead to among them.

    urllib3 writes percent-encodings in one way. That is the same address (RFC 3986, section 6.2.2), but not the same
    bytes, which is what some sign: Go's clients and curl send what they were given.
    """

    def urlopen(  # type: ignore[override]  # as urllib3's own
        self, method: str, url: str, redirect: bool = True, **kw: Any
    ) -> urllib3.BaseHTTPResponse:
        parts = urlsplit(url)
        before = _target.set((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        try:
            return super().urlopen(method, url, redirect, **kw)  # which calls itself for each redirect
        finally:
            _target.reset(before)


class _Checked:
    """Where urllib3 connects: the one place that resolves, checks and dials."""

    host: str
    _dns_host: str
    port: int
    timeout: float | None
    source_address: tuple[str, int] | None
    socket_options: list[tuple[int, int, int | bytes]] | None

    def _new_conn(self) -> socket.socket:
        name = self._dns_host.strip("[]")
        own = cast("plain.HTTPConnection", self)
        try:
            found = socket.getaddrinfo(name, self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise NameResolutionError(self.host, own, socket.gaierror(str(error))) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            check(name, address)
        try:
            return self._dialled(addresses)
        except OSError as error:
            raise NewConnectionError(own, f"no connection: {error}") from error

    def putrequest(self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False) -> None:
        """Send the target as it is written, if HTTP can send that and it means what urllib3 makes of it."""
        written, own = _target.get(), cast("plain.HTTPConnection", self)
        if _VISIBLE.fullmatch(written) and unquote(written) == unquote(url):
            url = written
        plain.HTTPConnection.putrequest(own, method, url, skip_host, skip_accept_encoding)

    def _dialled(self, addresses: list[str]) -> socket.socket:
        """A connection to the first that answers; all of them together get the time that one alone would have.

        What is left of it, or a second, is for TLS.
        """
        deadline = time.monotonic() + (self.timeout or _CONNECT_SECONDS)
        failure = OSError("no address")
        for number, address in enumerate(addresses):
            left = _left(deadline)
            share = min(left, max(_TRY_SECONDS, left / (len(addresses) - number)))
            try:
                # An address needs no resolving: what was checked is what is dialled.
                found = create_connection((address, self.port), share, self.source_address, self.socket_options)
            except OSError as error:
                failure = error
                if time.monotonic() >= deadline:
                    break
            else:
                found.settimeout(max(_left(deadline), _TRY_SECONDS))
                return found
        raise failure


class _HTTPConnection(_Checked, plain.HTTPConnection):
    pass


class _HTTPSConnection(_Checked, plain.HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


def _once(redirects: int) -> Retry:
    return Retry(
        connect=0,
        read=0,
        status=0,
        other=0,
        redirect=redirects,
        raise_on_redirect=False,
        respect_retry_after_header=False,
    )


def _content(answer: urllib3.BaseHTTPResponse, limit: int, deadline: float) -> bytes:
    content = bytearray()
    # Each piece as soon as it is there: else the deadline would wait for the last of so many bytes, however slow.
    while chunk := _read_chunk(answer, deadline):
        content += chunk
        if len(content) > limit:
            raise AnswerTooLargeError(f"the answer is longer than {limit} bytes")
        if time.monotonic() > deadline:
            raise UnreachableError("the answer took too long")
    return bytes(content)


def _read_chunk(answer: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """What is there of the body, waited for until the deadline.

    Where the connection closes behind its answer, its socket is out of reach, and waits as long as it did for the head.
    """
    waiting = getattr(answer.connection, "sock", None)
    if waiting is not None:
        waiting.settimeout(_left(deadline))
    try:
        return answer.read1(1 << 16)
    except ReadTimeoutError as error:
        raise UnreachableError("the answer took too long") from error


def _left(deadline: float) -> float:
    """The seconds until then; never none, which sockets take for "do not wait" and urllib3 for a mistake."""
    return max(deadline - time.monotonic(), 0.001)


def _headers(answer: urllib3.BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def _is_elsewhere(answer: urllib3.BaseHTTPResponse) -> bool:
    moves = answer.retries.history if answer.retries else ()
    return any(_origin(urljoin(move.url or "", move.redirect_location or "")) != _origin(move.url) for move in moves)


def _origin(url: str | None) -> tuple[str | None, str | None, int | None]:
    parts = urllib3.util.parse_url(url or "")
    return parts.scheme, parts.host, parts.port


def _failure(host: str, error: Exception) -> UnreachableError:
    is_lost = isinstance(getattr(error, "reason", None) or error, ProtocolError)
    kind = ConnectionLostError if is_lost else UnreachableError
    return kind(f"{host} cannot be called: {_reason(error)}")


def _host(url: str) -> str:
    """What of a URL may be shown: its path and query may hold secrets."""
    try:
        return repr((urllib3.util.parse_url(url).host or "")[:255])
    except HTTPError:
        return "the address"


def _reason(error: Exception) -> str:
    """The kind of fault alone: urllib3's text has the URL in it."""
    return type(getattr(error, "reason", None) or error).__name__
