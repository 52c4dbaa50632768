"""The kinds of upstream registries: what each is called, where it is, and what stands for a user's name and password.

Names and addresses are Harbor's (src/pkg/reg/model/registry.go, src/pkg/reg/adapter/*).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

DOCKER_HUB, ECR = "docker-hub", "aws-ecr"


@dataclass(frozen=True)
class Provider:
    """A kind of registry. `endpoints` are its well-known addresses, each with its name; when `fixed`, all it has."""

    endpoints: tuple[tuple[str, str], ...] = ()
    fixed: bool = False
    access_key: str = ""
    """What stands for the user's name, where that is always the same."""


_ECR_REGIONS = (
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "ca-west-1", "mx-central-1", "sa-east-1"),
    *("eu-central-1", "eu-central-2", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1", "eu-south-1", "eu-south-2"),
    *("ap-east-1", "ap-south-1", "ap-south-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3"),
    *("ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5"),
    *("af-south-1", "il-central-1", "me-central-1", "me-south-1"),
)

PROVIDERS = {
    "docker-registry": Provider(),
    "harbor": Provider(),
    DOCKER_HUB: Provider((("hub.docker.com", "https://hub.docker.com"),), fixed=True),
    "github-ghcr": Provider((("ghcr.io", "https://ghcr.io"),), fixed=True),
    "quay": Provider((("quay.io", "https://quay.io"),)),
    ECR: Provider(tuple((region, f"https://api.ecr.{region}.amazonaws.com") for region in _ECR_REGIONS)),
    "google-gcr": Provider(
        tuple((host, f"https://{host}") for host in ("gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io")),
        access_key="_json_key",
    ),
    "azure-acr": Provider(),
    "gitlab": Provider((("registry.gitlab.com", "https://registry.gitlab.com"),)),
    "jfrog-artifactory": Provider(),
}

_HUB = frozenset({"hub.docker.com", "docker.io", "index.docker.io", "registry.hub.docker.com"})
"""What people call Docker Hub by, none of which serves the protocol."""
_HUB_REGISTRY = "https://registry-1.docker.io"


def registry_address(kind: str, url: str) -> str:
    """Where a registry of this kind serves the protocol."""
    return _HUB_REGISTRY if kind == DOCKER_HUB and urlsplit(url).hostname in _HUB else url
