"""Lists of a proxy project's repositories: what upstream says, kept for a while; the local list where it says nothing.

A page of tags is upstream's own, in its order. Where the project keeps what is gone upstream, tags that only the local
copy has stand among them, as far as upstream sorts its list as the protocol wants it.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

from chalicelib.oci.errors import ManifestUnknown, NameUnknown
from chalicelib.oci.names import TAG_LENGTH, is_tag
from chalicelib.proxycache import connections, freshness, traffic
from chalicelib.proxycache.freshness import Reply
from chalicelib.proxycache.sources import Source
from chalicelib.registry import listings
from chalicelib.registry.listings import Page
from chalicelib.registry.store import listings as listing_table
from chalicelib.settings import settings
from chalicelib.upstreams.errors import UpstreamNotFound

_REFERRERS = "proxy_referrer_api"
"""The project's setting; only "false" keeps to the local list."""
_MARK_LENGTH = 2048
"""Of the mark that a page begins behind: upstream's own, which is a tag, or whatever stands for one (ECR)."""


def tags(source: Source, after: str, limit: int) -> Page:
    """As `listings.tags`, of upstream. Raises NameUnknown when neither has such a repository."""
    after = after[:_MARK_LENGTH]
    if limit == 0:
        return Page([], "")
    traffic.count_head(source.project.project_id)
    question = f"tags|{limit}|{hashlib.sha256(after.encode()).hexdigest() if after else ''}"
    ask = partial(_ask_tags, source, after, limit)
    reply = freshness.ask(source.origin, question, ask, settings().proxy_fresh_seconds)
    if reply.error == freshness.UNKNOWN and not source.keeps_what_is_gone:
        raise NameUnknown(f"the upstream registry has no repository {source.remote}")
    if reply.content is None:
        return _local_tags(source, after, limit, reply)
    page = Page(reply.content["tags"], reply.content["next"])
    return _with_local(source, page, after, limit) if source.keeps_what_is_gone else page


def referrers(source: Source, subject: str, artifact_type: str, after: str, limit: int) -> Page:
    """As `listings.referrers`, of upstream: all at once, since upstream's own pages are followed to their end.

    Raises ManifestUnknown when upstream gives no list and the local one is empty: that is not to say that there are
    none. Clients then look for the tag that lists them (distribution-spec, "Referrers Tag Schema").
    """
    local = listings.referrers(source.repository, subject, artifact_type, after, limit)
    if source.project.metadata.get(_REFERRERS) == "false":
        return local
    traffic.count_head(source.project.project_id)
    ask = partial(_ask_referrers, source, subject)
    reply = freshness.ask(source.origin, f"referrers|{subject}", ask, settings().proxy_fresh_seconds)
    if reply.content is not None:
        entries = [each for each in reply.content["manifests"] if not artifact_type or _type(each) == artifact_type]
        return Page(entries, "")
    if reply.error and not local.entries:
        raise ManifestUnknown(f"the upstream registry gives no list of what refers to {subject}")
    return local


def _local_tags(source: Source, after: str, limit: int, reply: Reply) -> Page:
    """The local list where upstream gives none. Raises what upstream's refusal means when there is none here either."""
    try:
        return listings.tags(source.repository, after, limit)
    except NameUnknown:
        if reply.error == freshness.UNKNOWN:
            raise
        if reply.error == freshness.HIDDEN:
            raise NameUnknown(freshness.hidden(reply, source.remote)) from None
        raise freshness.refusal(reply, source.remote) from None


def _ask_tags(source: Source, after: str, limit: int) -> dict[str, Any]:
    with connections.held(source.project):
        page = source.upstream.list_tags(source.remote, limit, after)
    tags = [tag for tag in page.tags if is_tag(tag)]
    if len(tags) > limit and not page.next and tags == sorted(tags):
        return _cut(tags, after, limit)
    return {"tags": tags, "next": page.next}


def _cut(tags: list[str], after: str, limit: int) -> dict[str, Any]:
    """The page behind `after`, of a registry that knows no pages and sends all its tags (distribution before 3).

    So a page of tags always fits an item of the table.
    """
    found = [tag for tag in tags if tag > after]
    return {"tags": found[:limit], "next": found[limit - 1] if len(found) > limit else ""}


def _ask_referrers(source: Source, subject: str) -> dict[str, Any]:
    with connections.held(source.project):
        found = source.upstream.list_referrers(source.remote, subject)
    if found is None:
        raise UpstreamNotFound("the upstream registry has no list of referrers")
    return {"manifests": found}


def _type(descriptor: dict[str, Any]) -> str:
    return str(descriptor.get("artifactType", ""))


def _with_local(source: Source, page: Page, after: str, limit: int) -> Page:
    """The page with those of the local tags that belong on it; as it is, when upstream's order is another."""
    if page.entries != sorted(page.entries) or not is_tag(page.next or "any"):
        return page
    names, more = listing_table.tags(source.repository, after[: TAG_LENGTH + 1], limit)
    here = [name for name in names if not page.next or name <= page.next]
    merged = sorted({*page.entries, *here})
    if not page.next and not more and len(merged) <= limit:
        return Page(merged, "")
    return Page(merged[:limit], merged[:limit][-1] if merged else page.next)
