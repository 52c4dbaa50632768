"""Many objects of the bucket at once: listed, and deleted, a thousand a call."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from chalicelib.oci.errors import Unavailable
from chalicelib.storage import s3
from chalicelib.storage.aws_json import RefusedError

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_DELETE_LIMIT = 1000
"""Objects that a DeleteObjects takes (S3's limit)."""


def delete(keys: Sequence[str]) -> None:
    """Delete objects; one that is gone already is no error. Raises RefusedError or Unavailable when S3 fails one."""
    for start in range(0, len(keys), _DELETE_LIMIT):
        _delete(keys[start : start + _DELETE_LIMIT])


def _delete(keys: Sequence[str]) -> None:
    """Delete up to a thousand objects; those for which S3 has an error of the moment are asked for again."""
    errors: dict[str, str] = {}
    for _ in s3.attempts():
        errors = _try_to_delete(list(errors) or keys)
        if not errors:
            return
        if refused := set(errors.values()) - s3.TRANSIENT:
            raise RefusedError(min(refused), "DeleteObjects")
    faults = ", ".join(sorted(set(errors.values())))
    raise Unavailable(f"the blob store does not delete {len(errors)} objects: {faults}")


def _try_to_delete(keys: Sequence[str]) -> dict[str, str]:
    """The errors by key, of which an answer with status 200 may be full."""
    listed = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    document = f'<Delete xmlns="{_NAMESPACE}"><Quiet>true</Quiet>{listed}</Delete>'.encode()
    # S3 requires a checksum of this operation's body.
    headers = {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(document).digest()).decode()}
    answer = s3.call("DeleteObjects", "POST", "", query={"delete": ""}, headers=headers, body=document)
    found = ET.fromstring(answer.data).findall(f"{{{_NAMESPACE}}}Error")  # noqa: S314 -- S3's
    return {_text(error, "Key"): _text(error, "Code") for error in found}


def pages(prefix: str) -> Iterator[list[tuple[str, int]]]:
    """Key and time (milliseconds since 1970) of the objects whose keys start with `prefix`, up to a thousand a page."""
    query = {"list-type": "2", "prefix": prefix}
    while True:
        document = ET.fromstring(s3.call("ListObjectsV2", "GET", "", query=query).data)  # noqa: S314 -- S3's
        found = document.findall(f"{{{_NAMESPACE}}}Contents")
        yield [(_text(entry, "Key"), _milliseconds(_text(entry, "LastModified"))) for entry in found]
        if _text(document, "IsTruncated") != "true":
            return
        query = {**query, "continuation-token": _text(document, "NextContinuationToken")}


def _text(element: ET.Element, name: str) -> str:
    return element.findtext(f"{{{_NAMESPACE}}}{name}") or ""


def _milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
