"""Who may import whom: every import in chalicelib goes down, and none comes back."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]

LAYERS = (
    ("console",),
    ("api", "v2"),
    ("bootstrap",),
    ("job_kinds", "project_deletion"),
    ("gc",),
    ("artifacts",),
    ("proxycache", "retention", "webhooks"),
    ("registry",),
    ("access",),
    ("auditing", "upstreams"),
    ("jobs", "projects"),
    ("events",),
    ("chalice_http",),
    ("background",),
    ("observability", "storage"),
    ("http", "outbound"),
    ("bounded_json", "domain_errors", "doublestar", "oci", "retrying", "settings", "timed_cache"),
)
"""From the top to the ground (docs/architecture.md). What stands in one line does not know each other."""


def test_everything_has_its_layer() -> None:
    here = {path.stem for path in (_PROJECT / "chalicelib").iterdir() if path.suffix == ".py" or path.is_dir()}
    named = [name for layer in LAYERS for name in layer]
    assert sorted(named) == sorted(here - {"__init__", "__pycache__"})


def test_every_import_goes_down() -> None:
    heights = {name: height for height, layer in enumerate(reversed(LAYERS)) for name in layer}
    upward = [
        f"{module} imports {target}"
        for module, targets in _imports().items()
        for target in targets
        if _layer(module) != _layer(target) and heights[_layer(target)] >= heights[_layer(module)]
    ]
    assert upward == []


def test_no_import_comes_back() -> None:
    assert _circles(_imports()) == []


def test_the_code_imports_neither_its_tests_nor_what_deploys_it() -> None:
    for path in (_PROJECT / "chalicelib").rglob("*.py"):
        roots = {name.partition(".")[0] for name, _ in _named(ast.parse(path.read_text()))}
        assert not roots & {"app", "infra", "tests"}, path


def test_a_circle_is_found() -> None:
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert _circles({"a": {"b"}, "b": set()}) == []


def _layer(module: str) -> str:
    return module.split(".")[1]


@cache
def _imports() -> Mapping[str, set[str]]:
    """The modules below chalicelib that each imports, in functions too: a module that is named, not its package."""
    modules = {}
    for path in (_PROJECT / "chalicelib").rglob("*.py"):
        name = ".".join(path.relative_to(_PROJECT).with_suffix("").parts).removesuffix(".__init__")
        modules[name] = path
    del modules["chalicelib"]
    found: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets = set()
        for module, imported in _named(ast.parse(path.read_text())):
            full = f"{module}.{imported}"
            targets |= {full} if full in modules else {module} & modules.keys()
        found[name] = targets - {name}
    return found


def _named(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The modules, and what of them, that a module imports anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def _circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The modules that import each other, as sorted groups."""
    reached = {name: _reached(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in graph if other in reached[name] and name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return [list(group) for group in sorted(groups)]


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """What is imported from `start` on, by any way."""
    seen: set[str] = set()
    pending = list(graph[start])
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending += graph.get(name, ())
    return seen
