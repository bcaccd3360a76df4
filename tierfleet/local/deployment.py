"""A fleet file deployed into the local emulator, in the order a first deployment needs."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from botocore.exceptions import ClientError

from local_cloud.host import assembly, cdk_cli
from local_cloud.host.processes import LocalCloud
from tierfleet.aws_problem import AwsProblemError
from tierfleet.config import FleetConfig
from tierfleet.models.container_models import leave_pointers, packaging_for
from tierfleet.models.files import ModelFile, find_models
from tierfleet.models.publish_many import publish_all
from tierfleet.models.references import pins
from tierfleet.runtime.names import MODELS_PREFIX, models_bucket

_PUBLISHERS = 4


def deploy_fleet(cloud: LocalCloud, fleet: FleetConfig, config: Path, models: Path | None) -> Iterator[str]:
    """Deploy both stacks of a fleet with the CDK CLI, publishing `models` between them; yields a line per step.

    A step's line comes before it when it begins, and another one after it. CreateModel refuses a missing object, so the
    bucket and the models come first. Raises CdkError, with one sentence where a resource failed, and ValueError for
    models that cannot be published or, at a first deployment, are missing: before anything is deployed.
    """
    model_files = None if models is None else find_models(models)
    stage = f"{fleet.fleet}-{fleet.environment}"
    # Later on CloudFormation refuses them, and takes the update back; a first deployment would leave half a fleet.
    if not _stack_exists(cloud, fleet):
        refuse_missing_models(fleet, model_files or [], lambda target_model: _is_there(cloud, fleet, target_model))
    yield "preparing the account (cdk bootstrap)"
    cdk_cli.bootstrap(cloud, fleet.account, fleet.region)
    if model_files is None:
        yield f"synthesising and deploying {stage}/Models and {stage}/Fleet"
        yield _deploy(cloud, fleet, config, f"{stage}/Models", f"{stage}/Fleet")
        return
    yield f"synthesising and deploying {stage}/Models"
    yield _deploy(cloud, fleet, config, f"{stage}/Models")
    yield f"publishing {len(model_files)} model{'' if len(model_files) == 1 else 's'}"
    yield _publish(cloud, fleet, model_files)
    yield f"deploying {stage}/Fleet"
    yield _deploy(cloud, fleet, config, f"{stage}/Fleet", synthesised=True)


def refuse_missing_models(
    fleet: FleetConfig,
    model_files: Sequence[ModelFile],
    is_published: Callable[[str], bool] = lambda _target_model: False,
) -> None:
    """Raise ValueError where a model that the fleet file pins is neither among `found` nor published already."""
    pinned = pins([fleet])
    given = {f"{model.tenant}/{model.version}.tar.gz" for model in model_files}
    missing = [target for target in sorted(pinned.keys() - given) if not is_published(target)]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise ValueError(
            f"no model file for {shown}, which the fleet file pins: give --models DIRECTORY with "
            "<tenant>/<version>.ubj, or --sample-models"
        )


def _stack_exists(cloud: LocalCloud, fleet: FleetConfig) -> bool:
    client = cloud.client("cloudformation", fleet.account, region=fleet.region)
    name = f"{fleet.fleet}-{fleet.environment}-Fleet"
    return any(stack["StackName"] == name for stack in client.describe_stacks()["Stacks"])


def _is_there(cloud: LocalCloud, fleet: FleetConfig, target_model: str) -> bool:
    s3 = cloud.client("s3", fleet.account, region=fleet.region)
    bucket = models_bucket(fleet.fleet, fleet.environment, fleet.account, fleet.region)
    try:
        s3.head_object(Bucket=bucket, Key=f"{MODELS_PREFIX}{target_model}")
    except ClientError:
        return False
    return True


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
        outcomes = list(
            publish_all(
                s3,
                bucket=bucket,
                models=models,
                jobs=_PUBLISHERS,
                package_of=packaging_for(fleet),
                leave_pointers=leave_pointers(fleet),
            )
        )
    except AwsProblemError as error:
        raise ValueError(str(error)) from error
    if problems := [outcome.message for outcome in outcomes if outcome.failed]:
        raise ValueError("; ".join(problems))
    return f"{len(outcomes)} model{'' if len(outcomes) == 1 else 's'} published to {bucket}"
