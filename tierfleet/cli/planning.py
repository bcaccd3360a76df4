"""How the commands of `tierfleet plan` end when the planner refuses."""

from collections.abc import Iterator
from contextlib import contextmanager

from tierfleet.cli.console import fail


@contextmanager
def planning_or_fail() -> Iterator[None]:
    """Bad input, a file that cannot be used, or a missing package ends the command with one error and exit code 2."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed; the planner needs: pip install 'tierfleet[planning]'")
    except (ValueError, OSError) as error:
        fail(str(error))
