"""Makes output printable on every terminal, and turns an OSError into a sentence instead of a traceback."""

import codecs
import io
import sys

# ASCII forms of the characters in tables, bars and arrows. Any other unprintable character becomes a question mark.
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
    """Let standard output and error print every text in the encoding of the terminal."""
    codecs.register_error("tierfleet", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="tierfleet")


def problem(error: OSError) -> int:
    """Print the error as one sentence and return exit code 2."""
    reason = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    print(f"error: {where}{reason[:1].lower()}{reason[1:]}; check the path and its permissions", file=sys.stderr)
    return 2


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_ASCII.get(character, "?") for character in error.object[error.start : error.end]), error.end
