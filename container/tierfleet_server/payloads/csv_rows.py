"""text/csv: numbers and commas, a row a line."""

import csv
import re
from array import array
from collections.abc import Iterator

from ..cost import Pace
from ..model.refusal import Refusal
from .rows import LONGEST_CELL, Blocks, Categories, Filling, cell, check_room, check_width, too_long
from .text import PIECE_BYTES, Pause, check_utf8, count, end_without, find

# A line of no more cells than this is read at once.
_SHORT = 4096
_ODD_PIECE_BYTES = 4096
# As many whole cells as possible, each with its comma; a comma in quotes ends no cell.
_CELLS = re.compile(rb'(?:(?:"(?:[^"]|"")*+"|[^",])[^,]*+,|,)*+')
_UNENDED = "row {} has a quote that does not end; close it on the same line"


def read(body: bytes, features: int, categories: Categories, pace: Pace) -> Blocks:
    """Blocks of rows; raises Refusal."""
    try:
        yield from check_utf8(body)
    except UnicodeDecodeError:
        raise Refusal(400, "the csv body is not UTF-8; send numbers separated by commas") from None
    stop = yield from end_without(body, b"\r\n")
    pace.rows_in_all = (yield from count(body, b"\n", 0, stop)) + 1
    check_room(pace.rows_in_all, features)
    filling = Filling(features, pace)
    at = 0
    plain = not categories and features <= _SHORT
    while at <= stop:
        if plain:
            at = filling.add_lines(body, at, stop)
            pace.read = at / len(body)
            block = filling.rest_if_full()
            if block is not None:
                yield block
                continue
            if at > stop:
                break
        # The compiled reader leaves this line to Python, and the next lines with it.
        piece = _ODD_PIECE_BYTES if plain else PIECE_BYTES
        end = stop if stop - at <= piece else body.rfind(b"\n", at, at + piece)
        lines: list[str | None]
        if end < 0 or features > _SHORT:
            end = yield from find(body, b"\n", at, stop)
            end = stop if end < 0 else end
            yield from _long_line(body, at, end, filling, categories)
            lines = [None]  # it is in its place
        else:
            lines = [*body[at:end].decode().split("\n")]
        for line in lines:
            if line is not None:
                _line(line.rstrip("\r"), filling, categories)
            block = filling.full()
            if block is not None:
                yield block
        at = end + 1
        pace.read = at / len(body)
    yield filling.rest()


def _line(line: str, filling: Filling, categories: Categories) -> None:
    row = filling.row
    if '"' in line:
        cells = _quoted(line, row)
        check_width(row, len(cells), filling.features)
    else:
        check_width(row, line.count(",") + 1, filling.features)
        cells = line.split(",")
    plain = "_" not in line and not categories and line.isascii()
    _put(cells, plain, filling, 0, categories)


def _quoted(line: str, row: int) -> list[str]:
    try:
        return next(csv.reader([line], strict=True)) or [""]
    except (csv.Error, StopIteration):
        raise Refusal(400, _UNENDED.format(row)) from None


def _put(cells: list[str], plain: bool, filling: Filling, column: int, categories: Categories) -> None:
    try:
        if not plain:
            raise ValueError
        filling.add(map(float, cells))
    except ValueError:
        row = filling.row
        filling.add([cell(text, row, column + at, categories) for at, text in enumerate(cells)])


def _long_line(body: bytes, start: int, stop: int, filling: Filling, categories: Categories) -> Pause:
    """One line piece by piece: first the number of its cells, then their values."""
    while stop > start and body[stop - 1 : stop] == b"\r":
        stop -= 1
    quoted = (yield from find(body, b'"', start, stop)) >= 0
    if quoted:
        width = 0
        for piece in _pieces(body, start, stop, filling.row, True):
            width += len(_quoted(piece, filling.row))
            yield
    else:
        width = (yield from count(body, b",", start, stop)) + 1
    check_width(filling.row, width, filling.features)
    column = 0
    for piece in _pieces(body, start, stop, filling.row, quoted):
        cells = _quoted(piece, filling.row) if quoted else piece.split(",")
        plain = "_" not in piece and not categories and piece.isascii()
        _put(cells, plain, filling, column, categories)
        column += len(cells)
        yield


def _pieces(body: bytes, start: int, stop: int, row: int, quoted: bool) -> Iterator[str]:
    """The line in pieces of whole cells, without the comma between two pieces."""
    at = start
    while stop - at > LONGEST_CELL:
        if quoted:
            match = _CELLS.match(body, at, at + LONGEST_CELL)
            end = match.end() if match else at
        else:
            end = body.rfind(b",", at, at + LONGEST_CELL) + 1
        if end <= at:
            raise Refusal(400, _UNENDED.format(row)) if quoted else too_long(row, body.count(b",", start, at))
        yield body[at : end - 1].decode()
        at = end
    yield body[at:stop].decode()


def one_plain_row(body: bytes, features: int) -> "array[float] | None":
    """One plain row, fast; None for any other body."""
    cells = body.split(b",")
    # `float` would skip a line break between two cells.
    if len(cells) != features or b"_" in body or 0 <= body.find(b"\n") < len(body) - 1:
        return None
    try:
        values = array("f", map(float, cells))
    except (ValueError, OverflowError):
        return None
    total = sum(values)
    if total - total != 0.0:  # true only of NaN and infinity
        return None
    return values
