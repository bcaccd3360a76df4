"""How every command prints, and how it ends on an error."""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from tierfleet.config import CheckedFile, ConfigError, FleetConfig, check_file

out = Console(soft_wrap=True, highlight=False)
# For tables: a pipe has no width, and 80 columns would truncate names.
wide = Console(width=None if out.is_terminal or "COLUMNS" in os.environ else 120, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
_STYLE: Final = {"error": "bold red", "warning": "yellow", "note": "dim"}


def columns(console: Console = out) -> int | None:
    """The terminal's width, or COLUMNS; None if the output is not a terminal."""
    return shutil.get_terminal_size().columns if console.is_terminal or "COLUMNS" in os.environ else None


def print_json(data: object) -> None:
    """Print the output of --json with the standard indentation.

    Infinity and NaN become null, and types that JSON does not know strings.
    """
    typer.echo(json_text(data))


def say(
    severity: Literal["error", "warning", "note"], message: str, *, check: str | None = None, console: Console = err
) -> None:
    """Print one problem, on a terminal wrapped between words. check: the name of the check that found it."""
    found_by = f" [dim]({escape(check)})[/]" if check else ""
    console.print(f"[{_STYLE[severity]}]{severity}[/]: {escape(message)}{found_by}", soft_wrap=columns(console) is None)


def fail(message: str) -> NoReturn:
    """Print one error and end with exit code 2."""
    say("error", message)
    raise typer.Exit(2)


def load_or_fail(file: Path) -> FleetConfig:
    """The fleet of a file. An unusable one ends the command with exit code 2, its errors on stderr."""
    [config] = load_all_or_fail([file])
    return config


def load_all_or_fail(files: Sequence[Path], told: Callable[[str], str] = str) -> list[FleetConfig]:
    """The fleets of all files. Unusable ones end the command with exit code 2, the errors of all of them on stderr.

    told: an error as it is printed, where its file is a temporary copy.
    """
    checked = [check_file(file) for file in files]
    for file in checked:
        if file.config is None:
            print_problems(err, file, told)
    if not all(file.config for file in checked):
        raise typer.Exit(2)
    return [file.config for file in checked if file.config]


def print_problems(console: Console, file: CheckedFile, told: Callable[[str], str] = str) -> None:
    """Every problem of a file, one a line; told: as in `load_all_or_fail`."""
    for problem in file.problems:
        say(problem.severity, told(str(problem).partition(": ")[2]), console=console)


@contextmanager
def planning_or_fail() -> Iterator[None]:
    """End the command with one error and exit code 2 for invalid input, an unusable file or a missing package."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed; the planner needs: pip install 'tierfleet[planning]'")
    except ConfigError as error:
        for problem in error.problems:
            say(problem.severity, str(problem).partition(": ")[2])
        raise typer.Exit(2) from None
    except (ValueError, OSError, RuntimeError) as error:
        if _is_ctrl_c(error):
            raise KeyboardInterrupt from error
        # RuntimeError is caught for Ctrl-C alone. Any other one is a bug, which needs its traceback.
        if isinstance(error, RuntimeError):
            raise
        fail(str(error))


def _is_ctrl_c(error: Exception) -> bool:
    """DuckDB and the creation of a class turn Ctrl-C into an error of their own."""
    if isinstance(error.__cause__, KeyboardInterrupt):
        return True
    return any(
        str(part).lower().startswith(("query interrupted", "interrupt error")) for part in (error, error.__cause__)
    )


def json_text(value: Any) -> str:
    """JSON with the standard indentation. Infinity and NaN become null, which JSON does not have."""
    return json.dumps(_finite(value), default=str, allow_nan=False, indent=2)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
