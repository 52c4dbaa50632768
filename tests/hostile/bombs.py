"""Small things that anyone may push, and that cost whoever reads them without care minutes or gigabytes.

Each builder returns bytes: `ARCHIVES` as a chart's layer or a model's document, `CONFIGS` as the config of a chart,
model or image. All are short enough to be looked into, so that nothing but their content can be the reason to refuse.
"""

from __future__ import annotations

import gzip
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator

Bomb = Callable[[], bytes]

MIB = 1 << 20


def header(name: str, size: int, kind: bytes) -> bytes:
    """One block of a tar archive."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.USTAR_FORMAT)


def member(name: str, content: bytes, kind: bytes) -> bytes:
    return header(name, len(content), kind) + content + bytes(-len(content) % 512)


def packed(*parts: bytes, level: int = 9) -> bytes:
    """A tar.gz of members, the end of the archive and a chart's values behind them."""
    return compressed((*parts, member("chart/values.yaml", b"a: 1\n", tarfile.REGTYPE), bytes(1024)), level)


def compressed(parts: Iterator[bytes] | tuple[bytes, ...], level: int = 9) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(part) for part in parts), packer.flush()])


def _pax_digits() -> bytes:
    """Quadratic in CPython's tarfile, which holds the interpreter's lock meanwhile (CVE-2024-6232)."""
    return packed(member("pax", b"1" * (50 * MIB), tarfile.XHDTYPE))


def _pax_records() -> bytes:
    record = b"".join(b"%d k%06d=\n" % (13, number) for number in range(4 * MIB // 13))
    return packed(member("pax", record, tarfile.XHDTYPE))


def _pax_short_headers() -> bytes:
    record = b"5 a=\n" * 3000
    return packed(*(member("pax", record, tarfile.XHDTYPE) for _ in range(4000)))


def _pax_chain() -> bytes:
    """A header that extends a header, and so on: recursion."""
    return packed(*(member("pax", b"9 path=a\n", tarfile.XHDTYPE) for _ in range(15_000)))


def _long_name() -> bytes:
    return packed(member("././@LongLink", b"a" * (50 * MIB) + b"\0", tarfile.GNUTYPE_LONGNAME))


def _long_link() -> bytes:
    return packed(member("././@LongLink", b"a" * (50 * MIB) + b"\0", tarfile.GNUTYPE_LONGLINK))


def _long_name_chain() -> bytes:
    return packed(*(member("././@LongLink", b"a\0", tarfile.GNUTYPE_LONGNAME) for _ in range(20_000)))


def _sparse() -> bytes:
    """A GNU sparse file whose map goes on for many blocks."""
    first = bytearray(header("sparse", 0, tarfile.GNUTYPE_SPARSE))
    first[257:265] = b"ustar  \0"
    first[482] = 1
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first)
    block = b"00000000001\0" * 42
    return packed(bytes(first), *(block.ljust(504, b"\0") + b"\1" + bytes(7) for _ in range(60_000)))


def _pax_sparse() -> bytes:
    record = b"22 GNU.sparse.major=1\n" + b"22 GNU.sparse.minor=0\n"
    numbers = b"1000000\n" + b"1\n" * 20_000_000
    return packed(member("pax", record, tarfile.XHDTYPE), member("sparse", numbers, tarfile.REGTYPE))


def _many_members() -> bytes:
    one = header("chart/a", 0, tarfile.REGTYPE)
    return packed(*(one for _ in range(130_000)))


def _zeros() -> bytes:
    return compressed(bytes(MIB) for _ in range(128))


def _one_large_file() -> bytes:
    size = 128 * MIB
    return compressed(
        part for parts in ((header("chart/a", size, tarfile.REGTYPE),), (bytes(MIB),) * 128) for part in parts
    )


def _many_streams() -> bytes:
    return gzip.compress(b"") * 400_000


def _base_256() -> bytes:
    block = bytearray(header("chart/a", 0, tarfile.REGTYPE))
    block[124:136] = b"\x80" + b"\xff" * 11
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return packed(bytes(block))


def _nested_gzip() -> bytes:
    return gzip.compress(gzip.compress(bytes(100 * MIB)))


ARCHIVES: dict[str, Bomb] = {
    "digits in a PAX header": _pax_digits,
    "records in a PAX header": _pax_records,
    "short records in many PAX headers": _pax_short_headers,
    "PAX headers of PAX headers": _pax_chain,
    "a long name": _long_name,
    "a long link": _long_link,
    "long names of long names": _long_name_chain,
    "a sparse file": _sparse,
    "a sparse file of PAX": _pax_sparse,
    "many members": _many_members,
    "zeros": _zeros,
    "a large file": _one_large_file,
    "many streams": _many_streams,
    "a size without end": _base_256,
    "gzip in gzip": _nested_gzip,
}
"""None of them holds a document that is found."""


def _filled(piece: str, start: str, end: str, size: int = MIB) -> bytes:
    """JSON of nearly `size` bytes: `start`, then `piece` with its number in it again and again, then `end`."""
    pieces: list[str] = []
    left = size - len(start) - len(end)
    while left > 0:
        pieces.append(piece.format(len(pieces)))
        left -= len(pieces[-1]) + 1
    return f"{start}{','.join(pieces[:-1])}{end}".encode()


CONFIGS: dict[str, Bomb] = {
    "many keys": lambda: _filled('"{}":1', "{", "}"),
    "many empty lists": lambda: _filled("[]", '{"name":[', "]}"),
    "many labels": lambda: _filled('"{}":""', '{"config":{"Labels":{', "}}}"),
    "long numbers": lambda: _filled("9" * 4300, '{"name":[', "]}"),
    "a number without end": lambda: b'{"name":' + b"9" * (MIB - 100) + b"}",
    "an infinite number": lambda: b'{"name":1e999}',
    "no number": lambda: b'{"name":NaN}',
    "deep lists": lambda: b'{"name":' + b"[" * 400_000 + b"]" * 400_000 + b"}",
    "lists just deep enough to be read": lambda: b'{"name":' + b"[" * 900 + b"]" * 900 + b"}",
    "deep objects": lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "half a surrogate": lambda: json.dumps({"name": "\ud800", "config": {"\udfff": 1}}).encode(),
    "bytes of a surrogate": lambda: b'{"name":"\xed\xa0\x80"}',
    "not Unicode": lambda: b'{"name":"\xff"}',
    "a long key": lambda: json.dumps({"k" * (MIB - 100): 1}).encode(),
    "one key many times": lambda: _filled('"name":1', "{", "}"),
    "escapes": lambda: b'{"name":"' + b"\\u0041" * (MIB // 6 - 10) + b'"}',
}


def deep_model_path(folders: int = 500) -> str:
    """A model file's path that is deeper than Python's stack."""
    return "/".join("a" for _ in range(folders)) + "/b"


def many_slashes() -> Iterator[str]:
    """Paths of so many empty folders that each costs a look."""
    return ("/" * 1000 + str(number) for number in range(2000))


ODD_TEXTS: tuple[str, ...] = (
    "a" * 1500,
    "a" * 3000,
    "é" * 1100,
    "\0|\ufffd\U0001f433\u202e",
    "9" * 400,
    "",
    "../..%2f%",
)
"""Names and numbers that a path, a query or a header may hold. DynamoDB has keys of 1 to 1024 and 2048 bytes."""

ODD_VALUES: tuple[object, ...] = (
    *ODD_TEXTS,
    "a" * 20_000,
    "\ud800",
    10**39,
    -1,
    1e308,
    None,
    [],
    {},
    [["a"]],
)
"""And what JSON may hold."""
