"""The stand-in that runs on this machine, as every command finds it."""

from pathlib import Path
from typing import TYPE_CHECKING

from tierfleet.cli.console import fail

if TYPE_CHECKING:
    from local_cloud import LocalCloud

STATE = Path(".local-cloud")


def running_standin() -> "LocalCloud":
    """The stand-in of this directory; ends the command where none runs."""
    from local_cloud import NotRunningError, running

    try:
        return running(STATE)
    except NotRunningError as error:
        fail(f"{error}; start it with tierfleet local up")
