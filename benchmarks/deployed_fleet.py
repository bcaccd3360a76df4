"""A bench's fleet: synthesised in this process, deployed into the local emulator by boto3."""

import json
from pathlib import Path
from typing import Final

import aws_cdk as cdk
import boto3

from local_cloud import LocalCloud
from local_cloud.host import assembly
from stacks.fleet_stage import FleetStage
from tierfleet.config import FleetConfig
from tierfleet.models.files import find_models
from tierfleet.models.publish_many import publish_all
from tierfleet.runtime import clients
from tierfleet.runtime.client import ClientSettings, FleetClient
from tierfleet.runtime.names import models_bucket

ROOT: Final = Path(__file__).resolve().parent.parent


def synthesise(config: FleetConfig, directory: Path) -> Path:
    """The assembly of one fleet, under the flags of cdk.json."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = cdk.App(context=context, outdir=str(directory), tree_metadata=False, analytics_reporting=False)
    FleetStage(app, config)
    app.synth()
    return next(directory.glob("assembly-*"))


def deploy(cloud: LocalCloud, folder: Path, *names: str) -> None:
    """Deploy these stacks of an assembly whose assets are published; raises DeploymentError."""
    for stack in assembly.stacks(folder):
        if stack.name.rpartition("-")[2] in names:
            assembly.deploy(cloud, stack)


def bucket_of(config: FleetConfig) -> str:
    return models_bucket(config.fleet, config.environment, config.account, config.region)


def publish_models(cloud: LocalCloud, config: FleetConfig, models: Path) -> None:
    """Publish the model files of a directory; raises RuntimeError if one is refused."""
    s3 = cloud.client("s3", config.account, region=config.region)
    outcomes = publish_all(s3, bucket=bucket_of(config), models=find_models(models), jobs=8)
    if failed := [outcome.message for outcome in outcomes if outcome.failed]:
        raise RuntimeError("; ".join(failed))


def caller(cloud: LocalCloud, config: FleetConfig, *, pointer_ttl_seconds: float) -> FleetClient:
    """A client that starts now, so it reads the routes that are deployed now."""
    aws = clients.calling_clients(
        session=boto3.Session(aws_access_key_id=config.account, aws_secret_access_key="local"),  # noqa: S106
        region=config.region,
        read_timeout_seconds=70,
        connections=4,
        endpoint_url=cloud.endpoint_url,
    )
    settings = ClientSettings(pointer_ttl_seconds=pointer_ttl_seconds)
    return FleetClient(config.fleet, config.environment, region=config.region, aws=aws, settings=settings)
