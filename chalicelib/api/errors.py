"""The Harbor API's errors, and the one mapper that writes them: {"errors": [{"code", "message"}]}.

Codes and statuses are Harbor's (src/lib/errors/const.go, src/lib/http/error.go). What Harbor does in a transaction that
waits for others, Berth tries a few times, then answers that the store is busy.
"""

from __future__ import annotations

import json
from typing import ClassVar

from chalicelib import domain_errors
from chalicelib.domain_errors import DomainError
from chalicelib.http import Response
from chalicelib.oci.errors import RegistryError, Unavailable
from chalicelib.projects import errors as projects


class ApiError(Exception):
    """A failure that the client sees. Subclasses fix Harbor's code and the HTTP status."""

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500


class BadRequestError(ApiError):
    code, status = "BAD_REQUEST", 400


class UnauthorizedError(ApiError):
    code, status = "UNAUTHORIZED", 401


class ForbiddenError(ApiError):
    code, status = "FORBIDDEN", 403


class NotFoundError(ApiError):
    code, status = "NOT_FOUND", 404


class ConflictError(ApiError):
    code, status = "CONFLICT", 409


class PreconditionFailedError(ApiError):
    code, status = "PRECONDITION", 412


class MethodNotAllowedError(ApiError):
    code, status = "METHOD_NOT_ALLOWED", 405


_STATUSES: dict[type[DomainError], tuple[str, int]] = {
    domain_errors.InvalidError: ("BAD_REQUEST", 400),
    domain_errors.NotFoundError: ("NOT_FOUND", 404),
    domain_errors.AlreadyExistsError: ("CONFLICT", 409),
    domain_errors.NotAllowedError: ("FORBIDDEN", 403),
    domain_errors.NotReadyError: ("PRECONDITION", 412),
    domain_errors.ChangedError: (Unavailable.code, Unavailable.status),
    # What Harbor answers otherwise.
    projects.AccessoryAloneError: ("DENIED", 403),
    projects.AdditionInvalidError: ("UNPROCESSABLE_ENTITY", 422),
}


def to_response(error: ApiError | RegistryError | DomainError) -> Response:
    """The Harbor error body for an error of the API, of a domain, or of authentication and the stores."""
    headers: dict[str, str] = {}
    if isinstance(error, DomainError):
        code, status = next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)
        if isinstance(error, domain_errors.ChangedError):
            headers = Unavailable(str(error)).headers
    else:
        code, status = error.code, error.status
    if isinstance(error, RegistryError):
        # A 401 carries no challenge here, as in Harbor: a browser would open its own login over the console's.
        headers = {name: value for name, value in error.headers.items() if name != "WWW-Authenticate"}
    body = {"errors": [{"code": code, "message": str(error)}]}
    return Response(status, {**headers, "Content-Type": "application/json"}, json.dumps(body).encode())
