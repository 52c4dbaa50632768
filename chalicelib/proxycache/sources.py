"""Where a repository of a proxy project comes from: its upstream registry, and its name there."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.oci.errors import NameUnknown
from chalicelib.projects.records import Project
from chalicelib.proxycache import filters
from chalicelib.upstreams import client as upstream
from chalicelib.upstreams import endpoints
from chalicelib.upstreams.client import Upstream
from chalicelib.upstreams.errors import UpstreamUnreachable
from chalicelib.upstreams.providers import DOCKER_HUB

LIBRARY = "library"
"""Where Docker Hub's repositories without a slash in their names are."""


@dataclass(frozen=True)
class Source:
    """A repository of a proxy project, and what it is upstream."""

    project: Project
    repository: str
    remote: str
    """Its name in the upstream registry."""

    @property
    def origin(self) -> str:
        """What upstream's replies of the repository are kept under.

        It names the project and the registry's record as they are: what one of the same name was told before, or a
        registry at another address or to other credentials, may be nothing that this one's clients are to see.
        """
        endpoint = endpoints.find(self.project.registry_id)
        version = endpoint.version if endpoint is not None else ""
        return f"{self.project.project_id}|{self.project.registry_id}|{version}|{self.repository}"

    @property
    def is_in_library(self) -> bool:
        """Whether it is a bare name of Docker Hub's, and its repository another one."""
        if "/" in self.remote:
            return False
        endpoint = endpoints.find(self.project.registry_id)
        return endpoint is not None and endpoint.type == DOCKER_HUB

    @property
    def upstream(self) -> Upstream:
        """Raises UpstreamUnreachable when the record of the registry is gone."""
        endpoint = endpoints.find(self.project.registry_id)
        if endpoint is None:
            raise UpstreamUnreachable(f"the project's registry {self.project.registry_id} is gone")
        return upstream.of(endpoint)

    @property
    def keeps_what_is_gone(self) -> bool:
        """Whether the local copy is served of what upstream has no longer."""
        return self.project.metadata.get("proxy_cache_local_on_not_found") == "true"


def of(project: Project, repository: str) -> Source:
    """Raises NameUnknown when the project's filter keeps the repository out, here already or not, as in Harbor."""
    source = Source(project, repository, repository.partition("/")[2])
    if not filters.lets_pull(project, f"{LIBRARY}/{source.remote}" if source.is_in_library else source.remote):
        raise NameUnknown(f"the project {project.name} lets no {source.remote} be pulled")
    return source
