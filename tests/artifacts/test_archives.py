"""Files out of archives that anyone may push: found where they should be, and no bomb goes off."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.artifacts import archives, tarfiles
from chalicelib.projects.errors import AdditionInvalidError
from tests.hostile import bombs

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
    monkeypatch.setattr(tarfiles, "MEMBERS_LIMIT", 10)
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


CPU_SECONDS = 1.0
"""What a request may cost: ten times of what these bombs do, and a hundredth of what tarfile took for some."""


@pytest.mark.parametrize("name", bombs.ARCHIVES)
def test_what_is_made_to_be_slow_is_not(name: str) -> None:
    content = bombs.ARCHIVES[name]()
    assert len(content) < archives.ARCHIVE_LIMIT
    started = time.process_time()
    with contextlib.suppress(AdditionInvalidError):
        assert archives.find_file(content, VALUES, depth=1) is None
    assert time.process_time() - started < CPU_SECONDS


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_any_length_are_read_as_tools_write_them(form: int) -> None:
    folder = "f" * 60 if form == tarfile.USTAR_FORMAT else "é" * 300
    name = f"{folder}/values.yaml"
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form) as members:
        for path, content in ((f"{folder}/{'n' * 60}", b"other"), (name, b"a: 1")):
            info = tarfile.TarInfo(path)
            info.size, info.mtime = len(content), 1.5 if form == tarfile.PAX_FORMAT else 1
            members.addfile(info, io.BytesIO(content))
    assert archives.find_file(raw.getvalue(), VALUES, depth=1) == b"a: 1"


def test_a_global_header_is_passed_over_as_git_archive_writes_it() -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "c" * 40}) as members:
        info = tarfile.TarInfo("chart/values.yaml")
        info.size = 4
        members.addfile(info, io.BytesIO(b"a: 1"))
    assert archives.find_file(raw.getvalue(), VALUES, depth=1) == b"a: 1"


def test_an_archive_of_several_streams_of_gzip_is_read_to_its_end() -> None:
    plain = archive(("chart/other", b"x" * 2000), ("chart/values.yaml", b"a: 1"), compressed=False)
    content = b"".join(gzip.compress(plain[start : start + 700]) for start in range(0, len(plain), 700))
    assert archives.find_file(content + bytes(64), VALUES, depth=1) == b"a: 1"


NAMES = st.text("abé/._", min_size=1, max_size=130).filter(lambda name: not name.endswith("/"))


@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=6),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_what_tarfile_writes_is_read_as_tarfile_reads_it(files: list[tuple[str, bytes]], form: int) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form) as members:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            members.addfile(info, io.BytesIO(content))
    with tarfile.open(fileobj=io.BytesIO(raw.getvalue())) as members:
        expected = [(each.name, each.size) for each in members if each.isreg()]
    pieces = tarfiles.Pieces(iter([raw.getvalue()]))
    assert list(tarfiles.files(pieces)) == expected
