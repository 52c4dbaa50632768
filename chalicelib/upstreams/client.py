"""The client of an upstream registry: the pulling half of the distribution protocol.

Every connection goes through chalicelib/outbound.py, redirects and token services included. Nothing that an upstream
says is believed before it is checked: a manifest is hashed here; a blob by whoever reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from chalicelib import outbound
from chalicelib.oci import digests, manifests
from chalicelib.oci.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST, SIZE_LIMIT
from chalicelib.outbound import Answer, OutboundError, Stream
from chalicelib.timed_cache import TimedCache
from chalicelib.upstreams import answers, credentials, ecr, providers
from chalicelib.upstreams.authorization import Authorizer, Credential
from chalicelib.upstreams.errors import (
    UpstreamContentInvalid,
    UpstreamError,
    UpstreamHidden,
    UpstreamRedirectRefused,
    UpstreamUnauthorized,
    UpstreamUnreachable,
)
from chalicelib.upstreams.records import Endpoint

_ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, "*/*;q=0.1"))
_CALL_SECONDS = 10.0
_REDIRECTS = 5
_LIST_LIMIT = 4 << 20
_LIST_PAGES = 50
_LINK_LIMIT = 16 * 1024
_NO_REFERRERS = (400, 404, 405, 406, 501)
"""What registries answer that have no list of referrers (go-containerregistry#1962, #2026: Artifactory says 406)."""
_NO_HEAD = (405, 501)
"""What a registry, or a proxy before it, answers that knows GET alone (RFC 9110, sections 15.5.6 and 15.6.2)."""
_CHUNK = 1 << 20
_KEPT_SECONDS = 300
_LINK = re.compile(r"<([^<>]{1,4096})>([^<]{0,4096})")
_REL_NEXT = re.compile(r';\s*rel\s*=\s*(?:"[^"]*\bnext\b[^"]*"|next\b)', re.IGNORECASE)
_OPAQUE = "?"
"""What a mark begins with that is the whole query of the next page, and no tag."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")

_REQUESTS: list[Callable[[int], None]] = []


def on_request(listener: Callable[[int], None]) -> None:
    """Have `listener` told of every request that is sent to a registry from now on, by the registry's number.

    Those to token services are not among them: no registry counts them.
    """
    _REQUESTS.append(listener)


@dataclass(frozen=True)
class Descriptor:
    """What a registry says of a manifest. `size` is -1 when it does not say."""

    digest: str
    media_type: str
    size: int


@dataclass(frozen=True)
class TagPage:
    """Tags, and the mark of the next page: the tag that it starts behind, or `?` and a query. Empty at the end."""

    tags: list[str]
    next: str


@dataclass(frozen=True)
class Body:
    """A blob, or a part of it, on its way. `start` and `length` say which bytes come; `total` is -1 when not told."""

    status: int
    """206 for the part that was asked for; 200 for the whole blob, whatever was asked for."""
    start: int
    length: int
    """-1 when not told."""
    total: int
    _stream: Stream

    def __iter__(self) -> Iterator[bytes]:
        """The bytes in pieces of up to 1 MiB. Raises UpstreamUnreachable when they end early."""
        received = 0
        try:
            for chunk in self._stream.chunks(_CHUNK):
                received += len(chunk)
                yield chunk
        except OutboundError as error:
            raise UpstreamUnreachable(str(error)) from error
        if self.length not in (-1, received):
            raise UpstreamUnreachable(f"the blob ends after {received} of {self.length} bytes")

    def close(self) -> None:
        self._stream.close()


class _Answered(Protocol):
    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def is_elsewhere(self) -> bool: ...


A = TypeVar("A", Answer, Stream)

_clients: TimedCache[tuple[int, str], Upstream] = TimedCache(64)


def of(endpoint: Endpoint) -> Upstream:
    """The process's client of an upstream registry, with the tokens that it has."""
    key = (endpoint.number, endpoint.version)
    found = _clients.get(key)
    return found[0] if found else _clients.put(key, Upstream(endpoint), _KEPT_SECONDS)


class Upstream:
    """Calls one registry. Each method raises UpstreamErrors. Threads may share it."""

    def __init__(self, endpoint: Endpoint, credential: Credential | None = None) -> None:
        """`credential` stands in the place of the one that Secrets Manager has of the registry."""
        self._number = endpoint.number
        self._who = f"registry {endpoint.name}"
        self._verify: outbound.Verify = endpoint.ca_certificate or True
        if endpoint.insecure:
            self._verify = False
        self._is_anonymous = not credential.basic if credential is not None else not endpoint.access_key
        known = partial(credentials.of, endpoint) if credential is None else lambda: credential
        self._address: Callable[[], str] = lambda: providers.registry_address(endpoint.type, endpoint.url)
        if endpoint.type == providers.ECR:
            account = ecr.Account(endpoint.url, known, self._verify)
            known, self._address = account.credential, account.address
        self._authorizer = Authorizer(endpoint.url, self._verify, known)
        self._is_introduced = False

    def ping(self) -> None:
        """Return if the registry answers, and to its credentials if it has any (Harbor, adapter/native)."""
        try:
            answer = self._call("GET", "/v2/", "")
            answers.require_success(answer.status, answer.headers, self._who)
            if "html" in answer.headers.get("content-type", ""):
                raise UpstreamContentInvalid(f"{self._who} answers with a page for people: it is no registry")
        except UpstreamUnauthorized:
            if not self._is_anonymous:
                raise

    def head_manifest(self, repository: str, reference: str) -> Descriptor:
        """What `reference`, a tag or digest, stands for now. One GET more where a registry tells none by a HEAD."""
        answer = self._manifest("HEAD", repository, reference)
        digest = answer.headers.get("docker-content-digest", "")
        is_told = digests.is_digest(digest) and _is_manifest(_media_type(answer))
        if answer.status in _NO_HEAD or not is_told:
            media_type, content, digest = self.get_manifest(repository, reference)
            return Descriptor(digest, media_type, len(content))
        if digests.is_digest(reference) and digest != reference:
            raise UpstreamContentInvalid(f"{self._who} answers {digest} for {reference}")
        # What compressed it told its own size, and one that makes no answer to a HEAD tells none.
        size = -1 if answer.headers.get("content-encoding") else _length(answer) or -1
        if size > SIZE_LIMIT:
            raise UpstreamContentInvalid(f"{self._who} has a manifest of {size} bytes, which is too many")
        return Descriptor(digest, _media_type(answer), size)

    def get_manifest(self, repository: str, reference: str) -> tuple[str, bytes, str]:
        """The manifest's media type, its bytes and their digest: of a digest's algorithm, sha256 for a tag.

        The type is what the document says, where the registry says none of a manifest. Raises UpstreamContentInvalid
        when the bytes are not those of `reference`, or are no manifest, such as the page of a login that stands before.
        """
        answer = self._manifest("GET", repository, reference)
        told = answer.headers.get("docker-content-digest", "")
        expected = reference if digests.is_digest(reference) else told
        algorithm = digests.algorithm(expected) if digests.is_digest(expected) else "sha256"
        digest = digests.of(answer.body, algorithm)
        if digests.is_digest(expected) and digest != expected:
            raise UpstreamContentInvalid(f"the manifest that {self._who} sends is {digest}, not {expected}")
        return self._type_of(answer), answer.body, digest

    def head_blob(self, repository: str, digest: str) -> int:
        """The blob's size. Raises UpstreamUnreachable when the registry does not say it."""
        with self._refusals():
            answer = self._call("HEAD", _path(repository, "blobs", digest), _pull(repository))
            # Stores of blobs refuse a HEAD of an address that is signed for a GET.
            needs_get = answer.status in _NO_HEAD or (answer.status == 403 and answer.is_elsewhere)
            if not needs_get:
                self._require_success(answer)
        if needs_get:
            with closing(self.open_blob(repository, digest, 0, 1)) as body:
                size = body.total
        else:
            size = _length(answer)
        if size < 0:
            raise UpstreamUnreachable(f"{self._who} does not tell the size of a blob")
        return size

    def open_blob(self, repository: str, digest: str, start: int = 0, end: int | None = None) -> Body:
        """The blob from byte `start` up to and without `end`; the caller closes it.

        A registry that knows no ranges sends all of it, with the status 200. Raises UpstreamContentInvalid when another
        part comes than was asked for. The bytes are not checked.
        """
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        send = partial(outbound.stream, verify=self._verify, redirects=_REDIRECTS)
        url = self._address() + _path(repository, "blobs", digest)

        def ask() -> Stream:
            return self._authorized(lambda more: send(url, headers={**headers, **more}), _pull(repository))

        stream = ask()
        if start == 0 and "Range" in headers and _knows_no_ranges(stream):
            stream.close()
            del headers["Range"]
            stream = ask()
        try:
            answers.require_success(stream.status, stream.headers, self._who)
            return self._body(stream, start, end, "Range" in headers)
        except UpstreamError:
            stream.close()
            raise

    def list_tags(self, repository: str, n: int = 0, last: str = "") -> TagPage:
        """The tags behind the mark `last`, up to `n` of them (0: as many as the registry sends at once)."""
        with self._refusals():
            answer = self._tags(repository, n, last)
            if answer.status == 400 and n:
                answer = self._tags(repository, 0, last)  # some allow fewer at a time than were asked for
            self._require_success(answer)
        try:
            content = json.loads(answer.body)
            tags = content.get("tags") or []
        except (ValueError, AttributeError, RecursionError) as error:
            raise UpstreamUnreachable(f"{self._who} answers what is no list of tags") from error
        if not isinstance(tags, list):
            raise UpstreamUnreachable(f"{self._who} answers what is no list of tags")
        return TagPage([tag for tag in tags if isinstance(tag, str)], _next(answer))

    def list_referrers(self, repository: str, digest: str, artifact_type: str = "") -> list[dict[str, Any]] | None:
        """The descriptors of what refers to `digest`, of all pages (distribution-spec 1.1, "Listing Referrers").

        None from a registry that has no such list, whether it says so or sends something else.
        """
        query = urlencode({"artifactType": artifact_type}) if artifact_type else ""
        found: list[dict[str, Any]] = []
        room = _LIST_LIMIT
        for _ in range(_LIST_PAGES):
            path = f"{_path(repository, 'referrers', digest)}{'?' if query else ''}{query}"
            with self._refusals():
                answer = self._call("GET", path, _pull(repository), accept=OCI_INDEX, limit=room)
                if answer.status in _NO_REFERRERS and not found:
                    return None
                self._require_success(answer)
            entries = _descriptors(answer.body)
            if entries is None and not found:
                return None
            if entries is None:
                raise UpstreamContentInvalid(f"{self._who} answers what is no list of referrers")
            found += entries
            query, room = _next_query(answer), room - len(answer.body)
            if not query:
                return found
        raise UpstreamUnreachable(f"{self._who} has too many pages of referrers")

    def _tags(self, repository: str, n: int, last: str) -> Answer:
        if last.startswith(_OPAQUE):
            query = quote(last.removeprefix(_OPAQUE), safe="=&%+-._~:/,")
        else:
            query = urlencode([(name, value) for name, value in (("n", n), ("last", last)) if value])
        path = f"{_path(repository, 'tags', 'list')}{'?' if query else ''}{query}"
        return self._call("GET", path, _pull(repository), limit=_LIST_LIMIT)

    def _type_of(self, answer: Answer) -> str:
        """The manifest's type. What says that it is a manifest is read all the same: it may be empty, or a page."""
        try:
            document = json.loads(answer.body)
            own = document.get("mediaType")
        except (ValueError, AttributeError, RecursionError) as error:
            raise UpstreamContentInvalid(f"{self._who} sends what is no manifest") from error
        for media_type in (_media_type(answer), own, _shape_of(document)):
            if isinstance(media_type, str) and _is_manifest(media_type):
                return media_type
        raise UpstreamContentInvalid(f"{self._who} sends what is no manifest that is known here")

    def _require_success(self, answer: Answer) -> None:
        if answer.status in (401, 403) and answer.is_elsewhere:
            raise UpstreamRedirectRefused(f"{self._who} redirects to another host, which answers {answer.status}")
        answers.require_success(answer.status, answer.headers, self._who)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Tell what is missing or hidden from credentials that are wrong, where a repository is refused.

        It is refused by the registry itself, or by the token service before it (GHCR's answers mistyped names by 403).
        """
        try:
            yield
        except UpstreamRedirectRefused:  # which says nothing of the repository
            raise
        except UpstreamUnauthorized as error:
            self.ping()  # which raises when it is the credentials that are wrong
            raise UpstreamHidden(str(error)) from error

    def _manifest(self, method: str, repository: str, reference: str) -> Answer:
        path = _path(repository, "manifests", reference)
        with self._refusals():
            answer = self._call(method, path, _pull(repository), accept=_ACCEPT, limit=SIZE_LIMIT)
            if method != "HEAD" or answer.status not in _NO_HEAD:
                self._require_success(answer)
        return answer

    def _call(self, method: str, path: str, scope: str, *, accept: str = "*/*", limit: int = 1 << 20) -> Answer:
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        send = partial(outbound.call, verify=self._verify, seconds=_CALL_SECONDS, limit=limit, redirects=_REDIRECTS)
        return self._authorized(lambda more: send(method, self._address() + path, headers={**headers, **more}), scope)

    def _authorized(self, send: Callable[[Mapping[str, str]], A], scope: str) -> A:
        """The answer to what `send` sends with the headers it is given, which are those that the registry wants."""
        if scope and not (self._is_anonymous or self._is_introduced or self._authorizer.is_challenged):
            self._introduce()
        answer = self._sent(send, self._authorizer.headers(scope))
        # What a host asks for that a redirect led to is not ours to give, and would not come to it: see outbound.call.
        challenge = "" if answer.is_elsewhere else answer.headers.get("www-authenticate", "")
        if answer.status != 401 or not self._authorizer.learn(challenge, scope):
            return answer
        if isinstance(answer, Stream):
            answer.close()
        return self._sent(send, self._authorizer.headers(scope))

    def _introduce(self) -> None:
        """Ask how to show credentials, once: a registry may hide what it has from strangers by a 404, and not ask."""
        self._is_introduced = True
        send = partial(outbound.call, "GET", verify=self._verify, seconds=_CALL_SECONDS, redirects=_REDIRECTS)
        answer = self._sent(lambda _: send(f"{self._address()}/v2/"), {})
        if answer.status == 401 and not answer.is_elsewhere:
            self._authorizer.expect(answer.headers.get("www-authenticate", ""))

    def _sent(self, send: Callable[[Mapping[str, str]], A], headers: Mapping[str, str]) -> A:
        try:
            return outbound.again_if_lost(lambda: self._counted(send, headers))
        except OutboundError as error:
            raise UpstreamUnreachable(f"{self._who}: {error}") from error

    def _counted(self, send: Callable[[Mapping[str, str]], A], headers: Mapping[str, str]) -> A:
        for listener in _REQUESTS:
            listener(self._number)
        return send(headers)

    def _body(self, stream: Stream, start: int, end: int | None, is_part: bool) -> Body:
        length = _length(stream)
        if stream.status != 206 or not is_part:
            return Body(200, 0, length, length, stream)
        match = _CONTENT_RANGE.match(stream.headers.get("content-range", ""))
        if match is None:
            raise UpstreamContentInvalid(f"{self._who} sends a part of a blob and does not say which")
        first, last, total = int(match[1]), int(match[2]), -1 if match[3] == "*" else int(match[3])
        wanted = last + 1 if end is None else min(end, total if total >= 0 else last + 1)
        if first != start or last + 1 != wanted or length not in (-1, last + 1 - first):
            raise UpstreamContentInvalid(f"{self._who} sends another part of a blob than it was asked for")
        return Body(206, first, last + 1 - first, total, stream)


def _path(repository: str, kind: str, name: str) -> str:
    return f"/v2/{quote(repository)}/{kind}/{quote(name, safe=':')}"


def _pull(repository: str) -> str:
    return f"repository:{repository}:pull"


def _is_manifest(media_type: str) -> bool:
    return media_type.lower() in manifests.KNOWN_TYPES


def _shape_of(document: dict[str, Any]) -> str:
    """The type of a document that names none (image-spec: a manifest need not), by what only that type has."""
    if document.get("schemaVersion") != 2:
        return ""
    if isinstance(document.get("manifests"), list):
        return OCI_INDEX
    return OCI_MANIFEST if isinstance(document.get("config"), dict) and "layers" in document else ""


def _media_type(answer: _Answered) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip()


def _next(answer: _Answered) -> str:
    """The mark of the page that a Link header names as the next: its `last`, or its query where it has others too."""
    query = _next_query(answer)
    fields = parse_qs(query)
    if fields.keys() <= {"n", "last"}:
        return fields.get("last", [""])[0]
    return f"{_OPAQUE}{query}"


def _next_query(answer: _Answered) -> str:
    """The query of the next page's address, empty at the end. The rest of it is taken from nobody: it is ours.

    The parameters of a link come in any order (RFC 8288, section 3).
    """
    for link in _LINK.finditer(answer.headers.get("link", "")[:_LINK_LIMIT]):
        if _REL_NEXT.search(link[2]):
            return urlsplit(link[1]).query
    return ""


def _knows_no_ranges(stream: Stream) -> bool:
    """Whether a registry answers the beginning of a blob as if there were none, or sends a part and not which."""
    return stream.status == 416 or (stream.status == 206 and "content-range" not in stream.headers)


def _descriptors(content: bytes) -> list[dict[str, Any]] | None:
    """The entries of an index; None for what is none."""
    try:
        entries = json.loads(content)["manifests"] or []
        return [each for each in entries if isinstance(each, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _length(answer: _Answered) -> int:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
