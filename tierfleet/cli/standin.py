"""The stand-in that runs on this machine, as every command finds it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError

from botocore import exceptions

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


@contextmanager
def standin_or_fail() -> Iterator[None]:
    """A stand-in that goes away meanwhile ends the command with a sentence."""
    try:
        yield
    except HTTPError:
        raise  # it answered
    except (URLError, ConnectionError, TimeoutError, exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        fail(f"the stand-in does not answer any more ({error}); start it with tierfleet local up")
