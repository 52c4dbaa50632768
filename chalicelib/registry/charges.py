"""What counts in a project's usage: each blob and manifest that a manifest of the project names, once.

A charge is made in the transaction that commits the manifest, for what the project was not charged for before. Who
takes edges away then frees what no other manifest of the project names, by the handshake of docs/gc.md ("Charges"):
look, mark, look again, remove on the condition that the mark still stands. A push that finds a mark takes it away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from chalicelib import retrying
from chalicelib.oci.errors import NameUnknown, QuotaExceeded, Unavailable
from chalicelib.oci.names import project_of
from chalicelib.projects import quotas, rules
from chalicelib.projects.records import UNLIMITED, Project
from chalicelib.projects.store import usage
from chalicelib.projects.store.usage import Charge
from chalicelib.registry import references, unreferenced
from chalicelib.registry.store import blobs as blob_table

MAX_PER_TRANSACTION = 60
"""Charges that a manifest's commit takes: with up to 16 totals and what else it writes it has 100 items at most."""


def make(project: Project, sizes: Mapping[str, int], uploaded: Collection[str] = ()) -> bool:
    """Charge a project for more digests than a commit takes, ahead of it. False when others changed the charges.

    Uploads brought the bytes of `uploaded`. A push that then does not commit frees the charges. Raises QuotaExceeded.
    """
    number, digests = project.project_id, list(sizes)
    for start in range(0, len(digests), MAX_PER_TRANSACTION):
        part = {digest: sizes[digest] for digest in digests[start : start + MAX_PER_TRANSACTION]}
        totals = () if project.storage_limit == UNLIMITED else usage.read_totals([number])[number]
        brought = [digest for digest in part if digest in uploaded]
        adjustments = quotas.plan(project.storage_limit, totals, sum(part.values()))
        if not usage.charge(number, part, unreferenced.taken_off(adjustments, part, brought), brought):
            return False
    return True


def add(repository: str, digest: str, size: int) -> None:
    """Charge a project for a blob that comes after the manifests that name it; again is no more.

    The caller looks whether it was right when the blob is there (docs/gc.md, "Charges"). Raises QuotaExceeded,
    NameUnknown when the project is gone, or Unavailable.
    """
    refused: tuple[usage.Total, ...] = ()
    for _ in retrying.attempts(retrying.HIGH):
        project = rules.find(project_of(repository))
        if project is None:
            raise NameUnknown(f"the project of {repository} is gone")
        number = project.project_id
        charge = usage.read_charges(number, [digest]).get(digest)
        if charge is not None and (not charge.freeing or usage.keep(number, digest)):
            return
        totals = () if project.storage_limit == UNLIMITED else usage.read_totals([number])[number]
        try:
            adjustments = quotas.plan(project.storage_limit, totals, size)
        except QuotaExceeded:
            if totals == refused:
                raise
            refused = totals  # a read of several items is no snapshot: what is refused was seen twice
            continue
        if usage.charge(number, {digest: size}, adjustments):
            return
    raise Unavailable(f"what {project_of(repository)} is charged for is being changed by others")


def free(repository: str, digests: Iterable[str]) -> None:
    """Free what a project is charged for and no manifest of it names any more.

    Called after edges were dropped. Whoever drops the last edge onto a digest frees it: one that is seen held is left
    to its holder, and one that others have changed to them.
    """
    project = rules.find(project_of(repository))
    if project is None:
        return
    for charge in usage.read_charges(project.project_id, digests).values():
        free_unless_held(project, charge)


def free_unless_held(project: Project, charge: Charge) -> bool:
    """Free one charge, if nothing holds it. Whether it was freed."""
    if _is_held(project, charge.digest):
        return False
    mark = usage.mark_freeing(project.project_id, charge)
    if not mark or _is_held(project, charge.digest):
        return False
    return usage.free(project.project_id, charge, mark)


def charge_edge_key(repository: str, digest: str) -> str:
    """The partition of the edges by which a project's repositories hold a manifest itself."""
    return blob_table.manifest_target(project_of(repository), digest)


def _is_held(project: Project, digest: str) -> bool:
    """Whether a manifest of the project names `digest`, or is it."""
    targets = (digest, blob_table.manifest_target(project.name, digest))
    return any(references.is_held(blob_table.edges_in_project(target, project.name)) for target in targets)
