"""A fleet file deployed into the stand-in, in the order a first deployment needs."""

import time
from collections.abc import Iterator
from pathlib import Path

from local_cloud import cdk_cli
from local_cloud.processes import LocalCloud
from tierfleet.config import FleetConfig
from tierfleet.models.files import find_models
from tierfleet.models.package import package_file
from tierfleet.models.publish import publish
from tierfleet.runtime.names import models_bucket


def deploy_fleet(cloud: LocalCloud, fleet: FleetConfig, config: Path, models: Path | None) -> Iterator[str]:
    """Deploy both stacks of a fleet with the CDK CLI, publishing `models` between them; yields a line per step.

    CreateModel refuses a missing object, so the bucket and the models come first. Raises CdkError, and ValueError
    for models that cannot be published.
    """
    stage = f"{fleet.fleet}-{fleet.environment}"
    started = time.monotonic()
    cdk_cli.bootstrap(cloud, fleet.account, fleet.region)
    cdk_cli.deploy(cloud, fleet.account, f"{stage}/Models", config)
    yield f"{stage}/Models deployed ({time.monotonic() - started:.0f} s)"
    if models is not None:
        s3 = cloud.client("s3", fleet.account, region=fleet.region)
        bucket = models_bucket(fleet.fleet, fleet.environment, fleet.account, fleet.region)
        found = find_models(models)
        for model in found:
            publish(s3, bucket=bucket, tenant=model.tenant, version=model.version, archive=package_file(model))
        yield f"{len(found)} models published to {bucket}"
    started = time.monotonic()
    cdk_cli.deploy(cloud, fleet.account, f"{stage}/Fleet", config)
    yield f"{stage}/Fleet deployed ({time.monotonic() - started:.0f} s)"
