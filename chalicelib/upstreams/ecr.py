"""Amazon ECR: what an access key is exchanged for, a password of twelve hours, and where the account's registry is.

Sources: the ECR API reference (GetAuthorizationToken); Harbor, src/pkg/reg/adapter/awsecr.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from chalicelib import outbound
from chalicelib.outbound import OutboundError, Verify
from chalicelib.storage.signing import post_headers_by_key
from chalicelib.upstreams.authorization import Credential
from chalicelib.upstreams.errors import UpstreamRateLimited, UpstreamUnauthorized, UpstreamUnreachable

_HOST = re.compile(r"(?:api|(\d{12})\.dkr)\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?\Z")
_TARGET = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
_CALL_SECONDS = 8.0
_SHARE = 0.8
"""Of a password's life it is used."""
_THROTTLED = ("ThrottlingException", "TooManyRequestsException")


@dataclass(frozen=True)
class _Login:
    credential: Credential
    registry: str
    ends: float


class Account:
    """The registry of one access key. Threads may share it."""

    def __init__(self, url: str, key: Callable[[], Credential], verify: Verify) -> None:
        """`url` is the registry's own address, or its API's in the region; `key` an access key and its secret."""
        self._url = url
        self._key = key
        self._verify = verify
        self._login: _Login | None = None
        self._asking = threading.Lock()

    def address(self) -> str:
        """Where the registry is. Raises as `credential` does."""
        return self._url if _parsed(self._url)[0] else self._current().registry

    def credential(self) -> Credential:
        """The user's name and password of now.

        Raises UpstreamUnauthorized, UpstreamRateLimited or UpstreamUnreachable.
        """
        return self._current().credential

    def _current(self) -> _Login:
        with self._asking:
            if self._login is None or self._login.ends < time.time():
                self._login = self._ask()
            return self._login

    def _ask(self) -> _Login:
        account, region, suffix = _parsed(self._url)
        api = os.environ.get("AWS_ENDPOINT_URL_ECR") or f"https://api.ecr.{region}.amazonaws.com{suffix}"
        body = json.dumps({"registryIds": [account]} if account else {}).encode()
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": _TARGET}
        key = self._key()
        signed = post_headers_by_key(key.name, key.password, region, "ecr", urlsplit(api).netloc, headers, body)
        send = partial(
            outbound.call, "POST", f"{api}/", headers=signed, body=body, verify=self._verify, seconds=_CALL_SECONDS
        )
        try:
            answer = outbound.again_if_lost(send)
        except OutboundError as error:
            raise UpstreamUnreachable(f"ECR's API: {error}") from error
        if answer.status != 200:
            _refuse(answer.status, answer.body)
        return _read(answer.body)


def is_address(url: str) -> bool:
    """Whether `url` is of an ECR registry, or of the API of a region, as Harbor's console offers it."""
    return _HOST.match(urlsplit(url).hostname or "") is not None


def _parsed(url: str) -> tuple[str, str, str]:
    """The account, empty for an API's address, the region, and what comes behind amazonaws.com."""
    match = _HOST.match(urlsplit(url).hostname or "")
    if match is None:
        raise UpstreamUnreachable("the address is none of ECR's")
    return match[1] or "", match[2], match[3] or ""


def _refuse(status: int, body: bytes) -> None:
    try:
        kind = str(json.loads(body)["__type"]).rpartition("#")[2]
    except (ValueError, TypeError, KeyError):
        kind = ""
    if kind in _THROTTLED:
        raise UpstreamRateLimited("ECR's API is throttled", None)
    if 400 <= status < 500:
        raise UpstreamUnauthorized(f"ECR's API answers {status}: the access key is wrong, or not allowed to log in")
    raise UpstreamUnreachable(f"ECR's API answers {status}")


def _read(body: bytes) -> _Login:
    try:
        [data] = json.loads(body)["authorizationData"]
        name, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        seconds = float(data["expiresAt"]) - time.time()
        return _Login(Credential(name, password), str(data["proxyEndpoint"]), time.time() + seconds * _SHARE)
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise UpstreamUnreachable("ECR's API answers what is no login") from error
