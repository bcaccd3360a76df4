"""How every command prints, and how it ends when it cannot go on."""

from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

out = Console(soft_wrap=True, highlight=False)
# For tables: a pipe has no width of its own, and 80 columns would cut names off.
wide = out if out.is_terminal else Console(width=120, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def fail(message: str) -> NoReturn:
    """Print one error and end with exit code 2."""
    err.print(f"[bold red]error[/]: {escape(message)}")
    raise typer.Exit(2)
