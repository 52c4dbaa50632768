"""The grammar of repository names, tags and references, and the one parser of registry paths.

Source: OCI distribution-spec 1.1, "Pull" and "Endpoints". A path under `/v2/` is read from its right end, because a
repository name itself holds slashes:

    /v2/                                      base
    /v2/_catalog                              catalog
    /v2/<name>/tags/list                      tags
    /v2/<name>/manifests/<tag or digest>      manifest
    /v2/<name>/referrers/<digest>             referrers
    /v2/<name>/blobs/uploads/[<upload id>]    uploads, upload
    /v2/<name>/blobs/<digest>                 blob

    name      := component ("/" component)*         at most 255 characters
    component := [a-z0-9]+ ((\\. | _ | __ | -+) [a-z0-9]+)*
    tag       := [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import unquote

from chalicelib.oci import digests
from chalicelib.oci.errors import NameInvalid, NotFound, TagInvalid

NAME_LENGTH = 255
TAG_LENGTH = 128

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(rf"[a-zA-Z0-9_][a-zA-Z0-9._-]{{0,{TAG_LENGTH - 1}}}\Z")
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True)
class Target:
    """What a registry path names: the kind of endpoint, the repository, and the last part if any."""

    kind: str
    repository: str = ""
    reference: str = ""


def is_repository(text: str) -> bool:
    """Whether `text` is a well-formed repository name with a project."""
    return len(text) <= NAME_LENGTH and "/" in text and _NAME.match(text) is not None


def parse_repository(text: str) -> str:
    """Return `text` if it is a repository name with a project, else raise NameInvalid.

    Every repository belongs to a project, its first component, as in Harbor; so a name has at least two.
    """
    if is_repository(text):
        return text
    if len(text) <= NAME_LENGTH and _NAME.match(text):
        raise NameInvalid(f"{text!r} names no project: use <project>/{text}")
    raise NameInvalid(f"{text[:NAME_LENGTH]!r} is not a valid repository name")


def is_tag(text: str) -> bool:
    return _TAG.match(text) is not None


def parse_tag(text: str) -> str:
    if not is_tag(text):
        raise TagInvalid(f"{text[:160]!r} is not a valid tag")
    return text


def parse_reference(text: str) -> str:
    """A tag or a digest. Raises TagInvalid or DigestInvalid."""
    return digests.parse(text) if ":" in text else parse_tag(text)


def project_of(repository: str) -> str:
    return repository.partition("/")[0]


def parse_path(path: str) -> Target:
    """Read a path into a Target, its parts checked. Raises NotFound or the parts' errors.

    Percent-encoding is undone, but for a slash: that never is part of a name, and a proxy may read it either way.
    """
    if "%" in path:
        path = _decode(path)
    if path in ("/v2", "/v2/"):
        return Target("base")
    if not path.startswith("/v2/"):
        raise NotFound("not a registry path")
    rest = path.removeprefix("/v2/")
    if rest == "_catalog":
        return Target("catalog")
    name, _, last = rest.rpartition("/")
    if name.endswith("/blobs/uploads"):
        return _upload(name.removesuffix("/blobs/uploads"), last)
    if rest.endswith("/blobs/uploads"):
        return _upload(rest.removesuffix("/blobs/uploads"), "")
    for kind, suffix, parse in (
        ("manifest", "/manifests", parse_reference),
        ("blob", "/blobs", digests.parse),
        ("referrers", "/referrers", digests.parse),
    ):
        if name.endswith(suffix):
            return Target(kind, parse_repository(name.removesuffix(suffix)), parse(last))
    if rest.endswith("/tags/list"):
        return Target("tags", parse_repository(rest.removesuffix("/tags/list")))
    raise NotFound("no such endpoint in the registry protocol")


def _decode(path: str) -> str:
    if "%2f" in path.lower():
        raise NameInvalid("a slash in a path may not be percent-encoded")
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError as error:
        raise NameInvalid("the path is not UTF-8") from error


def _upload(name: str, upload_id: str) -> Target:
    repository = parse_repository(name)
    if not upload_id:
        return Target("uploads", repository)
    return Target("upload", repository, upload_id if _UPLOAD_ID.match(upload_id) else "unknown")


def number_of(name: str) -> int:
    """A number for what Harbor numbers and Berth names: of the name's digest, as many bits as JavaScript can hold."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 11
