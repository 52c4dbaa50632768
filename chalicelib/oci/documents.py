"""Reading the JSON of a manifest, so that all its readers take the same from it.

Two readers that take two manifests from one digest are an attack (CVE-2021-41190): what one of them scans, signs or
keeps is not what another runs. So what JSON leaves open is refused when a manifest is pushed: keys that stand twice,
keys that only some readers tell apart, text that is no Unicode. A document that is stored already is read as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from chalicelib.oci.errors import ManifestInvalid

DEPTH_LIMIT = 64
"""Levels of objects and lists. Real manifests have six; json raises RecursionError at a depth that depends on the
version of Python and on the caller, so that without a limit of its own what a push reads a collector might not."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SURROGATES = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def read(content: bytes) -> dict[str, Any]:
    """The object that a manifest is. Raises ManifestInvalid."""
    document = read_stored(content)
    if _is_deep(content):
        refuse(f"the JSON is nested deeper than {DEPTH_LIMIT} levels")
    if _has_half_surrogate(content):
        refuse("a text in the JSON has half of a surrogate pair, which is no character")
    return document


def read_stored(content: bytes) -> dict[str, Any]:
    """As `read`, of a manifest that was taken in before, by whatever rules. Raises ManifestInvalid."""
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
    except UnicodeDecodeError:
        refuse("a manifest is UTF-8")
    except RecursionError:
        refuse("the JSON is nested too deep")
    except ValueError as error:
        refuse(f"not JSON: {error}")
    if not isinstance(document, dict):
        refuse("a manifest is a JSON object")
    return document


def by_folded(names: Iterable[str]) -> Mapping[str, str]:
    """Names by what they are when case is left out of account: what `require_one_case` looks them up by."""
    return {name.casefold(): name for name in names}


def require_one_case(keys: Iterable[str], known: Mapping[str, str], where: str) -> None:
    """Refuse a key that is a known name but for its case: readers in Go take it for that name, and others do not.

    Go compares by Unicode's simple folding (encoding/json, "Unmarshal"), for which a Kelvin sign is a k too.
    `known` is of `by_folded`. Raises ManifestInvalid.
    """
    for key in keys:
        name = known.get(key.casefold(), key)
        if name != key:
            refuse(f"{where}: some readers would take the key {key!r} for {name!r}")


def refuse(message: str) -> NoReturn:
    raise ManifestInvalid(message)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: some readers take the first, and some the last."""
    result = dict(pairs)
    if len(result) != len(pairs):
        refuse("a key stands twice in one JSON object")
    return result


def _no_constants(name: str) -> NoReturn:
    refuse(f"{name} is not JSON")


def _is_deep(content: bytes) -> bool:
    """Whether valid JSON has more levels than the limit, in time that grows with its length alone."""
    brackets = _STRING.sub(b"", content).translate(_AS_LISTS, _NO_BRACKETS)
    for _ in range(DEPTH_LIMIT):
        brackets = brackets.replace(b"[]", b"")  # the innermost level
    return bool(brackets)


def _has_half_surrogate(content: bytes) -> bool:
    """Whether valid JSON has a text that is no Unicode: Go reads another character for such an escape alone."""
    unescaped = content.replace(b"\\\\", b".")
    return _SURROGATE.search(_SURROGATES.sub(b".", unescaped)) is not None
