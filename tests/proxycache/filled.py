"""Blobs of a proxy project filled in this process, as the function does it, and what became of them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.oci.errors import RegistryError
from chalicelib.projects import rules
from chalicelib.proxycache import filling, steps
from chalicelib.proxycache.store import fills
from chalicelib.proxycache.store.fills import FillRequest
from chalicelib.registry.store import blobs as blob_table
from chalicelib.registry.store import uploads
from chalicelib.settings import settings
from chalicelib.storage import blobstore, reads
from chalicelib.storage.tables.jobs import FillLeaseItem, FillRequestItem
from chalicelib.upstreams import endpoints
from chalicelib.upstreams.endpoints import Changes
from tests.conftest import ADMIN
from tests.upstreams.servers.scripted import Scripted


@dataclass(frozen=True)
class Proxy:
    """A proxy project of an upstream of its own."""

    project: str
    registry: int
    upstream: Scripted

    @property
    def repository(self) -> str:
        return f"{self.project}/team/app"

    def wanted(self, digest: str, repository: str = "") -> FillRequest:
        return FillRequest(repository or self.repository, self.registry, digest)

    def ask(self, *digests: str, repository: str = "") -> str:
        """Ask for blobs as a pull does, but start no state machine. Returns the execution's name."""
        execution = os.urandom(8).hex()
        keys = {each: fills.request_key(each) for each in (self.wanted(digest, repository) for digest in digests)}
        found = reads.get_items(keys.values())
        before = {each: fills.to_request(found[key]) if key in found else None for each, key in keys.items()}
        claimed = fills.claim(before, execution, round(time.time() * 1000) + 20_000)
        assert len(claimed) == len(digests)
        return execution

    def step(
        self,
        digests: Sequence[str],
        execution: str = "",
        *,
        repository: str = "",
        connections: int = 4,
        waited: int = 0,
    ) -> dict[str, Any]:
        """One step of a lane, for requests that are made here unless an `execution` has them."""
        event = {
            "step": "fill",
            "waited": waited,
            "execution": execution or self.ask(*digests, repository=repository),
            "repository": repository or self.repository,
            "registry": self.registry,
            "connections": connections,
            "digests": list(digests),
        }
        return steps.run(event)

    def error(self, digest: str) -> RegistryError | None:
        """What those who wait for a blob are told."""
        return filling.state(self.repository, digest, self.registry).error

    def lease(self, digest: str) -> reads.Item | None:
        pk = fills.request_key(self.wanted(digest)).pk
        return reads.get_item(reads.Key(settings().jobs_table, pk, "lease"))

    def session(self, digest: str) -> uploads.Session | None:
        """The upload that a blob is in so far."""
        lease = self.lease(digest)
        return uploads.read(lease["upload"]) if lease and lease.get("upload") else None


def proxy_of(upstream: Scripted, **more: Any) -> Proxy:
    """A new proxy project; `more` is what else rules.create takes."""
    name = f"proxy{os.urandom(6).hex()}"
    endpoint = endpoints.create("docker-registry", Changes(name=name, url=upstream.url))
    rules.create(name, ADMIN, public=False, registry_id=endpoint.number, **more)
    return Proxy(name, endpoint.number, upstream)


def content_of(repository: str, digest: str) -> bytes | None:
    """The blob as a client gets it; None when the repository does not serve it."""
    blob, link = blob_table.read(repository, digest)
    if blob is None or link is None or link.object_key != blob.object_key:
        return None
    content = blobstore.get(blob.object_key)
    assert content is not None
    assert len(content) == blob.size
    return content


def expire_lease(registry: int, digest: str) -> None:
    """As if its holder had been silent for long."""
    pk = fills.request_key(FillRequest("", registry, digest)).pk
    FillLeaseItem(pk, "lease").update(actions=[FillLeaseItem.until.set(0)])


def let_be_tried_again(wanted: FillRequest) -> None:
    """As if a request had been written long ago."""
    key = fills.request_key(wanted)
    FillRequestItem(key.pk, key.sk).update(actions=[FillRequestItem.until.set(0)])
