"""What a cold start must not import: a pull waits for it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
_LOGINS = ("authlib", "joserfc", "cryptography")
_OTHERS = (
    *("access.accounts", "access.passwords", "access.token_service", "access.throttling", "access.visibility"),
    *("registry.deletion", "registry.listings", "registry.push", "registry.upload_writer", "registry.uploads"),
    *("project_deletion", "artifacts.labels", "registry.store.labels", "registry.store.uploads"),
)
_MODULES = 60
"""Modules of ours that a pull's start imports: each takes about half a millisecond. Packages are not counted."""
_LIST = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


@pytest.mark.parametrize("imports", ["import app", "import app, chalicelib.api.dispatch, chalicelib.console.login"])
def test_nothing_but_a_login_at_a_provider_imports_what_that_takes(imports: str) -> None:
    command = [sys.executable, "-c", f"{imports}; {_LIST}"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = json.loads(listed.stdout)
    assert "jwt" in loaded
    assert not set(_LOGINS) & set(loaded)


def test_what_a_login_takes_is_there_after_that() -> None:
    command = [sys.executable, "-c", f"import app, chalicelib.access.oidc; {_LIST}"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert set(_LOGINS) <= set(json.loads(listed.stdout))


def test_a_pull_imports_nothing_that_only_other_requests_take() -> None:
    """A new module here costs every cold start: let the handler that needs it import it."""
    command = [sys.executable, "-c", "import app, json, sys; print(json.dumps(list(sys.modules)))"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    imported = json.loads(listed.stdout)
    loaded = {name for name in imported if name.startswith("chalicelib.")}
    assert not loaded & {f"chalicelib.{name}" for name in _OTHERS}
    assert not {"pynamodb", "botocore.session"} & set(imported)
    packages = {name.split(".")[1] for name in loaded}
    assert not packages & {"artifacts", "gc", "jobs", "webhooks", "retention", "proxycache", "upstreams"}
    modules = [name for name in loaded if not PROJECT.joinpath(*name.split(".")).is_dir()]
    assert len(modules) <= _MODULES


def test_every_item_can_be_asked_for() -> None:
    from chalicelib.storage import tables
    from chalicelib.storage.tables.item import Item

    for name in ("accounts", "blobs", "events", "jobs", "projects", "repositories", "uploads"):
        for item in vars(importlib.import_module(f"chalicelib.storage.tables.{name}")).values():
            if isinstance(item, type) and issubclass(item, Item) and item is not Item:
                assert getattr(tables, item.__name__) is item
    with pytest.raises(AttributeError):
        tables.__getattr__("NoItem")
