"""The registry's errors: what can go wrong. chalicelib/http.py writes them to the wire.

Codes and statuses: OCI distribution-spec 1.1 "Error Codes", with DENIED and TOOMANYREQUESTS, and UNAVAILABLE and
SIZE_INVALID as `distribution` uses them. The body is `{"errors": [{"code", "message", "detail"}]}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class RegistryError(Exception):
    """A failure that the client sees. Subclasses fix the OCI code and the HTTP status."""

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, detail: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.headers = dict(headers or {})


class NameInvalid(RegistryError):
    code, status = "NAME_INVALID", 400


class NameUnknown(RegistryError):
    code, status = "NAME_UNKNOWN", 404


class TagInvalid(RegistryError):
    code, status = "TAG_INVALID", 400


class DigestInvalid(RegistryError):
    code, status = "DIGEST_INVALID", 400


class SizeInvalid(RegistryError):
    code, status = "SIZE_INVALID", 400


class ManifestInvalid(RegistryError):
    code, status = "MANIFEST_INVALID", 400


class ManifestUnknown(RegistryError):
    code, status = "MANIFEST_UNKNOWN", 404


class ManifestBlobUnknown(RegistryError):
    code, status = "MANIFEST_BLOB_UNKNOWN", 404


class BlobUnknown(RegistryError):
    code, status = "BLOB_UNKNOWN", 404


class BlobUploadUnknown(RegistryError):
    code, status = "BLOB_UPLOAD_UNKNOWN", 404


class BlobUploadInvalid(RegistryError):
    code, status = "BLOB_UPLOAD_INVALID", 400


class RangeInvalid(RegistryError):
    """A chunk that does not start where the upload stands (spec: "Pushing a blob in chunks")."""

    code, status = "BLOB_UPLOAD_INVALID", 416


class Unauthorized(RegistryError):
    """Authentication is needed or failed; `headers` carries the `WWW-Authenticate` challenge."""

    code, status = "UNAUTHORIZED", 401


class Denied(RegistryError):
    code, status = "DENIED", 403


class QuotaExceeded(Denied):
    """The project may not store so much; code, status and words are Harbor's."""


class Referenced(RegistryError):
    """The thing to delete is still referenced by a manifest (Harbor answers 412 for an index's child)."""

    code, status = "DENIED", 412


class Immutable(RegistryError):
    """A rule of the project keeps the tag as it is; Harbor's code and status."""

    code, status = "PRECONDITION", 412


class PreconditionFailed(RegistryError):
    """What the client wanted a manifest to be, by If-Match or If-None-Match, it is not (RFC 9110, section 13)."""

    code, status = "PRECONDITION", 412


class UriTooLong(RegistryError):
    """More tags than one push may name (distribution-spec, "Pushing Manifests")."""

    code, status = "TAG_INVALID", 414


class PolicyViolation(RegistryError):
    """A policy of the project forbids the pull; Harbor's code and status."""

    code, status = "PROJECTPOLICYVIOLATION", 412


class Unsupported(RegistryError):
    code, status = "UNSUPPORTED", 405


class NotFound(RegistryError):
    """A path outside the protocol."""

    code, status = "UNSUPPORTED", 404


class TooLarge(RegistryError):
    """More than a manifest may have, or than the API path can carry; the message says what to do."""

    code, status = "SIZE_INVALID", 413


class PaginationInvalid(RegistryError):
    """A page size that is not a positive number (`distribution` uses this code)."""

    code, status = "PAGINATION_NUMBER_INVALID", 400


class UploadTooSlow(RegistryError):
    """A client that sends too few bytes to be waited for. What came of its body is kept."""

    code, status = "BLOB_UPLOAD_INVALID", 408


class TooMuchToRead(RegistryError):
    """What a list would have to read for its answer is more than one request may."""

    code, status = "BAD_REQUEST", 400


class TooManyRequests(RegistryError):
    code, status = "TOOMANYREQUESTS", 429


class UpstreamFailed(RegistryError):
    """The registry that a proxy project pulls through from gives no usable answer, and there is no local copy."""

    code, status = "UNAVAILABLE", 502


class MovedPermanently(RegistryError):
    """The repository has another name, which `headers` tell the address of."""

    code, status = "NAME_UNKNOWN", 301


class Unavailable(RegistryError):
    """A store is throttled or out of reach: retry after a second."""

    code, status = "UNAVAILABLE", 503

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})
