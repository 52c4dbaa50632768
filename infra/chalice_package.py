"""What `chalice package` says of the app: its SAM template and routes, made without packing a zip.

Chalice's own command resolves wheels and zips them before it writes a template. `infra.package` does that apart, so
that a template alone costs no network; everything else here is Chalice's own graph builder and generator.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.session import Session
from chalice.awsclient import TypedAWSClient
from chalice.cli.factory import CLIFactory
from chalice.config import Config
from chalice.deploy import models
from chalice.deploy.appgraph import ApplicationGraphBuilder, DependencyBuilder
from chalice.deploy.deployer import BaseDeployStep, BuildStage, InjectDefaults, SwaggerBuilder
from chalice.deploy.swagger import CFNSwaggerGenerator
from chalice.package import PackageOptions, ResourceBuilder, SAMTemplateGenerator

from infra.http_routes import Route, routes
from infra.parameters import environment, store_references

STAGE = "berth"
"""The stage of .chalice/config.json."""

REGION = "us-east-1"
"""Any region does: the template names none."""


@dataclass(frozen=True)
class ChalicePackage:
    """The template as Chalice generates it, and the routes of the app it came from."""

    template: dict[str, Any]
    routes: list[Route]


class _PackedElsewhere(BaseDeployStep):
    """Stands where Chalice would build the zip; `infra.template` sets where the code is."""

    def handle_deploymentpackage(self, config: Config, resource: models.DeploymentPackage) -> None:  # noqa: ARG002
        resource.filename = "deployment.zip"


def chalice_package(project: Path) -> ChalicePackage:
    """Load `project`/app.py and generate its template.

    The app reads its settings when it is imported, so it must not have been imported before in this process with
    real ones: call this in a process of its own.
    """
    placeholders = dict.fromkeys(store_references(), "unset")
    os.environ.update({**environment(placeholders, {}), "AWS_DEFAULT_REGION": REGION})
    config = CLIFactory(str(project)).create_config_obj(STAGE)
    steps = [InjectDefaults(), _PackedElsewhere(), SwaggerBuilder(CFNSwaggerGenerator())]
    builder = ResourceBuilder(ApplicationGraphBuilder(), DependencyBuilder(), BuildStage(steps))
    session = Session()
    session.set_config_variable("region", REGION)
    generator = SAMTemplateGenerator(config, PackageOptions(TypedAWSClient(session)))
    template = generator.generate(builder.construct_resources(config, STAGE))
    return ChalicePackage(template, routes(config.chalice_app))
