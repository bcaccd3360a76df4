"""Rows between a body and a model: blocks of float32, and the refusals of all content types."""

import math
from array import array
from collections.abc import Generator, Iterable, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tierfleet_forest import csv_rows

from ..cost import Pace
from ..model.refusal import Refusal, shown

# A short libsvm body may mean many empty columns.
MAX_DENSE_BYTES = 64 * 1024 * 1024
LONGEST_CELL = 64 * 1024
_NAMED = 40  # categories, more than fit into a message
Categories = Mapping[int, Mapping[str, float]]
Matrix = npt.NDArray[np.float32]


class Block(NamedTuple):
    """Rows `first` and following. A block that starts at row 0 replaces all earlier ones."""

    first: int
    matrix: Matrix


Blocks = Generator[Block | None, None, None]


class Filling:
    """The current block: values are added to the row `row` until `full` returns the block."""

    __slots__ = ("_first", "_pace", "_rows", "_values", "features", "row")

    def __init__(self, features: int, pace: Pace) -> None:
        self.features, self._pace = features, pace
        self.row = self._first = 0
        self._rows = pace.rows
        self._values = array("f")

    def add(self, values: Iterable[float]) -> None:
        """Add values to the row; raises ValueError and adds none of them if one is not a number."""
        before = len(self._values)
        try:
            self._values.extend(values)
        except ValueError:
            del self._values[before:]
            raise

    def add_lines(self, body: bytes, start: int, stop: int) -> int:
        """Read rows of csv from body[start] on with the compiled reader; returns where the next line begins.

        It stops at the end of the block, and before a line that is not plain numbers.
        """
        # A row has a byte at least for each value: its comma or the end of its line.
        most = min(self._rows - (self.row - self._first), (stop - start) // self.features + 1)
        out = np.empty(most * self.features, np.float32)
        rows, start = csv_rows(body, start, stop, self.features, out)
        self._values.frombytes(out[: rows * self.features].view(np.uint8).data)
        self.row += rows
        return start

    def full(self) -> Block | None:
        """Finish the row; returns the block if it was its last row."""
        self.row += 1
        return self.rest_if_full()

    def rest_if_full(self) -> Block | None:
        """The block, if it has all its rows."""
        return self.rest() if self.row - self._first == self._rows else None

    def rest(self) -> Block | None:
        """The rows so far as a block, if there are any; starts the next block."""
        rows = self.row - self._first
        if not rows:
            return None
        block = Block(self._first, np.frombuffer(self._values, np.float32).reshape(rows, self.features))
        self._first, self._rows, self._values = self.row, self._pace.rows, array("f")
        return block


def check_room(rows: int, width: int) -> None:
    """Raise Refusal (413) for more rows than one request may have."""
    if rows * width * 4 > MAX_DENSE_BYTES:
        raise Refusal(
            413,
            f"{rows} rows of {width} features are more than {MAX_DENSE_BYTES} bytes; send smaller batches",
        )


def check_width(row: int, got: int, features: int) -> None:
    """Raise Refusal (400) for a row of another width than the model's."""
    if got != features:
        raise Refusal(400, f"row {row} has {shown(got)} features; the model has {features}")


def cell(text: str, row: int, column: int, categories: Categories) -> float:
    """The value of a cell that is text; NaN if it is empty."""
    text = text.strip()
    if not text:
        return math.nan
    if column in categories:
        return code(text, row, column, categories[column])
    return number(text, row, column)


def number(text: str, row: int, column: int) -> float:
    """A number that is text; raises Refusal (400)."""
    try:
        if "_" in text or not text.isascii():
            raise ValueError
        return float(text)
    except ValueError:
        raise Refusal(
            400,
            f"row {row}, feature {column} is {shown(text)}, not a number; leave it empty if it is missing",
        ) from None


def code(text: object, row: int, column: int, codes: Mapping[str, float]) -> float:
    """The code of a category; raises Refusal (400)."""
    if not isinstance(text, str) or text not in codes:
        raise Refusal(
            400, f"row {row}, feature {column} is {shown(text)}, not one of its {len(codes)} categories "
            f"({shown([name[:80] for name in islice(codes, _NAMED)])}); leave it empty if it is missing",
        )  # fmt: skip
    return codes[text]


def refuse_categories(content_type: str, categories: Categories) -> None:
    """Raise Refusal (415) if the model needs texts and the content type has none."""
    if categories:
        raise Refusal(
            415, f"{content_type} holds only numbers and this model maps texts to categories; "
            "send text/csv or application/json",
        )  # fmt: skip


def too_long(row: int, column: int) -> Refusal:
    """The refusal of a cell that is too long for a number."""
    return Refusal(400, f"row {row}, feature {column} has more than {LONGEST_CELL} characters; send a number")
