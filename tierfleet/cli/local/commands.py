"""`tierfleet local`: the fleet on this machine, without an AWS account."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from tierfleet.cli.console import Json, columns, fail, load_or_fail, out, print_json, wide
from tierfleet.cli.emulator import STATE, emulator_or_fail, running_emulator
from tierfleet.cli.fleet_file import DEFAULT_FILE, ConfigOption, LocalFile, local_file, named, remember
from tierfleet.cli.interruption import if_interrupted
from tierfleet.cli.local.deployment import check_models, deploy_here
from tierfleet.cli.local.drive_command import local_drive
from tierfleet.cli.local.screen import fleet_screen
from tierfleet.cli.local.watch import watch
from tierfleet.columns import in_columns

app = typer.Typer(no_args_is_help=True, help="Run a fleet on this machine, in a local emulator, without AWS.")

Models = Annotated[
    Path | None, typer.Option(metavar="DIRECTORY", help="Models to publish first: <tenant>/<version>.ubj")
]
EarlyStart = Annotated[
    Literal["off", "creation", "always"] | None,
    typer.Option(
        help="When a resource may start before the endpoint that it refers to is ready: when that is created (as AWS "
        "announced it; the default), always, or never (off).",
    ),
]
SampleModels = Annotated[
    bool, typer.Option("--sample-models", help="Train and publish a small model for each tenant of the file.")
]


@app.command("up")
def local_up(
    file: LocalFile = None,
    config: ConfigOption = None,
    deploy: Annotated[bool, typer.Option("--deploy", help="Deploy the fleet too, so that it serves.")] = False,
    models: Models = None,
    sample_models: SampleModels = False,
    scale: Annotated[
        float, typer.Option(help="The share of an instance type's memory and disk that an instance gets.")
    ] = 1.0,
    s3_mb_per_second: Annotated[float, typer.Option(help="The rate at which artefacts come from S3; 0: no limit.")] = 0,
    s3_first_byte_milliseconds: Annotated[float, typer.Option(help="The time until S3 sends the first byte.")] = 0,
    network_milliseconds: Annotated[float, typer.Option(help="Added to the time of each InvokeEndpoint.")] = 0,
    container_command: Annotated[
        str, typer.Option(help="A container of your own instead of the dense model server; {port} is filled in.")
    ] = "",
    image_command: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGE=COMMAND",
            help="A container of your own for one image, by URI or repository name; may be given more than once.",
        ),
    ] = None,
    constant: Annotated[
        bool, typer.Option("--constant", help="Run no models: every invocation gets the same answer.")
    ] = False,
    early_start: EarlyStart = None,
) -> None:
    """Start the local emulator for the account and region of a fleet file, and with --deploy serve the fleet.

    The file is remembered, so later commands need not name it. Without a file it is config/fraud-dev.toml.
    """
    from local_cloud import SettingsError, start
    from local_cloud.data_plane.settings import DataPlaneSettings
    from local_cloud.host.cdk_cli import environment

    chosen = named(file, config) or DEFAULT_FILE
    fleet = load_or_fail(chosen)
    if (models is not None or sample_models) and not deploy:
        fail("--models and --sample-models are published when the fleet is deployed: add --deploy")
    check_models(models, sample_models=sample_models, fleet=fleet if deploy else None)
    settings = {
        "scale": scale,
        "s3_mb_per_second": s3_mb_per_second,
        "s3_first_byte_milliseconds": s3_first_byte_milliseconds,
        "network_milliseconds": network_milliseconds,
        "command": container_command,
    }
    given: dict[str, Any] = {"early_start": early_start} if early_start else {}
    if image_command:
        given["image_commands"] = _image_commands(image_command)
    given |= {name: value for name, value in settings.items() if value != getattr(DataPlaneSettings, name)}
    serving: Literal["constant", "models"] = "constant" if constant else "models"
    with if_interrupted("no local emulator is left running"):
        try:
            cloud = start(STATE, account=fleet.account, region=fleet.region, detached=True, serving=serving, **given)
        except (RuntimeError, SettingsError) as error:
            fail(str(error))
    remember(chosen)
    out.print(f"the local emulator answers at {cloud.endpoint_url}; for boto3 and the AWS CLI:")
    for name, value in environment(cloud, fleet.account).items():
        out.print(f"  export {name}={value}")
    if deploy:
        deploy_here(cloud, fleet, chosen, models, sample_models=sample_models)


def _image_commands(given: list[str]) -> dict[str, str]:
    """`IMAGE=COMMAND` by image; ends the command for one without a command."""
    commands = {}
    for text in given:
        image, equals, command = text.partition("=")
        if not (image and equals and command.strip()):
            fail(f"--image-command {text}: give IMAGE=COMMAND, such as velocity='python server.py'")
        commands[image] = command
    return commands


@app.command("deploy")
def local_deploy(
    file: LocalFile = None,
    config: ConfigOption = None,
    models: Models = None,
    sample_models: SampleModels = False,
    early_start: EarlyStart = None,
) -> None:
    """Deploy a fleet with the CDK CLI: bucket, models, then everything else. Run it again after each edit.

    Exit code 2 if it failed, 130 after Ctrl-C and 143 after SIGTERM, which leave the local emulator to end the
    stack update that it is in.
    """
    cloud = running_emulator()
    chosen = local_file(file, config)
    fleet = load_or_fail(chosen)
    check_models(models, sample_models=sample_models)
    remember(chosen)
    if early_start:
        with emulator_or_fail(cloud):
            cloud.admin("cloudformation", {"early_start": early_start})
    deploy_here(cloud, fleet, chosen, models, sample_models=sample_models)


@app.command("status")
def local_status(
    file: LocalFile = None,
    config: ConfigOption = None,
    watching: Annotated[bool, typer.Option("--watch", help="Redraw every second, until Ctrl-C or SIGTERM.")] = False,
    as_json: Json = False,
) -> None:
    """Show endpoints, instances, alarms, errors and the deployed routes of a fleet in the local emulator."""
    from tierfleet.local.status import ErrorWatch, InstanceWatch, fleet_status

    cloud, fleet = running_emulator(), load_or_fail(local_file(file, config))
    with emulator_or_fail(cloud):
        if watching and not as_json:
            watch(cloud, fleet)
            return
        status, instances = fleet_status(cloud, fleet), InstanceWatch(cloud, fleet).look()
        errors = ErrorWatch(cloud, fleet).look()
    if as_json:
        print_json(status.to_json(instances, errors))
    else:
        wide.print(fleet_screen(status, instances, errors=errors))


app.command("drive")(local_drive)


@app.command("events")
def local_events(
    since: Annotated[int, typer.Option(help="Show only the events after this number.")] = 0, as_json: Json = False
) -> None:
    """List what happened in the local emulator, in order: endpoints, scaling, routes, clean-up."""
    cloud = running_emulator()
    with emulator_or_fail(cloud):
        events = [event for event in cloud.admin("events") if event["sequence"] > since]
    if as_json:
        print_json(events)
        return
    rows = [(f"{event['sequence']:>5}", event["action"], event["resource"]) for event in events]
    for line in in_columns(rows, columns(), shrink=(2,)):
        out.print(escape(line))


@app.command("down")
def local_down() -> None:
    """Stop the local emulator, whether or not it answers, and remove everything it made. It is fine if none runs."""
    from local_cloud import NotRunningError, find

    try:
        cloud = find(STATE)
    except NotRunningError as error:
        out.print(f"nothing to stop: {escape(str(error).partition(';')[0])}")
        return
    cloud.stop()
    out.print("stopped; nothing is left")
