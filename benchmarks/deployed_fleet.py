"""A bench's fleet: synthesised in this process, deployed into the local emulator by boto3."""

import json
from pathlib import Path
from typing import Final

import aws_cdk as cdk

from local_cloud import LocalCloud
from local_cloud.host import assembly
from stacks.fleet_stage import FleetStage
from tierfleet.config import FleetConfig
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
