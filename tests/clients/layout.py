"""An OCI image layout on disk, written layer by layer: what clients push from."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
BUILD = Path(__file__).resolve().parents[2] / "build"


def debian_root() -> bytes:
    """A Debian root file system as a gzipped tar, made by debootstrap once and kept in build/."""
    kept = BUILD / "debian-root.tar.gz"
    if not kept.exists():
        BUILD.mkdir(exist_ok=True)
        folder, log = BUILD / "debian-root", BUILD / "debootstrap.log"
        subprocess.run(["rm", "-rf", str(folder)], check=True)
        with log.open("wb") as output:
            command = ["debootstrap", "--variant=minbase", "bookworm", str(folder)]
            subprocess.run(command, check=True, stdout=output, stderr=output)
        partial = kept.with_suffix(".partial")
        subprocess.run(["tar", "-C", str(folder), "-czf", str(partial), "."], check=True)
        partial.rename(kept)
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    return kept.read_bytes()


def file_layer(name: str, content: bytes) -> bytes:
    """A layer with one file, as a gzipped tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)


def write(folder: Path, layers: list[bytes], architecture: str = "amd64") -> str:
    """Write an image of `layers` as the only one of a layout; returns its manifest's digest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def store(content: bytes, media_type: str) -> dict[str, Any]:
        hexdigest = hashlib.sha256(content).hexdigest()
        (blobs / hexdigest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{hexdigest}", "size": len(content)}

    diff_ids = [f"sha256:{hashlib.sha256(gzip.decompress(layer)).hexdigest()}" for layer in layers]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": store(json.dumps(config).encode(), CONFIG),
        "layers": [store(layer, LAYER) for layer in layers],
    }
    descriptor = store(json.dumps(manifest).encode(), MANIFEST)
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))
    return str(descriptor["digest"])


def small(folder: Path, layers: int = 3, size: int = 1000, architecture: str = "amd64") -> str:
    """Write an image of random layers; returns its digest."""
    return write(folder, [file_layer(f"file{n}", os.urandom(size)) for n in range(layers)], architecture)


def content(folder: Path, digest: str) -> bytes:
    return (folder / "blobs" / "sha256" / digest.partition(":")[2]).read_bytes()
