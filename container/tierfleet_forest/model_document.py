"""Reads an XGBoost model file, UBJ or JSON, as one document of dicts, lists and NumPy arrays.

A length that leads beyond the file's end is refused. `xgboost_model` checks whether the document is a model.
"""

import json
import struct
from typing import Any

import numpy as np

from .layout import MAGIC
from .tree_model import ConvertError, Numbers

Document = dict[str, Any]
_MAX_DEPTH = 32
_NUMBERS = {
    ord(marker): struct.Struct(form)
    for marker, form in (("i", ">b"), ("U", ">B"), ("I", ">h"), ("l", ">i"), ("L", ">q"), ("d", ">f"), ("D", ">d"))
}
_LENGTHS = {marker: _NUMBERS[marker] for marker in b"iUIlL"}
_DTYPES = {ord(m): np.dtype(d) for m, d in zip("iUIlLdD", ("i1", "u1", ">i2", ">i4", ">i8", ">f4", ">f8"), strict=True)}
_CONSTANTS = {ord("T"): True, ord("F"): False, ord("Z"): None}


def read_document(data: bytes) -> Document:
    """The document of a UBJ or JSON model. Raises ConvertError if the data is neither, or is damaged."""
    if data[:1] != b"{":
        what, how = f"begins with {data[:8]!r}, which is neither UBJ nor JSON", "save it"
        if data.startswith(MAGIC):
            raise ConvertError("the file is a flat forest already; give the model that it was made from")
        if data[:4] == b"binf":
            what, how = "is in XGBoost's old binary format", "load it in XGBoost 1.6 to 3.0 and save it"
        raise ConvertError(f"the model file {what}; {how} with Booster.save_model('model.ubj')")
    if is_json(data):
        return _json(data)
    try:
        document, end = _object(data, 1, 0)
    except (struct.error, IndexError, UnicodeDecodeError, RecursionError):
        raise _damaged("it ends too early or a length in it is wrong") from None
    if end != len(data):
        raise _damaged(f"{len(data) - end} bytes follow its end")
    return document


def is_json(data: bytes) -> bool:
    """Whether a file that begins with a brace is JSON: in UBJ a length follows, not a name or a space."""
    return data[1:65].lstrip()[:1] in (b'"', b"}")


# Python reads "1_000", " 3" and True as numbers, and cuts 1.5 to 1. XGBoost reads them otherwise or not at all.


def count(text: object) -> int:
    """The whole number in a parameter, such as `"30"`; raises ConvertError."""
    if not (isinstance(text, str) and text.isascii() and text.isdigit()):
        raise ConvertError(f"a count in the model is {str(text)[:40]!r}; save it again")
    return int(text)


def integers(values: Any) -> Numbers:
    """An array of whole numbers as int64; raises ConvertError."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise ConvertError("an array of whole numbers in the model holds something else; save the model again")
    return array.astype(np.int64)


def flags(values: Any) -> Numbers:
    """An array of zeros and ones as bool; raises ConvertError."""
    array = np.asarray(values)
    if array.size and not (array.dtype.kind in "iub" and array.min() >= 0 and array.max() <= 1):
        raise ConvertError("an array of zeros and ones in the model holds something else; save the model again")
    return array.astype(np.bool_)


def floats(values: Any) -> Numbers:
    """An array of numbers as float32; raises ConvertError."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iuf":
        raise ConvertError("an array of numbers in the model holds something else; save the model again")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _json(data: bytes) -> Document:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"the JSON model is damaged ({str(error)[:120]}); save it again") from None
    if not isinstance(document, dict):
        raise ConvertError("the JSON file holds no model; save it with Booster.save_model('model.ubj')")
    return document


def _damaged(why: str) -> ConvertError:
    return ConvertError(f"the UBJ model is damaged: {why}; save it again with Booster.save_model")


def _object(data: bytes, at: int, depth: int) -> tuple[Document, int]:
    members: Document = {}
    while data[at] != 0x7D:  # }
        name, at = _text(data, at)
        members[name], at = _value(data, at, depth + 1)
    return members, at + 1


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > _MAX_DEPTH:
        raise _damaged(f"it is nested deeper than {_MAX_DEPTH}")
    marker = data[at]
    if marker == 0x53:  # S
        return _text(data, at + 1)
    if marker == 0x7B:  # {
        return _object(data, at + 1, depth)
    if marker == 0x5B:  # [
        return _array(data, at + 1, depth)
    number = _NUMBERS.get(marker)
    if number is not None:
        return number.unpack_from(data, at + 1)[0], at + 1 + number.size
    if marker in _CONSTANTS:
        return _CONSTANTS[marker], at + 1
    raise _damaged(f"byte {at} is {data[at : at + 1]!r}, which begins no value")


def _array(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if data[at] == 0x24:  # $: numbers of one type
        dtype = _DTYPES.get(data[at + 1])
        if dtype is None or data[at + 2] != 0x23:  # #
            raise _damaged(f"byte {at} begins an array of an unknown type")
        count, at = _length(data, at + 3)
        if count > (len(data) - at) // dtype.itemsize:
            raise _damaged("an array is longer than the file")
        return np.frombuffer(data, dtype, count, at), at + count * dtype.itemsize
    counted = data[at] == 0x23
    count, at = _length(data, at + 1) if counted else (len(data), at)
    items: list[Any] = []
    while len(items) < count and (counted or data[at] != 0x5D):  # ]
        item, at = _value(data, at, depth + 1)
        items.append(item)
    return items, at if counted else at + 1


def _text(data: bytes, at: int) -> tuple[str, int]:
    count, at = _length(data, at)
    if count > len(data) - at:
        raise _damaged("a text is longer than the file")
    return data[at : at + count].decode(), at + count


def _length(data: bytes, at: int) -> tuple[int, int]:
    number = _LENGTHS.get(data[at])
    if number is None:
        raise _damaged(f"byte {at} is {data[at : at + 1]!r}, which is no length")
    count = number.unpack_from(data, at + 1)[0]
    if count < 0:
        raise _damaged(f"the length at byte {at} is negative")
    return count, at + 1 + number.size
