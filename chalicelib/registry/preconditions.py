"""Conditional requests about manifests, whose entity tag is their digest (RFC 9110, section 13).

The distribution-spec has clients change a list of referrers by them ("Referrers Tag Schema").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.oci.errors import PreconditionFailed

_ANY = "*"


@dataclass(frozen=True)
class Preconditions:
    """What a request wants a manifest to be; None where it does not say."""

    match: frozenset[str] | None = None
    """`If-Match`: the digests of which it must have one, or `*` for any that is there."""
    none_match: frozenset[str] | None = None
    """`If-None-Match`: the digests of which it may have none, or `*` for that nothing may be there."""
    project_id: int = 0
    """The project that a push was let into, by its number, if any other of the name will not do."""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Preconditions:
        # `If-Match` compares strongly, so that a weak tag is never equal (RFC 9110, section 13.1.1).
        return cls(_tags(headers.get("if-match"), weak=False), _tags(headers.get("if-none-match"), weak=True))

    def require(self, digest: str | None) -> None:
        """Raise PreconditionFailed unless what is there, of this digest, may be changed; None is for nothing."""
        self.require_match(digest)
        if self.none_match is not None and _is_one_of(digest, self.none_match):
            raise PreconditionFailed(f"If-None-Match: {digest} is there")

    def require_match(self, digest: str | None) -> None:
        """Raise PreconditionFailed unless what is there is what the client wants it to be."""
        if self.match is not None and not _is_one_of(digest, self.match):
            raise PreconditionFailed(f"If-Match: {digest or 'nothing'} is there")

    def has(self, digest: str) -> bool:
        """Whether a client that reads the manifest has it already, and is to be told just that (304)."""
        return self.none_match is not None and _is_one_of(digest, self.none_match)


NONE = Preconditions()


def _is_one_of(digest: str | None, tags: frozenset[str]) -> bool:
    return digest is not None and (digest in tags or _ANY in tags)


def _tags(header: str | None, *, weak: bool) -> frozenset[str] | None:
    """The tags that a header lists, of the weak ones none unless `weak`. Without quotes too, as `distribution` does.

    A digest has no comma, so whatever else has one is split, and equal to none.
    """
    if header is None:
        return None
    listed = [tag.strip() for tag in header.split(",")]
    return frozenset(tag.removeprefix("W/").strip('"') for tag in listed if weak or not tag.startswith("W/"))
