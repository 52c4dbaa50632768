"""Files out of a tar archive that anyone may have pushed: read in memory, never unpacked, and never without bounds."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib

from chalicelib.projects.errors import AdditionInvalidError

ARCHIVE_LIMIT = 8 << 20
"""Bytes of an archive that is looked into."""
_UNPACKED_LIMIT = 64 << 20
"""Bytes that it may become on the way to the file: a bomb is a thousand times its size."""
_FILE_LIMIT = 4 << 20
"""Bytes of a file that is shown: a Lambda's answer may have 6 MB."""
_MEMBERS_LIMIT = 10_000
_GZIP = b"\x1f\x8b"


class _Bounded(io.RawIOBase):
    """The bytes of a stream, up to a limit. Raises AdditionInvalidError beyond."""

    def __init__(self, stream: io.BufferedIOBase, limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            raise AdditionInvalidError(f"the archive holds more than {_UNPACKED_LIMIT} bytes")
        return content


def find_file(archive: bytes, names: frozenset[str], depth: int) -> bytes | None:
    """The first regular file of a tar archive, compressed by gzip or not, whose name in lower case is in `names`.

    It counts only if it lies below just `depth` folders. None when there is none. Raises AdditionInvalidError for what
    is no archive, and for what would be too large.
    """
    raw = io.BytesIO(archive)
    stream = gzip.GzipFile(fileobj=raw) if archive[:2] == _GZIP else raw
    try:
        with tarfile.open(fileobj=_Bounded(stream, _UNPACKED_LIMIT), mode="r|") as members:
            for count, member in enumerate(members):
                if count == _MEMBERS_LIMIT:
                    raise AdditionInvalidError(f"the archive holds more than {_MEMBERS_LIMIT} files")
                *folders, name = member.name.split("/")
                if member.isreg() and len(folders) == depth and ".." not in folders and name.lower() in names:
                    return _content(members, member)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise AdditionInvalidError("the archive cannot be read") from error
    return None


def _content(members: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > _FILE_LIMIT:
        raise AdditionInvalidError(f"{member.name[:200]} has more than {_FILE_LIMIT} bytes")
    file = members.extractfile(member)
    return file.read() if file else b""
