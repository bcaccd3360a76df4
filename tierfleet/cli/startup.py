"""Ctrl-C while the commands are still imported, which takes a second: exit code 130, and no traceback."""

import os
import signal
import sys
from pathlib import Path


def finish() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, as usual."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: object) -> None:
    # Nothing has started yet that needs to be ended; a KeyboardInterrupt could come out of an import as another error.
    os._exit(128 + signal.SIGINT)


# Only for the command itself, where the signal is not ignored: whoever imports the package keeps its own handler.
if Path(sys.argv[0]).stem == "tierfleet" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
