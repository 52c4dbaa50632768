"""Calls of AWS's JSON services (DynamoDB, Secrets Manager) without a botocore client.

Making a botocore client costs 200 ms and each of its calls 2 ms of CPU; a request that needs one secret should pay
neither. Signed with botocore's SigV4, sent with urllib3. Throttled and failed calls are tried again with jittered,
growing pauses until `RETRY_SECONDS` have passed; every operation called here is idempotent.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.hooks import HierarchicalEmitter
from botocore.session import get_session

from chalicelib.registry.errors import Unavailable

RETRY_SECONDS = 8.0
"""How long a call is retried: well inside the gateway's 30 seconds."""

events = HierarchicalEmitter()
"""Emits `before-call.<service>.<Operation>` as a botocore client does, so that calls can be counted in one way."""

_TRANSIENT = {
    "InternalServiceError",
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
}


class RefusedError(Exception):
    """AWS answered a call with an error that another try cannot mend. `kind` is AWS's name for it."""

    def __init__(self, kind: str, operation: str) -> None:
        super().__init__(f"{operation} was refused: {kind}")
        self.kind = kind


@dataclass(frozen=True)
class Service:
    """How one service is addressed: its signing name, JSON version, and the prefix of `X-Amz-Target`."""

    name: str
    json_version: str
    target: str
    endpoint_variable: str


DYNAMODB = Service("dynamodb", "1.0", "DynamoDB_20120810", "AWS_ENDPOINT_URL_DYNAMODB")
SECRETS_MANAGER = Service("secretsmanager", "1.1", "secretsmanager", "AWS_ENDPOINT_URL_SECRETS_MANAGER")


def call(service: Service, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The service's answer. Raises RefusedError, or Unavailable when the service did not answer in time."""
    body = json.dumps(request, separators=(",", ":")).encode()
    deadline = time.monotonic() + RETRY_SECONDS
    pause = 0.025
    while True:
        events.emit(f"before-call.{service.name}.{operation}", model=operation, params=request)
        fault = "connection failed"
        try:
            answer = _send(service, operation, body)
        except urllib3.exceptions.HTTPError:
            pass
        else:
            if answer.status == 200:
                result: dict[str, Any] = json.loads(answer.data)
                return result
            fault = _fault(answer, operation)
        if time.monotonic() + pause > deadline:
            raise Unavailable(f"{service.name} does not answer: {fault}")
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 -- jitter, not a secret
        pause = min(pause * 2, 1.0)


def _send(service: Service, operation: str, body: bytes) -> urllib3.BaseHTTPResponse:
    headers = {
        "Content-Type": f"application/x-amz-json-{service.json_version}",
        "X-Amz-Target": f"{service.target}.{operation}",
    }
    signed = AWSRequest("POST", f"{_endpoint(service)}/", headers=headers, data=body)
    SigV4Auth(credentials(), service.name, region()).add_auth(signed)
    return _pool(service).request("POST", "/", body=body, headers=dict(signed.headers.items()))


def _fault(answer: urllib3.BaseHTTPResponse, operation: str) -> str:
    """The error's name if another try may help, else raises RefusedError."""
    try:
        kind = str(json.loads(answer.data).get("__type", "")).rpartition("#")[2]
    except (ValueError, AttributeError):
        kind = f"HTTP {answer.status}"
    if answer.status >= 500 or kind in _TRANSIENT:
        return kind
    raise RefusedError(kind, operation)


@cache
def _pool(service: Service) -> urllib3.HTTPConnectionPool:
    pool = urllib3.connection_from_url(
        _endpoint(service), maxsize=32, retries=False, timeout=urllib3.Timeout(connect=2, read=5)
    )
    assert isinstance(pool, urllib3.HTTPConnectionPool)  # noqa: S101 -- narrows the type for mypy
    return pool


@cache
def _endpoint(service: Service) -> str:
    given = os.environ.get(service.endpoint_variable) or os.environ.get("AWS_ENDPOINT_URL")
    suffix = "amazonaws.com.cn" if region().startswith("cn-") else "amazonaws.com"
    return (given or f"https://{service.name}.{region()}.{suffix}").rstrip("/")


@cache
def region() -> str:
    return os.environ.get("AWS_REGION") or os.environ["AWS_DEFAULT_REGION"]


@cache
def credentials() -> Credentials:
    found = get_session().get_credentials()
    if found is None:
        raise Unavailable("no AWS credentials are configured")
    return found
