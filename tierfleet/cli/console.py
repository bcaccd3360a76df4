"""How every command prints, and how it ends on an error."""

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

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
    """Print the output of --json with the standard indentation. Types that JSON does not know become strings."""
    typer.echo(json.dumps(data, indent=2, default=str))


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


@contextmanager
def planning_or_fail() -> Iterator[None]:
    """End the command with one error and exit code 2 for invalid input, an unusable file or a missing package."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed; the planner needs: pip install 'tierfleet[planning]'")
    except (ValueError, OSError, RuntimeError) as error:
        if _is_ctrl_c(error):
            raise KeyboardInterrupt from error
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
