"""Reads a UBJSON document's outline without copying its arrays, and never past its end.

XGBoost's own reader trusts the lengths in the file, and a damaged length ends the process with every model. So each
file is walked here first.
"""

import mmap
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .refusal import shown

Bytes = bytes | mmap.mmap
# Reads one object in an array quickly: its value and end, or None to have it read member by member.
Shortcut = Callable[[Bytes, int], tuple[Any, int] | None]

_MAX_DEPTH = 32
# How many values a document may hold outside of typed arrays: XGBoost writes no more than one in some 25 bytes, and a
# Python object takes up to 30 times as much memory as the byte or two that hostile ones need. Objects and arrays count
# four times.
_FREE_VALUES, _BYTES_PER_VALUE, _CONTAINER_VALUES = 4096, 10, 4
_SIZES = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8, b"d": 4, b"D": 8}
_NUMBERS = {
    marker: struct.Struct(form)
    for marker, form in zip(b"iUIlLdD", (">b", ">B", ">h", ">i", ">q", ">f", ">d"), strict=True)
}
_CONSTANTS = {0x54: True, 0x46: False, 0x5A: None}  # T F Z
_LENGTHS = {marker: _NUMBERS[marker] for marker in b"iUIlL"}
_DTYPES = {b"i": "i1", b"U": "u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}


class UbjError(ValueError):
    """The bytes are not one complete UBJSON document."""


class TypedArray(NamedTuple):
    """An array of numbers of one type, still in the file: `kind` is the UBJSON marker, `offset` in bytes."""

    kind: bytes
    offset: int
    length: int

    def read(self, data: Bytes) -> npt.NDArray[Any]:
        """The numbers, big-endian as in the file."""
        return np.frombuffer(data, _DTYPES[self.kind], self.length, self.offset)


class _Budget:
    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, values: int) -> None:
        self.left -= values
        if self.left < 0:
            raise UbjError("it holds far more values than a model of its size")


def outline(data: Bytes, shortcut: Shortcut = lambda _data, _at: None) -> dict[str, Any]:
    """The document as dicts, lists, scalars and TypedArray; raises UbjError if it is damaged."""
    if data[:1] != b"{":
        raise UbjError("it does not begin with an object")
    try:
        budget = _Budget(_FREE_VALUES + len(data) // _BYTES_PER_VALUE)
        document, end = _object(data, 1, 0, shortcut, budget)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise UbjError("it ends too early or a length in it is wrong") from None
    if end != len(data):
        raise UbjError(f"{len(data) - end} bytes follow its end")
    return document


def _object(data: Bytes, at: int, depth: int, shortcut: Shortcut, budget: _Budget) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    budget.spend(_CONTAINER_VALUES)
    while data[at] != 0x7D:  # }
        key, at = _text(data, at)
        if key in members:
            raise UbjError(f"{shown(key)} occurs twice in one object")
        budget.spend(1)
        members[key], at = _value(data, at, depth + 1, shortcut, budget)
    return members, at + 1


def _value(data: Bytes, at: int, depth: int, shortcut: Shortcut, budget: _Budget) -> tuple[Any, int]:
    if depth > _MAX_DEPTH:
        raise UbjError(f"it is nested deeper than {_MAX_DEPTH}")
    marker = data[at]
    if marker == 0x53:  # S
        return _text(data, at + 1)
    if marker == 0x7B:  # {
        return _object(data, at + 1, depth, shortcut, budget)
    if marker == 0x5B:  # [
        return _array(data, at + 1, depth, shortcut, budget)
    number = _NUMBERS.get(marker)
    if number is not None:
        return number.unpack_from(data, at + 1)[0], at + 1 + number.size
    if marker in _CONSTANTS:
        return _CONSTANTS[marker], at + 1
    raise UbjError(f"byte {at} is {data[at : at + 1]!r}, which begins no value")


def _array(data: Bytes, at: int, depth: int, shortcut: Shortcut, budget: _Budget) -> tuple[Any, int]:
    if data[at] == 0x24:  # $
        kind = data[at + 1 : at + 2]
        if kind not in _SIZES or data[at + 2] != 0x23:  # #
            raise UbjError(f"byte {at} begins an array of an unknown type")
        count, at = _length(data, at + 3)
        end = at + count * _SIZES[kind]
        if end > len(data):
            raise UbjError("an array is longer than the file")
        return TypedArray(kind, at, count), end
    items: list[Any] = []
    budget.spend(_CONTAINER_VALUES)
    counted = data[at] == 0x23
    count, at = _length(data, at + 1) if counted else (len(data), at)
    while len(items) < count and (counted or data[at] != 0x5D):  # ]
        budget.left -= 1
        if budget.left < 0:
            budget.spend(1)
        number = _NUMBERS.get(data[at])
        if number is not None:
            items.append(number.unpack_from(data, at + 1)[0])
            at += 1 + number.size
            continue
        shortened = shortcut(data, at) if data[at] == 0x7B else None
        item, at = shortened or _value(data, at, depth + 1, shortcut, budget)
        items.append(item)
    return items, at if counted else at + 1


def _text(data: Bytes, at: int) -> tuple[str, int]:
    count, at = _length(data, at)
    if at + count > len(data):
        raise UbjError("a text is longer than the file")
    return data[at : at + count].decode(), at + count


def _length(data: Bytes, at: int) -> tuple[int, int]:
    number = _LENGTHS.get(data[at])
    if number is None:
        raise UbjError(f"byte {at} is {data[at : at + 1]!r}, not a length")
    count = number.unpack_from(data, at + 1)[0]
    if count < 0:
        raise UbjError(f"the length at byte {at} is negative")
    return count, at + 1 + number.size
