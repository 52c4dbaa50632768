"""The Accounts table: the system's configuration, one item, and the OIDC client's secret in Secrets Manager."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.events import store as audit
from chalicelib.events import unlogged
from chalicelib.events.records import Event
from chalicelib.settings import settings
from chalicelib.storage import reads, secrets, tables
from chalicelib.storage.conditions import new_id
from chalicelib.storage.reads import Key
from chalicelib.storage.tables.keys import CONFIGURATION, SYSTEM
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite


@dataclass(frozen=True)
class Stored:
    """What an administrator has set, by Harbor's names. `version` is fresh with every write, empty before the first."""

    values: Mapping[str, Any]
    version: str


def read() -> Stored:
    item = reads.get_item(Key(settings().accounts_table, CONFIGURATION, SYSTEM))
    return Stored(json.loads(item["values"]), item["version"]) if item else Stored({}, "")


def replace(before: Stored, values: Mapping[str, Any], event: Event) -> bool:
    """Write `values` in place of `before`. False when others have changed the configuration since it was read."""
    unchanged = tables.ConfigurationItem.version == before.version
    condition = unchanged if before.version else tables.ConfigurationItem.pk.does_not_exist()

    def write(transaction: TransactWrite) -> None:
        item = tables.ConfigurationItem(CONFIGURATION, SYSTEM, values=dict(values), version=new_id())
        transaction.save(item, condition=condition)
        audit.record(transaction, event)

    replaced = transact(write)
    unlogged.forget()
    return replaced


def read_client_secret() -> str:
    """The secret that the OIDC provider knows Berth by; empty when none was set."""
    content: dict[str, str] = json.loads(secrets.read(settings().oidc_secret) or "{}")
    return content.get("client_secret", "")


def write_client_secret(client_secret: str) -> None:
    secrets.write(settings().oidc_secret, json.dumps({"client_secret": client_secret}))
