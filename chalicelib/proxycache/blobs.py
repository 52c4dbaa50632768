"""A blob that a proxy project does not have yet: its fill is waited for, as long as the gateway lets a request take.

After that the client is sent to the same address again, which goes on waiting. Stock clients follow redirects as part
of a download, Go's nine in a row (net/http, defaultCheckRedirect: ten requests): one may be from a bare name of Docker
Hub's, one is to S3, and seven are ours. So a client waits some 170 seconds; a fill that takes longer goes on, and who
tries again after the 503 finds it further on. Bytes never pass through the function, no client is sent upstream.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial

from chalicelib import retrying
from chalicelib.observability import logger
from chalicelib.oci.errors import BlobUnknown, Unavailable
from chalicelib.proxycache import connections, filling, freshness, traffic
from chalicelib.proxycache.sources import Source
from chalicelib.registry import blobs
from chalicelib.registry.store import blobs as table
from chalicelib.registry.store.blobs import Blob
from chalicelib.settings import settings

REDIRECTS = 7
RETRY_SECONDS = 30


def wait(source: Source, digest: str, *, is_first: bool) -> Blob | None:
    """The blob, once it is filled; None when it still is not after `proxy_wait_seconds`.

    `is_first` unless the client has waited already, and is counted.

    Raises BlobUnknown when upstream has none, or what else the fill has failed with. A store that does not answer is
    waited for too: MiniStack answers nobody while it puts a blob of gigabytes together.
    """
    deadline = time.monotonic() + settings().proxy_wait_seconds
    if is_first:
        traffic.count_miss(source.project.project_id)
    pauses = retrying.pauses(0.1, 1.0, growth=1.3)
    while True:
        try:
            if found := _look(source, digest):
                traffic.count_saved(source.project.project_id, found.size)
                return found
        except Unavailable:
            logger.warning("a store did not answer", extra={"repository": source.repository, "digest": digest})
        pause = next(pauses)
        if time.monotonic() + pause > deadline:
            return None
        time.sleep(pause)


def _look(source: Source, digest: str) -> Blob | None:
    """The blob, if it is there by now; else see to it that somebody is at it. Raises as `wait` does.

    Whether somebody is at it is asked before whether it is there, so that a fill which ends in between is not started
    anew.
    """
    state = filling.state(source.repository, digest, source.project.registry_id)
    with suppress(BlobUnknown):
        return blobs.find(source.repository, digest)
    if state.error is not None:
        raise state.error
    if not state.is_running:
        _start(source, digest)
    return None


def _start(source: Source, digest: str) -> None:
    """Have the blob filled. Raises as _require_known does."""
    _require_known(source, digest)
    filling.ensure(source.repository, [digest], source.project.registry_id)


def _require_known(source: Source, digest: str) -> None:
    """Return if a manifest of the repository names the blob, or upstream has it: else nothing is started for it.

    Raises BlobUnknown, TooManyRequests or UpstreamFailed.
    """
    if table.edges_onto(digest, source.repository):
        return
    ask = partial(_head, source, digest)
    reply = freshness.ask(source.origin, f"blob|{digest}", ask, settings().proxy_fresh_seconds)
    if reply.error == freshness.UNKNOWN:
        raise BlobUnknown(f"the upstream registry has no blob {digest} of {source.remote}")
    if reply.error == freshness.HIDDEN:
        raise BlobUnknown(freshness.hidden(reply, f"the blob {digest}"))
    if reply.error:
        raise freshness.refusal(reply, f"the blob {digest}")


def _head(source: Source, digest: str) -> dict[str, int]:
    with connections.held(source.project):
        return {"size": source.upstream.head_blob(source.remote, digest)}
