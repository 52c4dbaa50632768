"""Proving who one is to an upstream registry: HTTP Basic, or a token of the service that its challenge names.

Sources: RFC 7617, RFC 6750, distribution's token specification (docs/content/spec/auth/token.md). What was learned from
a challenge is kept, so that the next request brings its token along and is not refused first.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

from chalicelib import outbound
from chalicelib.outbound import OutboundError, Verify
from chalicelib.timed_cache import TimedCache
from chalicelib.upstreams import answers
from chalicelib.upstreams.errors import UpstreamNotFound, UpstreamUnauthorized, UpstreamUnreachable

_TOKEN_SECONDS = 60
"""Life of a token whose service does not say (token specification)."""
_LONGEST_TOKEN_SECONDS = 24 * 3600
"""However long a service says: a number may be any."""
_TOKEN_SHARE = 0.8
_TOKENS = 512
_CALL_SECONDS = 8.0
_PARAMETER = r'[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s",]+)'
_CHALLENGE = re.compile(rf"(?<![A-Za-z])([A-Za-z]+)\s+({_PARAMETER}(?:\s*,\s*{_PARAMETER})*)")
_PARTS = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')


@dataclass(frozen=True)
class Credential:
    """A user's name and password; both are empty for nobody."""

    name: str
    password: str

    def __repr__(self) -> str:
        return "Credential(...)"

    @property
    def basic(self) -> str:
        """The value of an Authorization header; empty for nobody."""
        if not self.name and not self.password:
            return ""
        return "Basic " + base64.b64encode(f"{self.name}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Challenge:
    """What a registry wants: `realm` is the token service's address, empty when it wants Basic."""

    realm: str = ""
    service: str = ""


class Authorizer:
    """Makes the Authorization headers of one registry. Threads may share it."""

    def __init__(self, address: str, verify: Verify, credential: Callable[[], Credential]) -> None:
        self._address = address
        self._verify = verify
        self._credential = credential
        self._challenge: Challenge | None = None
        self._tokens: TimedCache[str, str] = TimedCache(_TOKENS)

    def headers(self, scope: str) -> dict[str, str]:
        """What a request within `scope` should bring along, as far as the registry has said what it wants.

        Raises the UpstreamErrors that asking the token service can end with.
        """
        challenge = self._challenge
        if challenge is None:
            return {}
        value = self._bearer(challenge, scope, scope) if challenge.realm else self._credential().basic
        return {"Authorization": value} if value else {}

    @property
    def is_challenged(self) -> bool:
        """Whether the registry has said how it wants to be shown credentials."""
        return self._challenge is not None

    def expect(self, www_authenticate: str) -> None:
        """Take in a challenge that no request of ours has met yet; one that nothing can answer is left alone."""
        challenges = parse(www_authenticate)
        if challenges.get("bearer", {}).get("realm"):
            self._challenge = Challenge(challenges["bearer"]["realm"], challenges["bearer"].get("service", ""))
        elif "basic" in challenges:
            self._challenge = Challenge()

    def learn(self, www_authenticate: str, scope: str) -> bool:
        """Take in the challenge that a request within `scope` was refused with. False when nothing can answer it.

        Raises as `headers` does.
        """
        challenges = parse(www_authenticate)
        if "bearer" in challenges and challenges["bearer"].get("realm"):
            wanted = challenges["bearer"]
            self._challenge = Challenge(wanted["realm"], wanted.get("service", ""))
            self._tokens.drop(scope)
            self._bearer(self._challenge, scope, wanted.get("scope") or scope)
            return True
        if "basic" in challenges and self._credential().basic:
            is_new = self._challenge != Challenge()
            self._challenge = Challenge()
            return is_new
        return False

    def _bearer(self, challenge: Challenge, scope: str, asked: str) -> str:
        """The header with a token of `challenge`'s service for `asked`, which is kept as that of `scope`."""
        found = self._tokens.get(scope)
        if found is not None:
            return found[0]
        token, seconds = self._fetch(challenge, asked)
        return self._tokens.put(scope, f"Bearer {token}", seconds * _TOKEN_SHARE)

    def _fetch(self, challenge: Challenge, scope: str) -> tuple[str, float]:
        basic = self._credential().basic
        if basic and _is_plain(challenge.realm) and not _is_plain(self._address):
            raise UpstreamUnauthorized("the registry names a token service that passwords would go to unencrypted")
        query = urlencode([(key, value) for key, value in (("service", challenge.service), ("scope", scope)) if value])
        separator = "&" if "?" in challenge.realm else "?"
        url = f"{challenge.realm}{separator}{query}" if query else challenge.realm
        headers = {"Accept": "application/json", **({"Authorization": basic} if basic else {})}
        send = partial(outbound.call, "GET", url, headers=headers, verify=self._verify, seconds=_CALL_SECONDS)
        try:
            answer = outbound.again_if_lost(send)
        except OutboundError as error:
            raise UpstreamUnreachable(f"the token service: {error}") from error
        try:
            answers.require_success(answer.status, answer.headers, "the token service")
        except UpstreamNotFound as error:  # which says nothing of what the token was to be for
            raise UpstreamUnreachable(str(error)) from error
        return _token(answer.body)


def parse(www_authenticate: str) -> dict[str, dict[str, str]]:
    """The parameters of each challenge by its scheme, both in lower case (RFC 9110, section 11.6.1)."""
    return {
        scheme.lower(): {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain for name, quoted, plain in _PARTS.findall(parameters)
        }
        for scheme, parameters in _CHALLENGE.findall(www_authenticate)
    }


def _token(body: bytes) -> tuple[str, float]:
    """The token and its life in seconds. Raises UpstreamUnreachable for what no token service would answer."""
    try:
        content: Any = json.loads(body)
        token = content.get("token") or content.get("access_token")
        seconds = _life(content.get("expires_in"))
    except (ValueError, AttributeError, RecursionError) as error:
        raise UpstreamUnreachable("the token service answers what is no token") from error
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise UpstreamUnreachable("the token service answers what is no token")
    return token, seconds


def _life(said: object) -> float:
    """The seconds that a token lives by what its service says, a number or text; what is neither says nothing."""
    try:
        seconds = float(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else 0.0
    except (ValueError, OverflowError):
        seconds = 0.0
    # Compared so that a NaN says nothing either.
    return min(seconds, _LONGEST_TOKEN_SECONDS) if seconds > 0 else _TOKEN_SECONDS


def _is_plain(url: str) -> bool:
    return urlsplit(url).scheme.lower() != "https"
