"""The Harbor API's errors, and the one mapper that writes them: {"errors": [{"code", "message"}]}.

Codes and statuses are Harbor's (src/lib/errors/const.go, src/lib/http/error.go). What Harbor does in a transaction that
waits for others, Berth tries a few times: who loses each time is told that the store is busy.
"""

from __future__ import annotations

import json
from typing import ClassVar

from chalicelib.access import errors as access
from chalicelib.gc import errors as gc
from chalicelib.http import Response
from chalicelib.jobs import errors as jobs
from chalicelib.oci.errors import RegistryError, Unavailable
from chalicelib.projects import errors as projects
from chalicelib.upstreams import errors as upstreams
from chalicelib.webhooks import errors as webhooks


class ApiError(Exception):
    """A failure that the client is told of. Subclasses fix Harbor's code and the HTTP status."""

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


_BUSY = (Unavailable.code, Unavailable.status)

_DOMAIN: dict[type[Exception], tuple[str, int]] = {
    projects.NameInvalidError: ("BAD_REQUEST", 400),
    projects.AlreadyExistsError: ("CONFLICT", 409),
    projects.NotFoundError: ("NOT_FOUND", 404),
    projects.LimitInvalidError: ("BAD_REQUEST", 400),
    projects.NotEmptyError: ("PRECONDITION", 412),
    projects.RepositoryNotFoundError: ("NOT_FOUND", 404),
    projects.ArtifactNotFoundError: ("NOT_FOUND", 404),
    projects.AllowlistInvalidError: ("BAD_REQUEST", 400),
    projects.AccessoryAloneError: ("DENIED", 403),
    projects.AdditionUnknownError: ("BAD_REQUEST", 400),
    projects.AdditionNotFoundError: ("NOT_FOUND", 404),
    projects.AdditionInvalidError: ("UNPROCESSABLE_ENTITY", 422),
    projects.LabelInvalidError: ("BAD_REQUEST", 400),
    projects.LabelNotFoundError: ("NOT_FOUND", 404),
    projects.RuleInvalidError: ("BAD_REQUEST", 400),
    projects.RuleExistsError: ("CONFLICT", 409),
    projects.RuleNotFoundError: ("NOT_FOUND", 404),
    webhooks.PolicyInvalidError: ("BAD_REQUEST", 400),
    webhooks.PolicyExistsError: ("CONFLICT", 409),
    webhooks.PolicyNotFoundError: ("NOT_FOUND", 404),
    webhooks.DeliveryNotFoundError: ("NOT_FOUND", 404),
    webhooks.PoliciesChangedError: _BUSY,
    projects.ChangedError: _BUSY,
    projects.RegistryInvalidError: ("BAD_REQUEST", 400),
    upstreams.EndpointInvalidError: ("BAD_REQUEST", 400),
    upstreams.EndpointUnhealthyError: ("BAD_REQUEST", 400),
    upstreams.EndpointExistsError: ("CONFLICT", 409),
    upstreams.EndpointNotFoundError: ("NOT_FOUND", 404),
    upstreams.EndpointInUseError: ("PRECONDITION", 412),
    upstreams.EndpointChangedError: _BUSY,
    jobs.RunningError: ("CONFLICT", 409),
    jobs.ChangedError: _BUSY,
    jobs.ExecutionNotFoundError: ("NOT_FOUND", 404),
    jobs.TaskNotFoundError: ("NOT_FOUND", 404),
    jobs.JobTypeUnknownError: ("NOT_FOUND", 404),
    jobs.ScheduleInvalidError: ("BAD_REQUEST", 400),
    gc.ParameterInvalidError: ("BAD_REQUEST", 400),
    gc.TimesTooShortError: ("PRECONDITION", 412),
    access.InvalidError: ("BAD_REQUEST", 400),
    access.NotAllowedError: ("FORBIDDEN", 403),
    access.ForgedError: ("FORBIDDEN", 403),
    access.ProviderError: ("BAD_REQUEST", 400),
    access.NotFoundError: ("NOT_FOUND", 404),
    access.AlreadyExistsError: ("CONFLICT", 409),
    access.ChangedError: _BUSY,
}


def to_response(
    error: ApiError | RegistryError | projects.ProjectError | access.AccessError | jobs.JobError,
) -> Response:
    """The Harbor error body for an error of the API, of a domain, or of authentication and the stores."""
    headers: dict[str, str] = {}
    if isinstance(error, (projects.ProjectError, access.AccessError, jobs.JobError)):
        code, status = _DOMAIN[type(error)]
        if (code, status) == _BUSY:
            headers = Unavailable(str(error)).headers
    else:
        code, status = error.code, error.status
    if isinstance(error, RegistryError):
        # A 401 carries no challenge here, as in Harbor: a browser would open its own login over the console's.
        headers = {name: value for name, value in error.headers.items() if name != "WWW-Authenticate"}
    body = {"errors": [{"code": code, "message": str(error)}]}
    return Response(status, {**headers, "Content-Type": "application/json"}, json.dumps(body).encode())
