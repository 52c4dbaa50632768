"""Point reads: keys that no item can have, and partitions that are read so far and no further."""

from __future__ import annotations

import uuid

import pytest
from pynamodb.exceptions import PynamoDBException

from chalicelib.artifacts import labels
from chalicelib.oci.errors import TooMuchToRead
from chalicelib.settings import settings
from chalicelib.storage import reads
from chalicelib.storage.conditions import is_key_refused
from chalicelib.storage.reads import Key
from chalicelib.storage.tables.projects import LabelNameItem
from chalicelib.storage.transactions import transact
from tests.registry.images import push_image
from tests.registry.test_budgets import counted

pytestmark = pytest.mark.usefixtures("cloud")

IMPOSSIBLE = [("p" * 2049, "s"), ("p", "s" * 1025), ("", "s"), ("p", ""), ("é" * 1025, "s"), ("p", "\ud800")]


@pytest.mark.parametrize(("pk", "sk"), IMPOSSIBLE)
def test_under_a_key_that_no_item_can_have_there_is_nothing(pk: str, sk: str) -> None:
    table = settings().projects_table
    with counted() as calls:
        assert reads.get_item(Key(table, pk, sk)) is None
        assert reads.get_items([Key(table, pk, sk)]) == {}
    assert calls == []
    if sk:
        assert reads.query(table, pk, sk) == ([], "")


@pytest.mark.parametrize("after", ["z" * 1025, "z" * 3000, "é" * 600])
def test_a_list_goes_on_behind_any_place(repository: str, after: str) -> None:
    push_image(repository, "v1")
    assert reads.query(settings().repositories_table, repository, "", after=after)[1] == ""


@pytest.mark.parametrize("name", ["", "n" * 1025])
def test_a_write_of_a_name_that_no_key_takes_is_known_for_what_it_is(name: str) -> None:
    item = LabelNameItem(f"label-name|{uuid.uuid4().hex}", name, number=1)
    for write in (item.save, lambda: transact(lambda transaction: transaction.save(item))):
        with pytest.raises(PynamoDBException) as refused:
            write()
        assert is_key_refused(refused.value)
    assert not is_key_refused(ValueError("key"))


def test_what_a_request_reads_ends_where_it_may_read_no_more(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        labels.create(77, f"{project}-{number}", "", "")
    table, partition = settings().projects_table, f"label-name|{77:010d}"
    original = reads.query
    monkeypatch.setattr(reads, "query", lambda *args, **more: original(*args, **{**more, "limit": 1}))
    assert len(reads.query_all(table, partition, project)) == 3
    assert len(reads.query_all(table, partition, project, most_calls=4)) == 3
    with pytest.raises(TooMuchToRead):
        reads.query_all(table, partition, project, most_calls=2)
