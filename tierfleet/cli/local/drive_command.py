"""`tierfleet local drive`: traffic of the fleet's own shape, and what its callers see."""

from typing import Annotated

import typer

from tierfleet.cli.console import Json, err, fail, load_or_fail, print_json, wide
from tierfleet.cli.emulator import emulator_or_fail, running_emulator
from tierfleet.cli.fleet_file import ConfigOption, LocalFile, local_file
from tierfleet.cli.interruption import exit_code, if_interrupted
from tierfleet.cli.local.screen import fleet_screen
from tierfleet.cli.local.watch import watch_drive


def local_drive(
    file: LocalFile = None,
    config: ConfigOption = None,
    requests_per_second: Annotated[float, typer.Option(min=0.1, max=500, help="The mean rate of all calls.")] = 40,
    seconds: Annotated[float, typer.Option(min=1, help="How long to call; Ctrl-C stops earlier.")] = 30,
    seed: Annotated[int, typer.Option(help="The random seed: another seed calls other tenants at other times.")] = 0,
    as_json: Json = False,
) -> None:
    """Call a fleet in the local emulator: 80 % dedicated tenants, 19 % tenants on warm-up lists, 1 % others.

    A tenant of each tier is called first. Every call sends the probe row by FleetClient. Exit code 1 if one was not
    answered, else 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP, which end it early: the calls under way are
    waited for.
    """
    from tierfleet.local.drive import drive
    from tierfleet.local.status import FleetStatus, InstanceWatch, fleet_status

    cloud = running_emulator()
    fleet = load_or_fail(local_file(file, config))
    try:
        watch = InstanceWatch(cloud, fleet)
        with emulator_or_fail(cloud):
            watch.look()
        with if_interrupted("no call was sent"), emulator_or_fail(cloud), drive(cloud, fleet) as driving:
            driven, interrupt = watch_drive(
                cloud, fleet, driving, requests_per_second=requests_per_second, seconds=seconds, seed=seed
            )
    except ValueError as error:
        fail(str(error))
    if as_json:
        print_json(driven.to_json())
    else:
        try:
            with emulator_or_fail(cloud):
                screen = fleet_screen(fleet_status(cloud, fleet), watch.look(), driven)
        except typer.Exit:
            wide.print(fleet_screen(FleetStatus({}, (), (), {}), (), driven))
            raise
        wide.print(screen)
        if interrupt is not None:
            err.print(f"interrupted after {driven.seconds:.0f} of {seconds:.0f} s")
    if driven.failed:
        raise typer.Exit(1)
    if interrupt is not None:
        raise typer.Exit(exit_code(interrupt))
