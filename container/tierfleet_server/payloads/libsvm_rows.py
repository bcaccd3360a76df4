"""text/libsvm: `[label] column:value ...`, a row a line, columns from 0 or 1, absent ones missing."""

import math
from array import array
from collections.abc import Generator

from ..cost import Pace
from ..model.refusal import Refusal, shown
from .rows import LONGEST_CELL, Blocks, Categories, Filling, check_room, number, refuse_categories
from .text import PIECE_BYTES, count

_SPACE = b" \t\r\x0b\x0c"  # besides the end of a line


def read(body: bytes, features: int, categories: Categories, pace: Pace, base: int = 0) -> Blocks:
    """Blocks of rows; `base` is the number of the first column, 0 or 1. Raises Refusal."""
    refuse_categories("text/libsvm", categories)
    at_most = (yield from count(body, b"\n", 0, len(body))) + 1
    pace.rows_in_all = 1 if at_most == 1 else (yield from _rows(body))
    check_room(pace.rows_in_all, features)
    filling = Filling(features, pace)
    missing = array("f", (math.nan,)) * features
    values = missing[:]
    seen: set[int] = set()
    begun = False  # a line comes in several pieces if it is long
    at = 0
    while at < len(body):
        end, stop = _piece(body, at, filling.row)
        pace.read = stop / len(body)
        lines = body[at:end].split(b"\n")
        for place, line in enumerate(lines):
            tokens = line.split()
            if tokens:
                if not begun and b":" not in tokens[0]:
                    _check_label(tokens.pop(0), filling.row)
                _put(tokens, values, filling.row, seen, base)
                begun = True
            ended = place < len(lines) - 1 or stop >= len(body) or body[end : end + 1] == b"\n"
            if ended and begun:
                seen.clear()
                begun = False
                filling.add(values)
                values = missing[:]
                block = filling.full()
                if block is not None:
                    yield block
        at = stop
        yield None
    yield filling.rest()


def _piece(body: bytes, at: int, row: int) -> tuple[int, int]:
    """Where a piece of whole tokens that begins at `at` ends, and where the next one begins."""
    limit = at + PIECE_BYTES
    if limit >= len(body):
        return len(body), len(body)
    end = body.rfind(b"\n", at, limit)
    if end < 0:
        end = max(body.rfind(bytes((space,)), at, limit) for space in _SPACE)
    if end < 0:
        raise Refusal(400, f"row {row} has a word of more than {LONGEST_CELL} characters; libsvm is `column:value ...`")
    return end, end + 1


def _check_label(token: bytes, row: int) -> None:
    """Raise Refusal for a label that is no number: it would be a row of another format, or a csv row."""
    try:
        float(token)
    except ValueError:
        raise Refusal(
            400, f"row {row} begins with {shown(_text(token))}; libsvm is `[label] column:value ...`"
        ) from None


def _put(pairs: list[bytes], values: "array[float]", row: int, seen: set[int], base: int) -> None:
    features = len(values)
    for token in pairs:
        index, colon, value = token.partition(b":")
        if index == b"qid":
            continue
        if not colon or not index.isdigit():
            raise Refusal(400, f"row {row} holds {shown(_text(token))}; libsvm is `[label] column:value ...`")
        column = int(index) - base if len(index) < 12 else features
        if not 0 <= column < features:
            counted = (
                "; if you count from 1, package it with --libsvm-base 1" if column == features and not base else ""
            )
            raise Refusal(
                400,
                f"row {row} sets column {shown(_text(index))}; the model has columns {base} to "
                f"{features - 1 + base}{counted}",
            )
        if column in seen:
            raise Refusal(400, f"row {row} sets column {column + base} twice; set it once")
        seen.add(column)
        values[column] = number(_text(value), row, column)


def _rows(body: bytes) -> Generator[None, None, int]:
    """Lines that are not blank."""
    rows, at, blank = 0, 0, True
    while at < len(body):
        lines = body[at : at + PIECE_BYTES].split(b"\n")
        for place, line in enumerate(lines):
            if place:
                blank = True
            if blank and line.strip():
                rows, blank = rows + 1, False
        at += PIECE_BYTES
        yield None
    return rows


def _text(token: bytes) -> str:
    return token.decode("ascii", "replace")
