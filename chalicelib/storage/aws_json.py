"""Calls of AWS's JSON services (DynamoDB, Secrets Manager, Step Functions) without a botocore client.

Making a botocore client costs 200 ms and each of its calls 2 ms of CPU; a request that needs one secret should pay
neither. Throttled and failed calls are tried again with jittered,
growing pauses until `RETRY_SECONDS` have passed; every operation called here is idempotent.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.credentials import Credentials, EnvProvider
from botocore.hooks import HierarchicalEmitter

from chalicelib import retrying
from chalicelib.oci.errors import Unavailable
from chalicelib.storage import signing
from chalicelib.storage.wire import Connections

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
STEP_FUNCTIONS = Service("states", "1.0", "AWSStepFunctions", "AWS_ENDPOINT_URL_SFN")


def call(service: Service, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The service's answer. Raises RefusedError, or Unavailable when the service did not answer in time."""
    body = json.dumps(request, separators=(",", ":")).encode()
    deadline = time.monotonic() + RETRY_SECONDS
    for pause in retrying.pauses(0.025, 1.0):
        events.emit(f"before-call.{service.name}.{operation}", model=operation, params=request)
        fault = "connection failed"
        try:
            status, answer = _send(service, operation, body)
        except OSError:
            pass
        else:
            if status == 200:
                result: dict[str, Any] = json.loads(answer)
                return result
            fault = _fault(status, answer, operation)
        if time.monotonic() + pause > deadline:
            raise Unavailable(f"{service.name} does not answer: {fault}")
        time.sleep(pause)
    raise AssertionError("there is always another pause")


def _send(service: Service, operation: str, body: bytes) -> tuple[int, bytes]:
    """The status and the body of the answer. Raises OSError when there was none."""
    connections = _connections(service)
    headers = {
        "user-agent": user_agent(),
        "content-type": f"application/x-amz-json-{service.json_version}",
        "x-amz-target": f"{service.target}.{operation}",
    }
    signed = signing.post_headers(credentials(), region(), service.name, connections.host, headers, body)
    return connections.post(signed, body)


def _fault(status: int, answer: bytes, operation: str) -> str:
    """The error's name if another try may help, else raises RefusedError."""
    try:
        kind = str(json.loads(answer).get("__type", "")).rpartition("#")[2]
    except (ValueError, AttributeError):
        kind = f"HTTP {status}"
    if status >= 500 or kind in _TRANSIENT:
        return kind
    raise RefusedError(kind, operation)


@cache
def _connections(service: Service) -> Connections:
    return Connections(_endpoint(service), connect_seconds=2, read_seconds=5)


@cache
def _endpoint(service: Service) -> str:
    given = os.environ.get(service.endpoint_variable) or os.environ.get("AWS_ENDPOINT_URL")
    suffix = "amazonaws.com.cn" if region().startswith("cn-") else "amazonaws.com"
    return (given or f"https://{service.name}.{region()}.{suffix}").rstrip("/")


@cache
def user_agent() -> str:
    """Who calls: the function's name in Lambda, for CloudTrail, and for the local cloud to know whose turn it is."""
    return f"berth/{os.environ.get('AWS_LAMBDA_FUNCTION_NAME', 'gateway')}"


@cache
def region() -> str:
    return os.environ.get("AWS_REGION") or os.environ["AWS_DEFAULT_REGION"]


@cache
def credentials() -> Credentials:
    """Where botocore finds them; it looks at the environment first, where a function's are."""
    found = EnvProvider().load()
    if found is None:
        from botocore.session import get_session  # noqa: PLC0415 -- a tenth of a cold start, which Lambda does without

        found = get_session().get_credentials()
    if found is None:
        raise Unavailable("no AWS credentials are configured")
    return found
