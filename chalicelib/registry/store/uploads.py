"""The Uploads table: one item for each upload session, changed only by conditional writes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.blobstore import Part
from chalicelib.storage.conditions import new_id, now, write_if
from chalicelib.storage.reads import Item, Key

_UPLOAD = "upload"
_LINGER = 2 * 86_400
"""Seconds that an item outlives its session, so that what the session stored can be found and dropped."""


@dataclass(frozen=True)
class Session:
    """How far an upload has come. Sizes are bytes.

    The first `offset` bytes are stored: `parts` hold all but the last `tail_size` of them, which are the object
    `tail_key`. Part numbers from `next_part` on were never used; those below may be written by an attempt that
    has been overtaken, or recorded in `parts`.
    """

    id: str
    repository: str
    version: str
    expires: int
    """When DynamoDB may drop the item, in seconds since 1970; `_LINGER` after the session's own end, which is fixed."""
    project_id: int = 0
    """The number of the project that it was started in; 0 when an older version did it, and it can only be dropped."""
    offset: int = 0
    prefix_digest: str = ""
    """The digest of the first `offset` bytes; empty when nobody knows it. Its algorithm is that of the session."""
    object_key: str = ""
    """What the blob's object is or will be: of the multipart upload, or of the completed session."""
    multipart: str = ""
    parts: tuple[Part, ...] = ()
    next_part: int = 1
    tail_key: str = ""
    tail_size: int = 0
    digest: str = ""
    """Set when the session is completed: what it became."""
    completed: int = 0
    """When the session was completed, in milliseconds since 1970."""


def create(repository: str, project_id: int, empty_digest: str) -> Session:
    """Write a new session. `empty_digest` is the digest of nothing, in the algorithm that the upload is to use."""
    expires = _now() + settings().upload_seconds + _LINGER
    session = Session(new_id(), repository, new_id(), expires, project_id, prefix_digest=empty_digest)
    _to_item(session).save()
    return session


def read(upload_id: str) -> Session | None:
    """The session, strongly consistent; None when there is none or its time is over."""
    item = reads.get_item(Key(settings().uploads_table, upload_id, _UPLOAD))
    return _to_session(item) if item and item["expires"] > _now() + _LINGER else None


def expired() -> Iterator[Session]:
    """The sessions whose time is over, by a scan of the table: of those of the last three days, that is."""
    for item in tables.UploadItem.scan(tables.UploadItem.expires <= _now() + _LINGER):
        yield _to_session({name: value for name, value in item.attribute_values.items() if value is not None})


def write(before: Session, after: Session) -> Session | None:
    """Replace a session that is still `before`. None when it has changed."""
    written = replace(after, version=new_id())
    if write_if(_to_item(written).save, condition=tables.UploadItem.version == before.version):
        return written
    current = read(before.id)  # a write whose answer was lost has been tried again, and found its own version
    return written if current is not None and current.version == written.version else None


def seconds_left(session: Session) -> int:
    """How long the session may still be written to."""
    return max(session.expires - _LINGER - _now(), 0)


def delete(session: Session) -> bool:
    """Drop a session. False when it has changed since it was read."""
    return write_if(
        tables.UploadItem(session.id, _UPLOAD).delete, condition=tables.UploadItem.version == session.version
    )


def _now() -> int:
    """Seconds since 1970."""
    return now() // 1000


def _to_item(session: Session) -> tables.UploadItem:
    return tables.UploadItem(
        session.id,
        _UPLOAD,
        repository=session.repository,
        version=session.version,
        offset=session.offset,
        prefix_digest=session.prefix_digest or None,
        object_key=session.object_key or None,
        multipart=session.multipart or None,
        parts=_pack(session.parts),
        next_part=session.next_part,
        tail_key=session.tail_key or None,
        tail_size=session.tail_size,
        digest=session.digest or None,
        completed=session.completed or None,
        expires=session.expires,
        project_id=session.project_id or None,
    )


def _to_session(item: Item) -> Session:
    return Session(
        id=item["pk"],
        repository=item["repository"],
        version=item["version"],
        expires=item["expires"],
        offset=item["offset"],
        prefix_digest=item.get("prefix_digest", ""),
        object_key=item.get("object_key", ""),
        multipart=item.get("multipart", ""),
        parts=_unpack(item.get("parts")),
        next_part=item["next_part"],
        tail_key=item.get("tail_key", ""),
        tail_size=item["tail_size"],
        digest=item.get("digest", ""),
        completed=item.get("completed", 0),
        project_id=item.get("project_id", 0),
    )


def _pack(parts: tuple[Part, ...]) -> bytes | None:
    """Parts as compressed lines: 10,000 with S3's ETags take 200 KB of DynamoDB's 400 KB an item."""
    lines = "\n".join(f"{number} {etag}" for number, etag in parts)
    return zlib.compress(lines.encode()) if parts else None


def _unpack(packed: bytes | None) -> tuple[Part, ...]:
    lines = zlib.decompress(packed).decode().splitlines() if packed else []
    pairs = (line.split(" ", 1) for line in lines)
    return tuple((int(number), etag) for number, etag in pairs)
