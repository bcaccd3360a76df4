"""A fleet deployed into the local emulator, with what a person sees meanwhile."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from tierfleet.cli.console import fail, out
from tierfleet.cli.emulator import emulator_or_fail
from tierfleet.cli.interruption import if_interrupted
from tierfleet.cli.local.deployment_screen import watching_stacks
from tierfleet.config import FleetConfig

if TYPE_CHECKING:
    from local_cloud import LocalCloud


def check_models(models: Path | None, *, sample_models: bool, fleet: FleetConfig | None = None) -> None:
    """End the command where the models named cannot be published, before anything starts.

    fleet: one that is about to be deployed for the first time, whose pinned models must be among them.
    """
    from tierfleet.local.deployment import refuse_missing_models
    from tierfleet.models.files import find_models

    if models is not None and sample_models:
        fail("--models and --sample-models each say what to publish: give one of them")
    try:
        model_files = [] if models is None else find_models(models)
        if fleet is not None and not sample_models:
            refuse_missing_models(fleet, model_files)
    except ValueError as error:
        fail(str(error))


def deploy_here(
    cloud: "LocalCloud", fleet: FleetConfig, file: Path, models: Path | None, *, sample_models: bool
) -> None:
    """Deploy, with a live list of resources on a terminal and a line per step everywhere; failures end the command."""
    from local_cloud.host.cdk_cli import CdkError
    from tierfleet.local.deployment import deploy_fleet

    left = "a stack update that has begun continues in the local emulator; deploy again to complete it"
    try:
        with if_interrupted(left), emulator_or_fail(cloud), watching_stacks(cloud, fleet):
            if sample_models:
                models = _sample_models(cloud, fleet)
            for line in deploy_fleet(cloud, fleet, file, models):
                out.print(escape(line))
    except (CdkError, ValueError) as error:
        fail(str(error))
    out.print("it serves; next:")
    for command in (a_call(fleet), "tierfleet local status", "tierfleet local drive"):
        out.print(f"  {command}")


def a_call(fleet: FleetConfig) -> str:
    """A command that calls some tenant's model: the first one whose calls wait for their answer, if there is one."""
    from tierfleet.models.sample_models import sample_versions

    shapes = {tenant: fleet.tiers[fleet.tier_of(tenant)].shape for tenant in sample_versions(fleet)}
    tenant = min(shapes, key=lambda each: (not shapes[each].request_response, shapes[each].names_container, each))
    container = " --container primary" if shapes[tenant].names_container else ""
    return f"tierfleet invoke {tenant} --local{container}"


def _sample_models(cloud: "LocalCloud", fleet: FleetConfig) -> Path:
    from tierfleet.models.sample_models import train_sample_models

    directory = cloud.state_dir / "scratch" / "sample-models"
    try:
        count = train_sample_models(fleet, directory)
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed; --sample-models needs: pip install 'tierfleet[cli,models]'")
    out.print(f"{count} small XGBoost model{'' if count == 1 else 's'} trained")
    return directory
