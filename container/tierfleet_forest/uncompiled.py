"""The names of the compiled part, for installations where it was not built."""

import os
from typing import NoReturn


class ForestError(ValueError):
    """No forest can be read without the compiled part."""


class Forest:
    """A placeholder that is never instantiated."""


def load(file: str | os.PathLike[str] | int, /, *, work_us: int = 0) -> NoReturn:  # noqa: ARG001
    """Raise ForestError."""
    raise _error(file)


def loads(data: bytes | bytearray | memoryview, /) -> NoReturn:
    """Raise ForestError."""
    raise _error(f"a forest of {len(data)} bytes")


def csv_rows(_body: bytes, start: int, _stop: int, _features: int, _out: object, /) -> tuple[int, int]:
    """Read no row. The caller then reads every row itself."""
    return 0, start


def csv_text(numbers: list[float], columns: int, /) -> bytes:
    """Lines of numbers, formatted as repr() does."""
    lines = (numbers[at : at + columns] for at in range(0, len(numbers), columns))
    return "\n".join(",".join(map(repr, line)) for line in lines).encode()


def _error(what: object) -> ForestError:
    return ForestError(
        f"{what} cannot be read: the compiled part of tierfleet_forest is missing; see unavailable_reason"
    )
