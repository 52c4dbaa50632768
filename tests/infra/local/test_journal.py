"""The journal file: whole requests, in order, whatever a crash or a full disk leaves of it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.journal import Image, Journal, JournalDamagedError


def image(name: str, value: str | None) -> Image:
    key = {"pk": {"S": name}}
    return {"table": "some", "key": key, "item": None if value is None else {**key, "value": {"S": value}}}


requests = st.lists(
    st.lists(st.builds(image, st.sampled_from("abc"), st.none() | st.text(max_size=5)), min_size=1, max_size=3),
    max_size=8,
)


def latest(written: list[list[Image]]) -> dict[str, Image]:
    return {image["key"]["pk"]["S"]: image for line in written for image in line}


def by_name(images: list[Image]) -> dict[str, Image]:
    return {image["key"]["pk"]["S"]: image for image in images}


@given(requests, st.floats(0, 1))
def test_a_file_cut_at_any_byte_holds_a_prefix_of_the_requests(written: list[list[Image]], cut: float) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        journal, sizes = Journal(path), [0]
        for line in written:
            journal.append(line)
            sizes.append(path.stat().st_size)
        size = round(cut * sizes[-1])
        with path.open("r+b") as file:
            file.truncate(size)

        whole = sum(end <= size for end in sizes) - 1
        reopened = Journal(path)
        assert by_name(reopened.images()) == latest(written[:whole])

        reopened.append([image("d", "after")])
        assert by_name(Journal(path).images()) == latest([*written[:whole], [image("d", "after")]])


@given(requests)
def test_compaction_keeps_the_last_image_of_each_item(written: list[list[Image]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        journal = Journal(path)
        for line in written:
            journal.append(line)
        journal.compact()
        journal.append([image("d", "after")])
        assert by_name(Journal(path).images()) == latest([*written, [image("d", "after")]])
        assert path.read_bytes().count(b"\n") == len(latest(written)) + 1


def test_a_journal_that_grows_is_compacted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", compact_bytes=2000)
    for number in range(1000):
        journal.append([image("a", f"{number}")])
    assert (tmp_path / "journal").stat().st_size < 2100
    assert by_name(journal.images())["a"] == image("a", "999")


def test_secrets_and_items_do_not_mix(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append([{"secret": "some", "value": "old"}])
    journal.append([image("some", "item")])
    journal.append([{"secret": "some", "value": "new"}])
    assert Journal(tmp_path / "journal").images() == [{"secret": "some", "value": "new"}, image("some", "item")]


def test_damage_before_the_end_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    for name in "abc":
        journal.append([image(name, name)])
    damaged = path.read_bytes().replace(b'"b"', b'"b', 1)
    path.write_bytes(damaged)
    with pytest.raises(JournalDamagedError, match="line 2"):
        Journal(path)
    assert path.read_bytes() == damaged


def test_a_write_that_does_not_fit_the_disk_fails_and_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.append([image("a", "kept")])
    with file_size_limit(path.stat().st_size + 20), pytest.raises(OSError, match=r"disk is full|too large"):
        journal.append([image("b", "x" * 100)])
    journal.append([image("c", "kept too")])
    assert Journal(path).images() == [image("a", "kept"), image("c", "kept too")]


def test_a_cleared_journal_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append([image("a", "saved elsewhere")])
    journal.clear()
    journal.append([image("b", "new")])
    assert Journal(tmp_path / "journal").images() == [image("b", "new")]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size`, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
