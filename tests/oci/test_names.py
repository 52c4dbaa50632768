"""The grammar of names and paths, and that no path whatever gets past it with anything but a 4xx."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.oci import names
from chalicelib.oci.errors import DigestInvalid, NameInvalid, NotFound, RegistryError, TagInvalid

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2/", names.Target("base")),
        ("/v2", names.Target("base")),
        ("/v2/_catalog", names.Target("catalog")),
        ("/v2/p/r/tags/list", names.Target("tags", "p/r")),
        ("/v2/p/tags/tags/list", names.Target("tags", "p/tags")),
        ("/v2/p/r/manifests/latest", names.Target("manifest", "p/r", "latest")),
        (f"/v2/p/r/manifests/{DIGEST}", names.Target("manifest", "p/r", DIGEST)),
        (f"/v2/p/manifests/blobs/{DIGEST}", names.Target("blob", "p/manifests", DIGEST)),
        (f"/v2/p/r/manifests/{DIGEST.replace(':', '%3A')}", names.Target("manifest", "p/r", DIGEST)),
        (f"/v2/p/r/referrers/{DIGEST}", names.Target("referrers", "p/r", DIGEST)),
        ("/v2/p/r/blobs/uploads/", names.Target("uploads", "p/r")),
        ("/v2/p/r/blobs/uploads", names.Target("uploads", "p/r")),
        (f"/v2/p/r/blobs/uploads/{'0' * 32}", names.Target("upload", "p/r", "0" * 32)),
        ("/v2/p/r/blobs/uploads/zz", names.Target("upload", "p/r", "unknown")),
    ],
)
def test_a_path_names_its_endpoint(path: str, target: names.Target) -> None:
    assert names.parse_path(path) == target


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v2/p/r/manifests/..", TagInvalid),
        ("/v2/p/../r/manifests/x", NameInvalid),
        ("/v2//p/r/manifests/x", NameInvalid),
        ("/v2/p//r/manifests/x", NameInvalid),
        ("/v2/P/r/manifests/x", NameInvalid),
        ("/v2/nopro/manifests/x", NameInvalid),
        ("/v2/p/r/manifests/sha256:abc", DigestInvalid),
        (f"/v2/p/r/manifests/md5:{'a' * 32}", DigestInvalid),
        (f"/v2/p/r/blobs/{DIGEST.upper()}", DigestInvalid),
        (f"/v2/p/r/manifests/{'t' * 129}", TagInvalid),
        (f"/v2/p/{'r' * 254}/manifests/x", NameInvalid),
        ("/v2/p/r/blobs/latest", DigestInvalid),
        ("/v2/p/r/nothing/x", NotFound),
        ("/v2/p/r/manifests/", TagInvalid),
        ("/v2/p/r\n/manifests/x", NameInvalid),
        ("/v2/p/r/manifests/x\n", TagInvalid),
        ("/v2/p%2Fr/manifests/x", NameInvalid),
        ("/v2/p/r/manifests/%ff", NameInvalid),
        ("/v2/p/%2e%2e/r/manifests/x", NameInvalid),
    ],
)
def test_a_malformed_path_is_refused(path: str, error: type[RegistryError]) -> None:
    with pytest.raises(error):
        names.parse_path(path)


@given(st.text(max_size=300))
@example("/v2/" + "a/" * 5000 + "manifests/x")
def test_any_path_is_a_target_or_a_client_error(text: str) -> None:
    try:
        target = names.parse_path(f"/v2/{text}")
    except RegistryError as error:
        assert 400 <= error.status < 500
    else:
        assert ".." not in target.repository.split("/")
        assert "//" not in target.repository


_component = st.from_regex(r"[a-z0-9]+(?:(?:\.|_|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)


@given(
    st.lists(_component, min_size=2, max_size=5), st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True)
)
def test_every_valid_name_and_tag_is_read_back(parts: list[str], tag: str) -> None:
    repository = "/".join(parts)
    if len(repository) <= names.NAME_LENGTH:
        assert names.parse_path(f"/v2/{repository}/manifests/{tag}") == names.Target("manifest", repository, tag)


def test_a_long_name_costs_no_backtracking() -> None:
    with pytest.raises(NameInvalid):
        names.parse_repository("a/" + "a-" * 120 + "!")
