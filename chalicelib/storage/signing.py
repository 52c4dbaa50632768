"""AWS Signature Version 4, for requests of the one shape that is signed on every pull.

botocore signs any request; that it does so costs as much as all else that a read does in this process. Source: AWS,
"Create a signed AWS API request".
"""

from __future__ import annotations

import hashlib
import hmac
import time
from functools import lru_cache

from botocore.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"


def timestamp() -> str:
    """Now, as SigV4 writes it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def scope(stamp: str, region: str, service: str) -> str:
    return f"{stamp[:8]}/{region}/{service}/aws4_request"


def signature(secret_key: str, stamp: str, scope: str, canonical_request: str) -> str:
    """The signature, in hex, of a canonical request at the time `stamp`."""
    digest = hashlib.sha256(canonical_request.encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    return hmac.digest(_signing_key(secret_key, scope), to_sign.encode(), "sha256").hex()


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, scope: str) -> bytes:
    """The key of a day, a region and a service."""
    key = f"AWS4{secret_key}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    return key


def post_headers(
    credentials: Credentials, region: str, service: str, host: str, headers: dict[str, str], body: bytes
) -> dict[str, str]:
    """`headers` of a POST to `/`, lower-cased names with plain values, with those that sign it added."""
    signer = credentials.get_frozen_credentials()
    stamp = timestamp()
    signed = {**headers, "host": host, "x-amz-date": stamp}
    if signer.token:
        signed["x-amz-security-token"] = signer.token
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    where = scope(stamp, region, service)
    proof = signature(signer.secret_key, stamp, where, canonical)
    signed["authorization"] = (
        f"{ALGORITHM} Credential={signer.access_key}/{where}, SignedHeaders={names}, Signature={proof}"
    )
    return signed


def post_headers_by_key(
    access_key: str, secret_key: str, region: str, service: str, host: str, headers: dict[str, str], body: bytes
) -> dict[str, str]:
    """As `post_headers`, by an access key that somebody gave instead of by our own role."""
    return post_headers(Credentials(access_key, secret_key), region, service, host, headers, body)
