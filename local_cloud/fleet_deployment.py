"""A fleet file deployed into the stand-in, in the order a first deployment needs."""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from local_cloud import assembly, cdk_cli
from local_cloud.processes import LocalCloud
from tierfleet.aws_problem import AwsProblemError
from tierfleet.config import FleetConfig
from tierfleet.models.files import ModelFile, find_models
from tierfleet.models.publish_many import publish_all
from tierfleet.runtime.names import models_bucket

_PUBLISHERS = 4


def deploy_fleet(cloud: LocalCloud, fleet: FleetConfig, config: Path, models: Path | None) -> Iterator[str]:
    """Deploy both stacks of a fleet with the CDK CLI, publishing `models` between them; yields a line per step.

    CreateModel refuses a missing object, so the bucket and the models come first. Raises CdkError, with one sentence
    where a resource failed, and ValueError for models that cannot be published: where there are none, at once.
    """
    found = None if models is None else find_models(models)
    stage = f"{fleet.fleet}-{fleet.environment}"
    cdk_cli.bootstrap(cloud, fleet.account, fleet.region)
    if found is None:
        yield _deploy(cloud, fleet, config, f"{stage}/Models", f"{stage}/Fleet")
        return
    yield _deploy(cloud, fleet, config, f"{stage}/Models")
    yield _publish(cloud, fleet, found)
    yield _deploy(cloud, fleet, config, f"{stage}/Fleet", synthesised=True)


def _deploy(cloud: LocalCloud, fleet: FleetConfig, config: Path, *stacks: str, synthesised: bool = False) -> str:
    started = time.monotonic()
    try:
        cdk_cli.deploy(cloud, fleet.account, stacks, config, synthesised=synthesised)
    except cdk_cli.CdkError as error:
        if reason := _failed_resource(cloud, fleet, stacks, str(error)):
            raise cdk_cli.CdkError(reason) from error
        raise
    return f"{' and '.join(stacks)} deployed ({time.monotonic() - started:.0f} s)"


def _failed_resource(cloud: LocalCloud, fleet: FleetConfig, stacks: Sequence[str], printed: str) -> str | None:
    """Which resource failed and why, if it was CloudFormation that refused; the CLI prints every event instead."""
    client = cloud.client("cloudformation", fleet.account, region=fleet.region)
    for name in (stack.replace("/", "-") for stack in stacks):
        if not re.search(rf"{re.escape(name)}\b.*(ROLLBACK|_FAILED)", printed):
            continue
        if failure := assembly.first_failure(client, name):
            status = client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
            return f"{failure}; {name} is {status}"
    return None


def _publish(cloud: LocalCloud, fleet: FleetConfig, models: Sequence[ModelFile]) -> str:
    s3 = cloud.client("s3", fleet.account, region=fleet.region)
    bucket = models_bucket(fleet.fleet, fleet.environment, fleet.account, fleet.region)
    try:
        outcomes = list(publish_all(s3, bucket=bucket, models=models, jobs=_PUBLISHERS))
    except AwsProblemError as error:
        raise ValueError(str(error)) from error
    if problems := [outcome.message for outcome in outcomes if outcome.failed]:
        raise ValueError("; ".join(problems))
    return f"{len(outcomes)} models published to {bucket}"
