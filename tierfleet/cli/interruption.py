"""How a command ends that Ctrl-C interrupts: a last line that says what it leaves behind, and exit code 130."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.markup import escape

from tierfleet.cli.console import err


@contextmanager
def if_interrupted(sentence: str) -> Iterator[None]:
    """What is left, and what to do, should Ctrl-C come in here."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(f"interrupted; {escape(sentence)}")
        raise typer.Exit(130) from None
