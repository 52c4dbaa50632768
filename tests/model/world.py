"""What the tables and the bucket hold, as one immutable World.

One blob, named `blob`, and a few manifests, in the repository `app`; `base` is a repository to mount from. More blobs
would add nothing: every condition is on one item, and no rule ties two blobs together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .rules import LONG, Clock

BLOB = "blob"
NOBODY: frozenset[str] = frozenset()
TARGETS = {"m1": (BLOB,), "m2": (BLOB,), "index": ("m1",), "signature": (BLOB,), "either": (BLOB, "leaf"), "leaf": ()}
"""What each manifest names. The entry of `either` is a blob, or the manifest of the same digest, `leaf`, or both."""
SUBJECTS = {"signature": "m1"}


class Blob(NamedTuple):
    key: str
    condemned: bool = False
    age: int | None = None  # ticks since it became a candidate, was touched or condemned; None: not a candidate
    watchers: frozenset[str] = NOBODY

    @property
    def state(self) -> str:
        return "condemned" if self.condemned else "live" if self.age is None else "candidate"


class Link(NamedTuple):
    key: str
    deleting: bool = False
    watchers: frozenset[str] = NOBODY


class Manifest(NamedTuple):
    generation: str
    deleting: bool = False
    watchers: frozenset[str] = NOBODY
    age: int | None = None  # ticks since it was marked as a candidate; None: it is none
    mark_watchers: frozenset[str] = NOBODY  # who has read the mark that it bears; a mark is no write of the manifest


class Edge(NamedTuple):
    target: str
    manifest: str
    generation: str
    age: int = LONG.window


class World(NamedTuple):
    blob: Blob | None = None
    links: tuple[tuple[str, Link], ...] = ()
    manifests: tuple[tuple[str, Manifest], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    edges: frozenset[Edge] = frozenset()
    objects: frozenset[tuple[str, int]] = frozenset()  # (key, age); the age stands still while a record has the key
    clock: Clock = LONG
    lost: bool = False  # a blob was collected that the repository served and a manifest of it named

    def tick(self) -> World:
        older, blob = self.clock.older, self.blob
        if blob is not None and blob.age is not None:
            blob = blob._replace(age=older(blob.age))
        edges = self.edges
        if self.clock.edges_age:
            edges = frozenset(edge._replace(age=older(edge.age)) for edge in edges)
        manifests = tuple(
            (digest, m if m.age is None else m._replace(age=older(m.age))) for digest, m in self.manifests
        )
        used = blob and blob.key
        objects = frozenset((key, age if key == used else older(age)) for key, age in self.objects)
        return self._replace(blob=blob, manifests=manifests, edges=edges, objects=objects)

    def forget(self, process: str) -> World:
        blob = self.blob and self.blob._replace(watchers=self.blob.watchers - {process})
        links = tuple((at, link._replace(watchers=link.watchers - {process})) for at, link in self.links)
        manifests = tuple(
            (at, m._replace(watchers=m.watchers - {process}, mark_watchers=m.mark_watchers - {process}))
            for at, m in self.manifests
        )
        return self._replace(blob=blob, links=links, manifests=manifests)

    def link(self, repository: str) -> Link | None:
        return dict(self.links).get(repository)

    def manifest(self, digest: str) -> Manifest | None:
        return dict(self.manifests).get(digest)

    def with_link(self, repository: str, link: Link | None) -> World:
        return self._replace(links=_put(self.links, repository, link))

    def with_manifest(self, digest: str, manifest: Manifest | None) -> World:
        return self._replace(manifests=_put(self.manifests, digest, manifest))

    def with_tag(self, tag: str, digest: str | None) -> World:
        return self._replace(tags=_put(self.tags, tag, digest))

    def __str__(self) -> str:
        """One line, for the eye: what is there, with ages in brackets."""
        parts = []
        if self.blob:
            parts.append(f"blob={self.blob.key}:{self.blob.state}{_age(self.blob.age)}")
        parts += [f"link({at})={link.key}{':deleting' * link.deleting}" for at, link in self.links]
        parts += [f"{name}={m.generation}{':deleting' * m.deleting}{_age(m.age)}" for name, m in self.manifests]
        parts += [f"tag({tag})={digest}" for tag, digest in self.tags]
        parts += [f"edge({e.manifest}@{e.generation}->{e.target})[{e.age}]" for e in sorted(self.edges)]
        parts += [f"object({key})" for key, _ in sorted(self.objects)]
        return "  ".join(parts)


def _age(age: int | None) -> str:
    return "" if age is None else f"[{age}]"


def _put(items: tuple[tuple[str, Any], ...], name: str, value: Any) -> tuple[tuple[str, Any], ...]:
    changed = {**dict(items), name: value}
    return tuple(sorted((at, item) for at, item in changed.items() if item is not None))
