"""What `make package` writes: build/template.json and build/deployment.zip.

The same sources and the same Python make the same bytes: entries are sorted, their times fixed, and every library is
pinned. A zip's digest is therefore the version of the code.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from infra.dependencies import compile_modules, site_packages

PROJECT = Path(__file__).resolve().parent.parent
BUILD = PROJECT / "build"

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip can tell."""

_CHALICE_RUNTIME = ("__init__.py", "app.py")
"""All of chalice that a deployed app imports: Chalice keeps this file free of its other parts for that."""

Entry = tuple[str, Path]


def main() -> None:
    """Write both files and say what they are."""
    template = build_template_only()
    archive = build_zip()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    print(f"{template.relative_to(PROJECT)}: {template.stat().st_size / 1e3:.0f} kB")
    print(f"{archive.relative_to(PROJECT)}: {archive.stat().st_size / 1e6:.1f} MB, sha256 {digest}")


def build_template_only() -> Path:
    """build/template.json, made anew only when a file that it depends on has changed since."""
    target, stamp = BUILD / "template.json", BUILD / "template.stamp"
    inputs = _digest(_template_inputs())
    if not (target.exists() and stamp.exists() and stamp.read_text() == inputs):
        with _scratch() as scratch:
            made = scratch / target.name
            # In a process of its own: making it imports the app with placeholders for its settings.
            subprocess.run([sys.executable, "-m", "infra.template", str(made)], cwd=PROJECT, check=True)
            made.replace(target)
            stamp.write_text(inputs)
    return target


def build_zip() -> Path:
    """build/deployment.zip: the app, Chalice's runtime and the libraries. Needs the network when those changed."""
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    target = BUILD / "deployment.zip"
    libraries = site_packages(PROJECT, runtime)
    with _scratch() as scratch:
        app = scratch / "app"
        for name, path in _source_entries():
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, app / name)
        compile_modules(app)
        made = scratch / target.name
        made.write_bytes(_zip([*_files(libraries), *_files(app)]))
        made.replace(target)
    return target


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder to make a file in, which then replaces the old one as a whole: others may be reading that."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        yield Path(folder)


def source_zip() -> bytes:
    """The app alone, for a place that has the libraries: MiniStack runs functions in its own environment."""
    return _zip(_source_entries())


def _source_entries() -> list[Entry]:
    chalicelib = ((f"chalicelib/{name}", path) for name, path in _files(PROJECT / "chalicelib"))
    kept = (entry for entry in chalicelib if "__pycache__" not in entry[1].parts)
    return [("app.py", PROJECT / "app.py"), *kept, *_chalice_runtime()]


def _chalice_runtime() -> Iterator[Entry]:
    import chalice  # noqa: PLC0415 -- a module to find, not to use

    folder = Path(chalice.__file__).parent
    for name in _CHALICE_RUNTIME:
        yield f"chalice/{name}", folder / name


def _template_inputs() -> Iterator[Entry]:
    yield from _source_entries()
    for name in ("requirements.txt", ".chalice/config.json"):
        yield name, PROJECT / name
    for path in sorted((PROJECT / "infra").glob("*.py")):
        yield f"infra/{path.name}", path
    for path in sorted((PROJECT / "infra" / "statemachines").iterdir()):
        yield f"infra/statemachines/{path.name}", path


def _files(folder: Path) -> Iterator[Entry]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _digest(entries: Iterable[Entry]) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for name, path in sorted(entries):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


def _zip(entries: Iterable[Entry]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(entries):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes(), compresslevel=9)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
