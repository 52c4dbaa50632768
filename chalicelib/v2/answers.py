"""The last step of every registry request, in the function and in the relay: what leaves is an OCI answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec

from chalicelib.http import PROTOCOL_HEADERS, Response, to_response
from chalicelib.oci.errors import NameInvalid, RegistryError, Unavailable
from chalicelib.storage.conditions import is_key_refused, is_transient

P = ParamSpec("P")


def translate_errors(dispatch: Callable[P, Response]) -> Callable[P, Response]:
    """Give every answer of `dispatch` the protocol's headers, and every failure an OCI error body.

    A store that is throttled or out of reach becomes a 503; faults of ours are raised on.
    """

    @wraps(dispatch)
    def answer(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return _with_headers(dispatch(*args, **kwargs))
        except Exception as error:
            return _refusal(error)

    return answer


def translate_errors_async(dispatch: Callable[P, Awaitable[Response]]) -> Callable[P, Awaitable[Response]]:
    """As `answered`, for the event loop of the relay."""

    @wraps(dispatch)
    async def answer(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return _with_headers(await dispatch(*args, **kwargs))
        except Exception as error:
            return _refusal(error)

    return answer


def _with_headers(response: Response) -> Response:
    return Response(response.status, {**PROTOCOL_HEADERS, **response.headers}, response.body)


def _refusal(error: Exception) -> Response:
    """The answer to a failed request. Raises a fault of ours on."""
    if isinstance(error, RegistryError):
        return to_response(error)
    if is_key_refused(error):
        return to_response(NameInvalid("a name is empty or too long"))
    if not is_transient(error):
        raise error
    return to_response(Unavailable("a store is busy"))
