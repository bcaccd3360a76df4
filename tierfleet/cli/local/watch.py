"""`tierfleet local status --watch` and `tierfleet local drive`: what goes on, drawn again and again."""

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import typer
from rich.console import RenderableType
from rich.live import Live

from tierfleet.cli.console import out, wide
from tierfleet.cli.interruption import signals_raised
from tierfleet.cli.local.screen import fleet_screen

if TYPE_CHECKING:
    from local_cloud import LocalCloud
    from tierfleet.config import FleetConfig
    from tierfleet.local.drive import Drive, DriveSummary
    from tierfleet.local.status import InstanceWatch

_DRAWN_EVERY_SECONDS = 1.0


def watch(cloud: "LocalCloud", fleet: "FleetConfig") -> None:
    """Draw the fleet every second until Ctrl-C or SIGTERM; once if the output is not a terminal."""
    from tierfleet.local.status import ErrorWatch, InstanceWatch, fleet_status

    instances, errors = InstanceWatch(cloud, fleet), ErrorWatch(cloud, fleet)

    def screen() -> RenderableType:
        return fleet_screen(fleet_status(cloud, fleet), instances.look(), errors=errors.look())

    if not out.is_terminal:
        wide.print(screen())
        return
    try:
        with signals_raised(), Live(console=out, screen=True, auto_refresh=False) as live:
            while True:
                live.update(screen(), refresh=True)
                time.sleep(_DRAWN_EVERY_SECONDS)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def watch_drive(
    cloud: "LocalCloud",
    fleet: "FleetConfig",
    driving: "Drive",
    *,
    requests_per_second: float,
    seconds: float,
    seed: int,
) -> "tuple[DriveSummary, KeyboardInterrupt | None]":
    """Drive for that long, drawing the fleet on a terminal. Returns what callers saw, and what ended it early.

    Ctrl-C and SIGTERM do, and the calls under way are waited for; a second one ends that too.
    """
    from tierfleet.local.status import InstanceWatch

    instances = InstanceWatch(cloud, fleet)
    runner = threading.Thread(
        target=driving.run,
        kwargs={"requests_per_second": requests_per_second, "seconds": seconds, "seed": seed},
        daemon=True,
    )
    runner.start()
    interrupt: KeyboardInterrupt | None = None
    try:
        if out.is_terminal:
            with Live(console=out, auto_refresh=False, transient=True) as live:
                while runner.is_alive():
                    live.update(_screen(cloud, fleet, instances, driving), refresh=True)
                    runner.join(_DRAWN_EVERY_SECONDS)
        runner.join()
    except KeyboardInterrupt as first:
        interrupt = first
        driving.stop()
        with suppress(KeyboardInterrupt):
            runner.join()
    finally:
        driving.stop()
    return driving.summary(), interrupt


def _screen(cloud: "LocalCloud", fleet: "FleetConfig", instances: "InstanceWatch", driving: "Drive") -> RenderableType:
    from tierfleet.local.status import fleet_status

    return fleet_screen(fleet_status(cloud, fleet), instances.look(), driving.summary())
