"""Files out of archives that anyone may push: found where they should be, and no bomb goes off."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.projects import archives
from chalicelib.projects.errors import AdditionInvalidError

VALUES = frozenset({"values.yaml"})


def archive(*files: tuple[str, bytes], compressed: bool = True, kind: bytes = tarfile.REGTYPE) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as members:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content) if kind == tarfile.REGTYPE else 0, kind
            info.linkname = "/etc/passwd"
            members.addfile(info, io.BytesIO(content))
    return gzip.compress(raw.getvalue()) if compressed else raw.getvalue()


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_is_found_in_its_folder_and_nowhere_else(compressed: bool) -> None:
    content = archive(
        ("values.yaml", b"above"),
        ("chart/charts/inner/values.yaml", b"of a dependency"),
        ("../values.yaml", b"outside"),
        ("chart/VALUES.yaml", b"a: 1"),
        ("chart/values.yaml", b"later"),
        compressed=compressed,
    )
    assert archives.find_file(content, VALUES, depth=1) == b"a: 1"
    assert archives.find_file(content, VALUES, depth=0) == b"above"
    assert archives.find_file(content, frozenset({"readme.md"}), depth=1) is None


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_regular_file_is_none(kind: bytes) -> None:
    assert archives.find_file(archive(("chart/values.yaml", b""), kind=kind), VALUES, depth=1) is None


def test_a_bomb_is_refused() -> None:
    bomb = gzip.compress(b"\0" * (archives._UNPACKED_LIMIT + 1024))
    assert len(bomb) < archives.ARCHIVE_LIMIT
    head = archive(("chart/other", b"\0" * (archives._UNPACKED_LIMIT + 1024)))
    assert len(head) < archives.ARCHIVE_LIMIT
    with pytest.raises(AdditionInvalidError, match="more than"):
        archives.find_file(head, VALUES, depth=1)


def test_a_large_file_is_refused() -> None:
    with pytest.raises(AdditionInvalidError, match="has more than"):
        archives.find_file(archive(("chart/values.yaml", b"\0" * ((4 << 20) + 1))), VALUES, depth=1)


def test_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MEMBERS_LIMIT", 10)
    with pytest.raises(AdditionInvalidError, match="files"):
        archives.find_file(archive(*((f"chart/{n}", b"") for n in range(11))), VALUES, depth=1)


def test_what_breaks_off_is_refused() -> None:
    whole = archive(("chart/other", bytes(range(256)) * 4096), ("chart/values.yaml", b"a: 1"))
    with pytest.raises(AdditionInvalidError):
        archives.find_file(whole[: len(whole) // 2], VALUES, depth=1)


@given(st.binary(max_size=2048), st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0"]))
def test_whatever_the_bytes_the_answer_is_a_file_none_or_a_refusal(content: bytes, start: bytes) -> None:
    try:
        found = archives.find_file(start + content, VALUES, depth=1)
    except AdditionInvalidError:
        return
    assert found is None
