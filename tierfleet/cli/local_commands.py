"""`tierfleet local`: the fleet on this machine, without an AWS account."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from tierfleet.cli.config_commands import load_or_fail
from tierfleet.cli.console import Json, fail, out, wide
from tierfleet.cli.drive_command import local_drive
from tierfleet.cli.fleet_screen import fleet_screen
from tierfleet.cli.interruption import if_interrupted
from tierfleet.cli.standin import STATE, running_standin, standin_or_fail
from tierfleet.cli.watching import watch

app = typer.Typer(no_args_is_help=True, help="Run a fleet on this machine: an AWS stand-in on loopback, no account.")

Fleet = Annotated[Path, typer.Argument(help="A fleet file.")]
_DEFAULT_FLEET = Path("config/fraud-dev.toml")


@app.command("up")
def local_up(
    config: Fleet = _DEFAULT_FLEET,
    scale: Annotated[
        float, typer.Option(help="Share of an instance type's memory and disk that an instance gets here.")
    ] = 1.0,
    s3_mb_per_second: Annotated[
        float, typer.Option(help="How fast artefacts come from S3; 0: as fast as they can.")
    ] = 0,
    s3_first_byte_milliseconds: Annotated[float, typer.Option(help="How long S3 takes to begin.")] = 0,
    network_milliseconds: Annotated[float, typer.Option(help="Added to each InvokeEndpoint.")] = 0,
    container_command: Annotated[
        str, typer.Option(help="A container of your own instead of the dense model server; {port} is filled in.")
    ] = "",
    constant: Annotated[
        bool, typer.Option("--constant", help="Run no model: every invocation is answered alike.")
    ] = False,
) -> None:
    """Start the stand-in for the account and region of a fleet file, and say how to reach it."""
    from local_cloud import SettingsError, start
    from local_cloud.cdk_cli import environment
    from local_cloud.data_plane.settings import DataPlaneSettings

    fleet = load_or_fail(config)
    settings = {
        "scale": scale,
        "s3_mb_per_second": s3_mb_per_second,
        "s3_first_byte_milliseconds": s3_first_byte_milliseconds,
        "network_milliseconds": network_milliseconds,
        "command": container_command,
    }
    given: dict[str, Any] = {
        name: value for name, value in settings.items() if value != getattr(DataPlaneSettings, name)
    }
    serving: Literal["constant", "models"] = "constant" if constant else "models"
    with if_interrupted("no stand-in is left running"):
        try:
            cloud = start(STATE, account=fleet.account, region=fleet.region, detached=True, serving=serving, **given)
        except (RuntimeError, SettingsError) as error:
            fail(str(error))
    out.print(f"the stand-in answers at {cloud.endpoint_url}; to use it with boto3 or the AWS CLI:")
    for name, value in environment(cloud, fleet.account).items():
        out.print(f"  export {name}={value}")


@app.command("deploy")
def local_deploy(
    config: Fleet = _DEFAULT_FLEET,
    models: Annotated[Path | None, typer.Option(help="Models to publish first: <tenant>/<version>.ubj")] = None,
) -> None:
    """Deploy a fleet with the CDK CLI: bucket, models, then everything else. Run it again after each edit.

    Exit code 2 if it failed, 130 after Ctrl-C and 143 after SIGTERM, which leave the stand-in to end the stack update
    that it is in.
    """
    from local_cloud.cdk_cli import CdkError
    from local_cloud.fleet_deployment import deploy_fleet

    fleet = load_or_fail(config)
    left = "a stack update that had begun goes on in the stand-in (tierfleet local status); deploy again to complete it"
    try:
        cloud = running_standin()
        with if_interrupted(left), standin_or_fail(cloud):
            for line in deploy_fleet(cloud, fleet, config, models):
                out.print(escape(line))
    except (CdkError, ValueError) as error:
        fail(str(error))


@app.command("status")
def local_status(
    config: Fleet = _DEFAULT_FLEET,
    watching: Annotated[
        bool, typer.Option("--watch", help="Draw it again every second, until Ctrl-C or SIGTERM.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Endpoints, instances with their models, alarms and the deployed routes of a fleet in the stand-in."""
    from local_cloud.fleet_status import InstanceWatch, fleet_status

    cloud, fleet = running_standin(), load_or_fail(config)
    with standin_or_fail(cloud):
        if watching and not as_json:
            watch(cloud, fleet)
            return
        status, instances = fleet_status(cloud, fleet), InstanceWatch(cloud, fleet).look()
    if as_json:
        typer.echo(json.dumps(status.to_json(instances)))
    else:
        wide.print(fleet_screen(status, instances))


app.command("drive")(local_drive)


@app.command("events")
def local_events(
    since: Annotated[int, typer.Option(help="Leave out the events up to this number.")] = 0, as_json: Json = False
) -> None:
    """What happened in the stand-in, in order: endpoints, scaling, routes, clean-up."""
    cloud = running_standin()
    with standin_or_fail(cloud):
        events = [event for event in cloud.admin("events") if event["sequence"] > since]
    if as_json:
        typer.echo(json.dumps(events))
        return
    for event in events:
        out.print(escape(f"{event['sequence']:>5}  {event['action']:<28} {event['resource']}"))


@app.command("down")
def local_down() -> None:
    """Stop the stand-in, whether or not it answers, and remove everything it made: processes, port, files."""
    from local_cloud import NotRunningError, find

    try:
        find(STATE).stop()
    except NotRunningError as error:
        fail(str(error))
    out.print("stopped; nothing is left")
