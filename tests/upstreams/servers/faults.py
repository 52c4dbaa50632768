"""The ways in which the scripted upstream goes wrong: each makes another reply of the right one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """With lower-cased names."""


@dataclass(frozen=True)
class Reply:
    """What goes on the wire. Content-Length is the body's, unless `length` says something else."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    whole: bytes = b""
    """Of a range: the content that it is a range of."""
    length: int | None = None
    chunked: bool = False
    """Sent without a length, in chunks."""
    cut: int | None = None
    """The connection ends after so many bytes of the body, or before the status line if it is negative."""
    bytes_a_second: float | None = None
    wait: float = 0
    """Seconds until the status line."""

    def having(self, **headers: str) -> Reply:
        """With these headers, named with underscores, too."""
        return replace(
            self, headers={**self.headers, **{name.replace("_", "-"): text for name, text in headers.items()}}
        )


Fault = Callable[[Request, Reply], Reply]


def together(*faults: Fault) -> Fault:
    def fault(request: Request, reply: Reply) -> Reply:
        for each in faults:
            reply = each(request, reply)
        return reply

    return fault


def well() -> Fault:
    """The right reply, between faults."""
    return lambda _, reply: reply


def refusal(status: int, code: str = "UNKNOWN", message: str = "scripted") -> Reply:
    """An error as registries tell of it."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, {"Content-Type": "application/json"}, body)


def refuse(status: int, code: str = "UNKNOWN", message: str = "scripted", **headers: str) -> Fault:
    """Answer with an error, such as 500, 404 or 403; headers are named with underscores."""
    return lambda _, __: refusal(status, code, message).having(**headers)


def too_many(retry_after: str | None = "7") -> Fault:
    """429 in Docker Hub's words; `retry_after` is seconds or an HTTP date."""
    headers = {"Retry_After": retry_after} if retry_after else {}
    return refuse(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.", **headers)


def hang_up() -> Fault:
    """Close the connection without a word."""
    return lambda _, reply: replace(reply, cut=-1)


def cut(after: int) -> Fault:
    """Close the connection in the middle of the body."""
    return lambda _, reply: replace(reply, cut=after)


def chunked() -> Fault:
    """Send no Content-Length: with `cut`, what an upstream's proxy does when it fails in the middle."""
    return lambda _, reply: replace(reply, chunked=True)


def wrong_bytes(at: int = 0) -> Fault:
    """Flip a byte: everything else is as it should be."""

    def fault(_: Request, reply: Reply) -> Reply:
        body = bytearray(reply.body)
        body[at] ^= 0xFF
        return replace(reply, body=bytes(body))

    return fault


def pretends() -> Fault:
    """Send as many bytes, none of which is known: all that is true is the length."""
    return lambda _, reply: replace(reply, body=bytes(len(reply.body)))


def says_length(length: int) -> Fault:
    """Lie about the body's length. Where that is too much, the connection ends early."""
    return lambda _, reply: replace(reply, length=length)


def says_range(text: str) -> Fault:
    """Lie in Content-Range."""
    return lambda _, reply: reply.having(Content_Range=text)


def ignores_ranges() -> Fault:
    """Answer a Range with the whole, as HTTP allows."""

    def fault(_: Request, reply: Reply) -> Reply:
        if reply.status != 206:
            return reply
        headers = {name: text for name, text in reply.headers.items() if name not in ("Content-Range", "Accept-Ranges")}
        return replace(reply, status=200, headers=headers, body=reply.whole)

    return fault


def drip(bytes_a_second: float) -> Fault:
    return lambda _, reply: replace(reply, bytes_a_second=bytes_a_second)


def late(seconds: float) -> Fault:
    """Think for a while before answering."""
    return lambda _, reply: replace(reply, wait=seconds)


def redirect(to: str, status: int = 307) -> Fault:
    """Send the client elsewhere; `{path}` in it stands for the path asked for. To itself, that is a loop."""
    return lambda request, _: Reply(status, {"Location": to.replace("{path}", request.path)})


def without(header: str) -> Fault:
    """Leave a header out, such as Docker-Content-Digest."""
    return lambda _, reply: replace(
        reply, headers={name: text for name, text in reply.headers.items() if name != header}
    )


def saying(**headers: str) -> Fault:
    """Lie in some headers, named with underscores."""
    return lambda _, reply: reply.having(**headers)
