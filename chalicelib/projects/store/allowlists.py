"""The Projects table: which vulnerabilities are let pass, in a project or in all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.reads import Key

ALLOWLIST = "cve-allowlist"


@dataclass(frozen=True)
class Allowlist:
    """Of a project, or of the system (0). `expires` is in seconds since 1970, the other times in milliseconds."""

    project_id: int
    ids: tuple[str, ...]
    expires: int | None
    created: int
    updated: int


def read(project_ids: Iterable[int]) -> dict[int, Allowlist]:
    """The lists that were set: one call for each hundred projects."""
    keys = {Key(settings().projects_table, ALLOWLIST, str(number)): number for number in project_ids}
    return {
        keys[key]: Allowlist(
            keys[key], tuple(json.loads(item["ids"])), item.get("ends"), item["created"], item["updated"]
        )
        for key, item in reads.get_items(keys).items()
    }


def write(allowlist: Allowlist) -> None:
    tables.AllowlistItem(
        ALLOWLIST,
        str(allowlist.project_id),
        ids=list(allowlist.ids),
        ends=allowlist.expires,
        created=allowlist.created,
        updated=allowlist.updated,
    ).save()


def delete(project_id: int) -> None:
    tables.AllowlistItem(ALLOWLIST, str(project_id)).delete()
