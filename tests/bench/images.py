"""Images to push, as folders in skopeo's `dir:` form: real gzipped tars of random bytes, so nothing compresses."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class _Random(io.RawIOBase):
    """An endless file of random bytes."""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return os.urandom(size)


class _Hashed:
    """A file to write to that keeps a digest of what went by."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._file.write(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def hexdigest(self) -> str:
        return self._hash.hexdigest()


@dataclass(frozen=True)
class _Layer:
    """A written layer; its file is named by the digest's hex digits."""

    file: str
    size: int
    diff_id: str


def make_image(folder: Path, *layer_sizes: int) -> None:
    """Write an image of new layers of about these sizes."""
    folder.mkdir()
    _write_image(folder, [_write_layer(folder, size) for size in layer_sizes])


def make_images(folders: Sequence[Path], base_size: int, own_size: int) -> None:
    """Write images that share their first layer and have a second one each."""
    folders[0].mkdir()
    base = _write_layer(folders[0], base_size)
    for folder in folders:
        folder.mkdir(exist_ok=True)
        if folder != folders[0]:
            (folder / base.file).hardlink_to(folders[0] / base.file)
        _write_image(folder, [base, _write_layer(folder, own_size)])


def _write_image(folder: Path, layers: Sequence[_Layer]) -> None:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    content = json.dumps(config).encode()
    digest = hashlib.sha256(content).hexdigest()
    (folder / digest).write_bytes(content)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": f"sha256:{digest}", "size": len(content)},
        "layers": [{"mediaType": _LAYER, "digest": f"sha256:{layer.file}", "size": layer.size} for layer in layers],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "version").write_text("Directory Transport Version: 1.1\n")


def digests(folder: Path) -> tuple[str, str]:
    """The digests of an image's manifest and of its first layer."""
    content = (folder / "manifest.json").read_bytes()
    return f"sha256:{hashlib.sha256(content).hexdigest()}", json.loads(content)["layers"][0]["digest"]


def _write_layer(folder: Path, size: int) -> _Layer:
    scratch = folder / "layer"
    with scratch.open("wb") as file:
        packed = _Hashed(file)
        # Level 0 stores: the bytes are random, and what compressing costs is not to be measured.
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=0, mtime=0) as zipped:  # type: ignore[arg-type]
            plain = _Hashed(zipped)
            with tarfile.open(fileobj=plain, mode="w|") as tar:  # type: ignore[arg-type]
                entry = tarfile.TarInfo("random")
                entry.size = size
                tar.addfile(entry, _Random())  # type: ignore[arg-type]
    length = scratch.stat().st_size
    scratch.rename(folder / packed.hexdigest)
    return _Layer(packed.hexdigest, length, f"sha256:{plain.hexdigest}")
