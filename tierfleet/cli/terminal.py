"""What every command owes a terminal: text that it can show, and a sentence instead of a traceback."""

import codecs
import io
import sys

# The characters of our tables, bars and arrows in ASCII; every other one that cannot be shown is a question mark.
_IN_ASCII = {
    "█": "#",
    "░": ".",
    "▏": "|",
    "→": "->",
    "…": "...",
    "─": "-",
    "━": "-",
    "╸": "-",
    "╺": "-",
    "│": "|",
}


def make_printable() -> None:
    """Let standard output and error print any text in the terminal's own encoding, whatever that is."""
    codecs.register_error("tierfleet", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="tierfleet")


def problem(error: OSError) -> int:
    """Print what a file or the system refused as one sentence; returns the exit code 2."""
    reason = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    print(f"error: {where}{reason[:1].lower()}{reason[1:]}; check the path and its permissions", file=sys.stderr)
    return 2


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_ASCII.get(character, "?") for character in error.object[error.start : error.end]), error.end
