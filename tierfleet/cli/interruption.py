"""Ends a command after a signal, with a line that says what is left and exit code 128 + signal.

Ctrl-C (SIGINT): 130, SIGTERM: 143, SIGHUP: 129. A signal that the parent process ignores, as nohup ignores SIGHUP,
stays ignored.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer
from rich.markup import escape

from tierfleet.cli.console import err

_LIKE_CTRL_C = (signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Raised for SIGTERM and SIGHUP, as KeyboardInterrupt for Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """128 + the number of the signal."""
    return 128 + (interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT)


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raise Interrupted for SIGTERM and SIGHUP, as Python raises KeyboardInterrupt for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows signal handlers in the main thread only
        return

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.getsignal(number) for number in _LIKE_CTRL_C}
    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            # Restored, since tests and other programs call commands in their own process.
            signal.signal(number, handler)


@contextmanager
def if_interrupted(sentence: str) -> Iterator[None]:
    """On Ctrl-C, SIGTERM or SIGHUP print this sentence, what is left and what to do, and end the command."""
    try:
        with signals_raised():
            yield
    except KeyboardInterrupt as interrupt:
        err.print(f"interrupted; {escape(sentence)}")
        raise typer.Exit(exit_code(interrupt)) from None
