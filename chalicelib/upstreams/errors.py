"""What can go wrong with an upstream registry: with its record, which the API shows, and with calling it."""

from __future__ import annotations

from chalicelib import domain_errors


class EndpointInvalidError(domain_errors.InvalidError):
    """A name, type, address or credential breaks a rule, or the address must not be called."""


class EndpointUnhealthyError(domain_errors.InvalidError):
    """The registry does not answer, or not to these credentials."""


class EndpointExistsError(domain_errors.AlreadyExistsError):
    """The name is taken."""


class EndpointNotFoundError(domain_errors.NotFoundError):
    """No such registry."""


class EndpointInUseError(domain_errors.NotReadyError):
    """Projects pull through from the registry."""


class EndpointChangedError(domain_errors.ChangedError):
    """Others changed the registry at the same time."""


class UpstreamError(Exception):
    """A request to an upstream registry that came to nothing. The text holds no secret and no address's query."""


class UpstreamNotFound(UpstreamError):
    """404: the registry has no such repository, manifest or blob, or does not show it to these credentials."""


class UpstreamRateLimited(UpstreamError):
    """429: too many requests. `retry_after` is in seconds; None when the registry does not say."""

    def __init__(self, message: str, retry_after: int | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConnectionsTaken(UpstreamRateLimited):
    """As many requests are on their way upstream as the project may have there. Upstream has said nothing."""


class UpstreamUnauthorized(UpstreamError):
    """401 or 403, of the registry or of its token service."""


class UpstreamHidden(UpstreamUnauthorized):
    """The registry takes the credentials, and refuses this repository: it is not there, or hidden from them."""


class UpstreamRedirectRefused(UpstreamUnauthorized):
    """Another host, which the registry redirects to, refuses: nobody's credentials are for it."""


class UpstreamUnreachable(UpstreamError):
    """No usable answer: no connection, TLS fails, it took too long, 5xx, or what no registry would say."""


class UpstreamContentInvalid(UpstreamError):
    """What the registry sent is not what its digest, or its length, says."""
