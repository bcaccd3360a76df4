"""Reads fleet files and tenant lists. No file, however odd, ends in a traceback or keeps the command waiting."""

import codecs
import math
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any

from tierfleet.config.problems import Problem

# A route document may have 2 MiB; a fleet file that makes one has less than this, comments included.
MAX_FILE_BYTES = 8 * 1024 * 1024
# The deepest table of a fleet file is tiers.<tier>.scaling.schedules.<name>.
MAX_DEPTH = 16
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "UTF-8 with a byte-order mark (BOM)"),
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# Control characters except tab and line ends, byte-order marks and noncharacters: no AWS API takes them.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
# What would not stay the text that it is: a reference to the CDK's own values, which ends in a traceback, and a dynamic
# reference (docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html).
_REFERENCES = {
    "${Token[": "which the CDK reads as a reference to its own values",
    "{{resolve:": "which CloudFormation replaces by a parameter or secret of the account",
}


class FileError(Exception):
    """A file cannot be read; `message` says why, `fix` what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message, self.fix = message, fix


def shown_path(path: Path) -> str:
    """The path as text that every terminal and JSON accept, whatever its bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def fleet_files(path: Path) -> list[Path]:
    """The `*.toml` of a directory, in name order, or the file itself. Raises FileError for an empty directory."""
    try:
        if not path.is_dir():
            return [path]
        files = sorted(file for file in path.iterdir() if file.name.endswith(".toml"))
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})", "check the path and its permissions") from error
    if not files:
        raise FileError("holds no fleet files (*.toml)", "name a directory with fleet files, or a file")
    return files


def read_text(path: Path) -> str:
    """The text of a UTF-8 file. Raises FileError for anything but a readable regular text file."""
    try:
        # A pipe or device would keep the reader waiting.
        if not stat.S_ISREG(mode := path.stat().st_mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise FileError(f"cannot be read: it is {kind}", "name a file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileError(f"cannot be read ({reason})", "check the path") from error
    if len(content) > MAX_FILE_BYTES:
        raise FileError(f"has more than {MAX_FILE_BYTES:,} bytes", "shorten it")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            raise FileError(f"cannot be read: it is {encoding}", "save it as UTF-8 without a byte-order mark")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"cannot be read: line {line} is not UTF-8 (byte {content[error.start]:#04x})"
        raise FileError(message, "save it as UTF-8") from error


def read_toml(path: Path) -> dict[str, Any]:
    """The document of a TOML file. Raises FileError for a file that is not TOML."""
    text = read_text(path)
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise FileError("is not valid TOML: brackets nest too deep", "remove the brackets") from None
    except ValueError as error:
        # A number of thousands of digits is a plain ValueError.
        raise FileError(f"is not valid TOML: {error}", "correct the line") from error
    if _deeper_than(document, MAX_DEPTH):
        raise FileError(
            f"is not valid TOML for a fleet: tables nest deeper than {MAX_DEPTH} levels", "remove the inner tables"
        )
    return document


def read_lines(path: Path) -> list[str]:
    """The lines of a list, without comments and empty lines. Raises FileError as `read_text`."""
    lines = (line.partition("#")[0].strip() for line in read_text(path).splitlines())
    return [line for line in lines if line]


def unfit_texts(document: Any, where: tuple[str, ...] = ()) -> Iterator[Problem]:
    """A problem for each text, key or value, with a character that AWS does not take."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        for text in (key, value):
            if isinstance(text, str) and (unfit := _NO_TEXT.search(text)):
                name = "a byte-order mark" if unfit[0] == "\ufeff" else "a control character"
                message = f"holds {name} (U+{ord(unfit[0]):04X}), which AWS does not accept"
                yield Problem(".".join(where), str(key), value, message, "remove the character")
                break
            reference = next((start for start in _REFERENCES if isinstance(text, str) and start in text), None)
            if reference is not None:
                message = f"holds {reference}, {_REFERENCES[reference]}"
                yield Problem(".".join(where), str(key), value, message, "write it in another way")
                break
        if isinstance(value, dict | list):
            yield from unfit_texts(value, (*where, str(key)))


def plain(value: Any) -> Any:
    """A TOML value as JSON accepts it."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > 1024:
        return f"a number of {value.bit_length()} bits"
    return value


def with_tuples(value: Any) -> Any:
    """The document with its lists as tuples, as the strict models need them."""
    if isinstance(value, dict):
        return {key: with_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(with_tuples(item) for item in value)
    return value


def _deeper_than(document: Any, most: int) -> bool:
    """No recursion, since a deep document would break it."""
    level = [document]
    for _ in range(most):
        level = [
            item
            for table in level
            for item in (table.values() if isinstance(table, dict) else table)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True
