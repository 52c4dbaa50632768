"""Files out of a tar archive that anyone may have pushed: read in memory, never unpacked, and never without bounds.

The reader is Berth's own, and reads no more of the format than names, sizes and regular files (tarfiles.py): CPython's
tarfile takes minutes for a header of 50 KB on patch versions that are still in use (CVE-2024-6232).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from chalicelib.artifacts.tarfiles import Pieces, TarInvalidError, files
from chalicelib.projects.errors import AdditionInvalidError

ARCHIVE_LIMIT = 8 << 20
"""Bytes of an archive that is looked into."""
_UNPACKED_LIMIT = 64 << 20
"""Bytes that it may become on the way to the file: a bomb is a thousand times its size."""
_FILE_LIMIT = 4 << 20
"""Bytes of a file that is shown: a Lambda's answer may have 6 MB."""
_STREAMS_LIMIT = 1000
"""Streams of gzip that may follow one another (RFC 1952, section 2.2); tools that write several write few."""
_PIECE_BYTES = 64 << 10

_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def find_file(archive: bytes, names: frozenset[str], depth: int) -> bytes | None:
    """The first regular file of a tar archive, compressed by gzip or not, whose name in lower case is in `names`.

    It counts only if it lies below just `depth` folders. None when there is none. Raises AdditionInvalidError for what
    is no archive, and for what would be too large.
    """
    try:
        return _find(Pieces(_unpacked(archive)), names, depth)
    except (TarInvalidError, zlib.error) as error:
        raise AdditionInvalidError(f"the archive cannot be read: {error}") from error


def _find(content: Pieces, names: frozenset[str], depth: int) -> bytes | None:
    for path, size in files(content):
        *folders, name = path.split("/")
        if len(folders) == depth and ".." not in folders and name.lower() in names:
            if size > _FILE_LIMIT:
                raise AdditionInvalidError(f"{path[:200]} has more than {_FILE_LIMIT} bytes")
            return content.read(size)
    return None


def _unpacked(archive: bytes) -> Iterator[bytes]:
    """The tar file in small pieces. Raises AdditionInvalidError when they are too many."""
    pieces = _decompressed(archive) if archive[:2] == _GZIP else _slices(archive)
    left = _UNPACKED_LIMIT
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise AdditionInvalidError(f"the archive holds more than {_UNPACKED_LIMIT} bytes")
        yield piece


def _slices(content: bytes) -> Iterator[bytes]:
    return (content[start : start + _PIECE_BYTES] for start in range(0, len(content), _PIECE_BYTES))


def _decompressed(archive: bytes) -> Iterator[bytes]:
    """What streams of gzip hold. Fed in slices: zlib copies what is left of its input with every piece of output."""
    stream, streams = zlib.decompressobj(_GZIP_WINDOW), 1
    for each in _slices(archive):
        compressed = each
        while compressed:
            if stream.eof:
                if not compressed.strip(b"\0"):
                    break  # padding, as tapes have it
                streams += 1
                if streams > _STREAMS_LIMIT:
                    raise AdditionInvalidError(f"the archive holds more than {_STREAMS_LIMIT} streams of gzip")
                stream = zlib.decompressobj(_GZIP_WINDOW)
            if piece := stream.decompress(compressed, _PIECE_BYTES):
                yield piece
            compressed = stream.unused_data if stream.eof else stream.unconsumed_tail
    # What zlib still holds back of its output comes without input.
    while piece := stream.decompress(b"", _PIECE_BYTES) if not stream.eof else b"":
        yield piece
    if not stream.eof:
        raise AdditionInvalidError("the archive breaks off")
