"""The Projects table: upstream registries.

How many projects pull through from one is counted with each that is made or deleted (projects/store/projects.py),
without a new version: so no write replaces the whole item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.projects.store.projects import REGISTRY
from chalicelib.settings import settings
from chalicelib.storage import counters, reads, tables
from chalicelib.storage.conditions import write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import padded
from chalicelib.storage.transactions import transact
from chalicelib.upstreams.records import Endpoint

if TYPE_CHECKING:
    from pynamodb.expressions.update import Action
    from pynamodb.transactions import TransactWrite

_NAMES = "registry-name"


def read(number: int) -> Endpoint | None:
    item = reads.get_item(Key(settings().projects_table, REGISTRY, padded(number)))
    return _to_endpoint(item) if item else None


def read_all() -> list[Endpoint]:
    """Every upstream registry, by number."""
    return [_to_endpoint(item) for item in reads.query_all(settings().projects_table, REGISTRY, "")]


def next_number() -> int:
    """A number that no registry had before."""
    return counters.project_number(REGISTRY)


def is_taken(name: str) -> bool:
    return reads.get_item(Key(settings().projects_table, _NAMES, name)) is not None


def create(endpoint: Endpoint) -> bool:
    """Write a registry. False when its name is taken."""

    def write(transaction: TransactWrite) -> None:
        _save_name(transaction, endpoint)
        transaction.save(
            tables.EndpointItem(
                REGISTRY,
                padded(endpoint.number),
                name=endpoint.name,
                type=endpoint.type,
                url=endpoint.url,
                insecure=endpoint.insecure,
                description=endpoint.description,
                ca_certificate=endpoint.ca_certificate,
                access_key=endpoint.access_key,
                secret=endpoint.secret,
                status=endpoint.status,
                projects=0,
                version=endpoint.version,
                created=endpoint.created,
                updated=endpoint.updated,
            ),
            condition=tables.EndpointItem.pk.does_not_exist(),
        )

    return transact(write)


def replace(before: Endpoint, after: Endpoint) -> bool:
    """Make `before` what `after` says. False when it has changed since it was read, or the new name is taken."""
    actions: list[Action] = [
        tables.EndpointItem.name.set(after.name),
        tables.EndpointItem.url.set(after.url),
        tables.EndpointItem.insecure.set(after.insecure),
        tables.EndpointItem.description.set(after.description),
        tables.EndpointItem.ca_certificate.set(after.ca_certificate),
        tables.EndpointItem.access_key.set(after.access_key),
        tables.EndpointItem.secret.set(after.secret),
        tables.EndpointItem.status.set(after.status),
        tables.EndpointItem.version.set(after.version),
        tables.EndpointItem.updated.set(after.updated),
    ]

    def write(transaction: TransactWrite) -> None:
        transaction.update(_item(before), actions=actions, condition=tables.EndpointItem.version == before.version)
        if after.name != before.name:
            _save_name(transaction, after)
            transaction.delete(tables.EndpointNameItem(_NAMES, before.name))

    return transact(write)


def set_status(endpoint: Endpoint, status: str) -> bool:
    """Write how healthy a registry is. False when it has changed since it was read: another one was looked at."""
    condition = tables.EndpointItem.version == endpoint.version
    return write_if(_item(endpoint).update, actions=[tables.EndpointItem.status.set(status)], condition=condition)


def delete(endpoint: Endpoint) -> bool:
    """Remove a registry. False when it has changed since it was read, or a project pulls through from it."""

    def write(transaction: TransactWrite) -> None:
        condition = (tables.EndpointItem.version == endpoint.version) & (tables.EndpointItem.projects == 0)
        transaction.delete(_item(endpoint), condition=condition)
        transaction.delete(tables.EndpointNameItem(_NAMES, endpoint.name))

    return transact(write)


def _item(endpoint: Endpoint) -> tables.EndpointItem:
    return tables.EndpointItem(REGISTRY, padded(endpoint.number))


def _save_name(transaction: TransactWrite, endpoint: Endpoint) -> None:
    name = tables.EndpointNameItem(_NAMES, endpoint.name, number=endpoint.number)
    transaction.save(name, condition=tables.EndpointNameItem.pk.does_not_exist())


def _to_endpoint(item: Item) -> Endpoint:
    return Endpoint(
        int(item["sk"]),
        item["name"],
        item["type"],
        item["url"],
        item["insecure"],
        item["description"],
        item["ca_certificate"],
        item["access_key"],
        item["secret"],
        item["status"],
        item["projects"],
        item["version"],
        item["created"],
        item["updated"],
    )
