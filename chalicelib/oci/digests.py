"""Content digests: `algorithm:hex`, for the algorithms registered by the OCI image spec (descriptor.md#digests)."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from chalicelib.oci.errors import DigestInvalid

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_GRAMMAR = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")


class Hasher(Protocol):
    """The part of hashlib's objects that Berth uses."""

    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> Hasher: ...


def parse(text: str) -> str:
    """Return `text` if it is a well-formed digest of a supported algorithm, else raise DigestInvalid."""
    if not _GRAMMAR.match(text):
        raise DigestInvalid(f"expected sha256:<64 hex> or sha512:<128 hex>, got {text[:160]!r}")
    return text


def is_digest(text: str) -> bool:
    return _GRAMMAR.match(text) is not None


def algorithm(digest: str) -> str:
    """The algorithm of a well-formed digest: `sha256` or `sha512`."""
    return digest.partition(":")[0]


def hasher(algorithm: str) -> Hasher:
    """A hashlib object for `sha256` or `sha512`. Raises DigestInvalid for any other algorithm."""
    if algorithm not in _HEX_LENGTH:
        raise DigestInvalid(f"unsupported digest algorithm {algorithm[:40]!r}")
    return hashlib.new(algorithm)


def of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of `data`."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def verify(data: bytes, digest: str) -> None:
    """Raise DigestInvalid unless `data` hashes to `digest`."""
    actual = of(data, algorithm(digest))
    if actual != digest:
        raise DigestInvalid(f"the content's digest is {actual}, not {digest}")
