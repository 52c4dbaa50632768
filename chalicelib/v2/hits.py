"""Blobs that clients are sent to: in a proxy project each is a hit of the cache, and counted as its traffic.

It stands here and not in proxycache/ because a pull from another project imports nothing of that.
"""

from __future__ import annotations

from chalicelib.background import WriteBehindBuffer
from chalicelib.oci.names import project_of
from chalicelib.storage.conditions import is_transient
from chalicelib.timed_cache import TimedCache

_UNCOUNTED_SECONDS = 3600

_uncounted: TimedCache[str, None] = TimedCache(1024)
"""Projects that are no proxies: their pulls of blobs are not counted."""


def note_blob(repository: str, method: str, size: int) -> None:
    """Remember that a client was sent to a blob of `size` bytes, by a GET or a HEAD."""
    name = project_of(repository)
    if _uncounted.get(name) is None:
        blobs.add((name, size if method == "GET" else None))


def _write(sent: list[tuple[str, int | None]]) -> list[tuple[str, int | None]]:
    """Count what was pulled from proxy projects; the others are remembered, and cost nothing from then on.

    Returns all of it when the store is too busy.
    """
    from chalicelib.projects import rules  # noqa: PLC0415 -- a pull's cold start does without it

    try:
        projects = {name: rules.find(name) for name in dict.fromkeys(name for name, _ in sent)}
    except Exception as error:
        if not is_transient(error):
            raise
        return sent
    for name, size in sent:
        project = projects[name]
        if project is None or not project.is_proxy:
            _uncounted.put(name, None, _UNCOUNTED_SECONDS)
            continue
        from chalicelib.proxycache import traffic  # noqa: PLC0415 -- see above

        if size is None:
            traffic.count_head(project.project_id)
        else:
            traffic.count_hit(project.project_id, size)
    return []


blobs = WriteBehindBuffer(_write)
