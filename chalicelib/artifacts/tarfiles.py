"""The names, sizes and regular files of a tar archive, read as it streams by, in time that grows with its length only.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar's manual, "Basic Tar Format",
for long names and large sizes. Sparse files are refused: nobody packs documents as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MEMBERS_LIMIT = 10_000
EXTENSION_LIMIT = 16 << 10
"""Bytes of a header that extends the next member's: a path has 4096 at most (Linux, PATH_MAX)."""
EXTENSIONS_LIMIT = 1 << 20
"""Bytes of all of them in an archive: reading them is work for each few bytes."""

_BLOCK = 512
_USTAR = b"ustar\0"
_REGULAR = frozenset((b"0", b"\0", b"7"))
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"x", b"g", b"L", b"K", b"S"
_SIZE_DIGITS = 20


class TarInvalidError(Exception):
    """What is no tar archive, or one that asks for more than it should. The text says which."""


class Pieces:
    """Bytes that come in pieces, read in other ones."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._piece, self._at = pieces, b"", 0

    def read(self, size: int) -> bytes:
        """The next `size` bytes. Raises TarInvalidError when there are fewer."""
        return b"".join(self._take(size))

    def skip(self, size: int) -> None:
        """Pass over `size` bytes without keeping them. Raises TarInvalidError when there are fewer."""
        for _ in self._take(size):
            pass

    def is_at_end(self) -> bool:
        while self._at == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return True
            self._piece, self._at = piece, 0
        return False

    def _take(self, size: int) -> Iterator[bytes]:
        while size:
            if self.is_at_end():
                raise TarInvalidError("it breaks off")
            part = self._piece[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            yield part


class _Header(NamedTuple):
    kind: bytes
    path: str
    size: int


class _Extended(NamedTuple):
    """What headers before a member say of it, in place of its own."""

    path: str | None = None
    size: int | None = None


def files(content: Pieces) -> Iterator[tuple[str, int]]:
    """The path and the size of each regular file, when the next bytes of `content` are the file's.

    Whoever reads them reads all `size`, and asks for no further file. Raises TarInvalidError.
    """
    extended, extensions = _Extended(), 0
    if content.is_at_end():
        raise TarInvalidError("it is empty")
    for _ in range(MEMBERS_LIMIT):
        header = None if content.is_at_end() else _header(content.read(_BLOCK))
        if header is None:
            return
        if header.kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
            extensions += header.size
            if header.size > EXTENSION_LIMIT or extensions > EXTENSIONS_LIMIT:
                raise TarInvalidError("its extended headers are too long")
            extended = _extend(extended, header.kind, content.read(header.size))
            content.skip(-header.size % _BLOCK)
            continue
        path = header.path if extended.path is None else extended.path
        size = header.size if extended.size is None else extended.size
        if header.kind == _GNU_SPARSE:
            raise TarInvalidError("it holds sparse files")
        # Of old, a folder is a file whose name ends with a slash.
        if header.kind in _REGULAR and not path.endswith("/"):
            yield path, size
        content.skip(size + -size % _BLOCK if _has_content(header.kind) else 0)
        extended = _Extended()
    raise TarInvalidError(f"it holds more than {MEMBERS_LIMIT} files")


def _has_content(kind: bytes) -> bool:
    """Links, devices, folders and pipes have none, whatever their size says (POSIX: `size`)."""
    return kind not in (b"1", b"2", b"3", b"4", b"5", b"6")


def _header(block: bytes) -> _Header | None:
    """What a member's header says; None for the block of zeros that ends an archive."""
    if not block.strip(b"\0"):
        return None
    checksum = sum(block) - sum(block[148:156]) + 8 * 0x20
    if _number(block[148:156]) != checksum:
        raise TarInvalidError("it is no tar archive")
    path = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:263] == _USTAR else ""
    return _Header(block[156:157], f"{prefix}/{path}" if prefix else path, _number(block[124:136]))


def _number(field: bytes) -> int:
    """A number in octal digits, or in GNU's form for large ones in base 256."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise TarInvalidError("a header holds no number where one should be")
    return int(digits, 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="replace")


def _extend(before: _Extended, kind: bytes, content: bytes) -> _Extended:
    """What is known of the next member with one more header; global ones and the targets of links do not matter."""
    if kind == _GNU_NAME:
        return before._replace(path=_text(content))
    if kind != _PAX:
        return before
    for key, value in _pax_records(content):
        if key == b"path":
            before = before._replace(path=value.decode(errors="replace"))
        elif key == b"size":
            if not value.isdigit() or len(value) > _SIZE_DIGITS:
                raise TarInvalidError("a header holds no number where one should be")
            before = before._replace(size=int(value))
        elif key.startswith(b"GNU.sparse."):
            raise TarInvalidError("it holds sparse files")
    return before


def _pax_records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records `<length> <key>=<value>\\n`, where the length is the whole record's."""
    start = 0
    while start < len(content) and content[start] != 0:
        space = content.find(b" ", start, start + _SIZE_DIGITS)
        digits = content[start:space] if space > start else b""
        end = start + int(digits) if digits.isdigit() else 0
        key, equals, value = content[space + 1 : end].partition(b"=")
        if not (space < end <= len(content) and equals and value.endswith(b"\n")):
            raise TarInvalidError("an extended header is malformed")
        yield key, value[:-1]
        start = end
