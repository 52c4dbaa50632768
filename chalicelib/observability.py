"""What is told of each request: one line of EMF, a trace when sampled, and a log record of every fault.

The EMF line (CloudWatch embedded metric format, by Powertools Metrics) is both the metrics and the request's log
record: metrics by kind of route and class of status, and beside them, as properties to search by, the request id,
repository, digest, status and duration. Neither headers, bodies nor query strings are ever logged, and fault records
are stripped of what looks like a credential.

Traces need the X-Ray SDK, whose import takes 0.4 s (it makes a botocore client). So a container's first request is
traced by Lambda alone, and the SDK is imported when a later one is sampled.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib.http import Request, Response, to_response
from chalicelib.oci import digests, names
from chalicelib.oci.errors import RegistryError

if TYPE_CHECKING:
    from aws_lambda_powertools import Tracer

P = ParamSpec("P")

_SERVICE = "berth"
_NAMESPACE = "Berth"

_KINDS = {"/service/token": "token"}
_API_PREFIX = "/api/"
_CONSOLE_PREFIX = "/c/"
_THROTTLED = (429, 503)

_requests = itertools.count()

_CREDENTIAL = re.compile(
    r"(?i)((?:_state|token|signature|credential|password|secret)[\"']?\s*[=:]\s*[\"']?|(?:basic|bearer)\s+)"
    r"[^&\s\"',;)\\]+"
)


class _Emitter(threading.local):
    """One for each thread: making one costs as much as the rest of a record, and its metrics are its state."""

    def __init__(self) -> None:
        self.metrics = EphemeralMetrics(namespace=_NAMESPACE, service=_SERVICE)


_emitter = _Emitter()


def _serialize(record: dict[str, Any]) -> str:
    return redact(json.dumps(record, default=str))


logger = Logger(service=_SERVICE, json_serializer=_serialize)


def redact(text: str) -> str:
    """`text` without the values of query parameters, headers and fields that carry credentials."""
    return _CREDENTIAL.sub(r"\1***", text)


def observed(handle: Callable[Concatenate[Request, P], Response]) -> Callable[Concatenate[Request, P], Response]:
    """Tell of each request that `handle` answers. A fault of ours is logged and answered 500, in the wire's form."""

    @wraps(handle)
    def observing(request: Request, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        started = time.perf_counter()
        properties = _properties(request)
        with _trace(properties):
            try:
                response = handle(request, *args, **kwargs)
            except Exception:
                response = _failure(properties)
        return _finished(request, properties, response, started)

    return observing


def observed_async(
    handle: Callable[Concatenate[Request, P], Awaitable[Response]],
) -> Callable[Concatenate[Request, P], Awaitable[Response]]:
    """As `observed`, for the event loop of the relay, which X-Ray does not follow."""

    @wraps(handle)
    async def observing(request: Request, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        started = time.perf_counter()
        properties = _properties(request)
        try:
            response = await handle(request, *args, **kwargs)
        except Exception:
            response = _failure(properties)
        return _finished(request, properties, response, started)

    return observing


def _failure(properties: dict[str, str]) -> Response:
    """Log the exception that is being handled: the answer to its request."""
    logger.exception("request failed", extra=properties)
    return to_response(RegistryError("internal error"))


def _finished(request: Request, properties: dict[str, str], response: Response, started: float) -> Response:
    _record(properties, response, time.perf_counter() - started)
    if not request.request_id:
        return response
    return replace(response, headers={**response.headers, "X-Request-Id": request.request_id})


def measured(metric: str, size: int, **properties: str) -> None:
    """Tell of a number of bytes that work in the background found, with properties to search by."""
    metrics = _emitter.metrics
    metrics.add_metric(metric, MetricUnit.Bytes, size)
    for name, value in properties.items():
        metrics.add_metadata(name, value)
    metrics.flush_metrics()
    metrics.clear_metrics()  # see _record


def counted(numbers: Mapping[str, int], **properties: str) -> None:
    """Tell of what was counted over some time, by metric, with properties to search by."""
    metrics = _emitter.metrics
    for metric, number in numbers.items():
        metrics.add_metric(metric, MetricUnit.Bytes if "Bytes" in metric else MetricUnit.Count, number)
    for name, value in properties.items():
        metrics.add_metadata(name, value)
    metrics.flush_metrics()
    metrics.clear_metrics()  # see _record


def _properties(request: Request) -> dict[str, str]:
    """What to search a log by; empty values are left out."""
    properties = {"request_id": request.request_id, "method": request.method}
    if request.path in _KINDS:
        properties["kind"] = _KINDS[request.path]
    elif request.path.startswith((_API_PREFIX, _CONSOLE_PREFIX)):
        kind = "api" if request.path.startswith(_API_PREFIX) else "console"
        properties |= {"kind": kind, "path": request.path[: names.NAME_LENGTH]}
    else:
        properties |= _target(request.path)
    return {name: value for name, value in properties.items() if value}


def _target(path: str) -> dict[str, str]:
    try:
        target = names.parse_path(path)
    except RegistryError:
        return {"kind": "invalid"}
    reference = "digest" if digests.is_digest(target.reference) else "reference"
    return {"kind": target.kind, "repository": target.repository, reference: target.reference}


def _record(properties: dict[str, str], response: Response, seconds: float) -> None:
    metrics = _emitter.metrics
    metrics.add_dimension("kind", properties["kind"])
    metrics.add_dimension("status_class", f"{response.status // 100}xx")
    metrics.add_metric("Requests", MetricUnit.Count, 1)
    metrics.add_metric("Duration", MetricUnit.Milliseconds, round(seconds * 1000, 2))
    if response.status in _THROTTLED:
        metrics.add_metric("Throttled", MetricUnit.Count, 1)
    for name, value in properties.items():
        if name != "kind":
            metrics.add_metadata(name, value)
    metrics.add_metadata("status", response.status)
    if "Docker-Content-Digest" in response.headers:
        metrics.add_metadata("digest", response.headers["Docker-Content-Digest"])
    metrics.flush_metrics()
    metrics.clear_metrics()  # flushing clears only when metrics are not disabled


@contextmanager
def _trace(properties: dict[str, str]) -> Iterator[None]:
    """A subsegment for a request that X-Ray samples, searchable by its properties."""
    is_first = next(_requests) == 0
    if is_first or "Sampled=1" not in os.environ.get("_X_AMZN_TRACE_ID", ""):
        yield
        return
    with _tracer().provider.in_subsegment(name=f"## {properties['kind']}") as segment:
        for name, value in properties.items():
            segment.put_annotation(name, value)
        yield


@cache
def _tracer() -> Tracer:
    from aws_lambda_powertools import Tracer  # noqa: PLC0415 -- see the module's docstring

    return Tracer(service=_SERVICE, auto_patch=False)
