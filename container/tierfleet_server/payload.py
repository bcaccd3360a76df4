"""A request body as dense float32 rows for a model, or a sentence that says what is wrong with it."""

import csv
import io
import json
import math
from array import array
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .booster import Model, Rows
from .refusal import Refusal, shown

# libsvm says little and means much: a short body may stand for many empty columns.
MAX_DENSE_BYTES = 64 * 1024 * 1024
Categories = Mapping[int, Mapping[str, float]]
Matrix = npt.NDArray[np.float32]


def read_rows(body: bytes, content_type: str, model: Model) -> Rows:
    """The rows of a body, preprocessed as the model's metadata says; raises Refusal (400, 413 or 415)."""
    if content_type == "text/csv" and not model.preprocessing:
        rows = _one_plain_csv_row(body, model.features)
        if rows is not None:
            return rows
    reader = _READERS.get(content_type)
    if reader is _libsvm:
        reader = partial(_libsvm, base=model.preprocessing.libsvm_base)
    if reader is None:
        raise Refusal(415, f"content type {shown(content_type)} is not read; send one of {', '.join(_READERS)}")
    if not body.strip():
        raise Refusal(400, f"the body is empty; send at least one row of {model.features} features")
    with np.errstate(over="ignore"):
        matrix = reader(body, model.features, model.preprocessing.categories)
    _refuse_infinite(
        matrix, "is infinite or beyond float32 (3.4e38); send a finite number, or leave it empty if it is missing"
    )
    if model.preprocessing:
        with np.errstate(over="ignore"):
            model.preprocessing.apply(matrix)
        _refuse_infinite(matrix, "is beyond float32 (3.4e38) once the model's metadata scaled it; send a smaller one")
    return Rows(matrix.ctypes.data, matrix.shape[0], matrix.shape[1], matrix)


def _refuse_infinite(matrix: Matrix, why: str) -> None:
    infinite = np.argwhere(np.isinf(matrix))
    if len(infinite):
        row, column = infinite[0]
        raise Refusal(400, f"row {row}, feature {column} {why}")


def _one_plain_csv_row(body: bytes, features: int) -> Rows | None:
    """The commonest body by a shorter way; None for anything that needs a closer look."""
    cells = body.split(b",")
    if len(cells) != features or b"_" in body:
        return None
    try:
        values = array("f", map(float, cells))
    except (ValueError, OverflowError):
        return None
    total = sum(values)
    if total - total != 0.0:  # true only of NaN and infinity
        return None
    return Rows(values.buffer_info()[0], 1, features, values)


def _csv(body: bytes, features: int, categories: Categories) -> Matrix:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Refusal(400, "the csv body is not UTF-8; send numbers separated by commas") from None
    lines = text.rstrip("\r\n").split("\n")
    matrix = _room(len(lines), features)
    for row, line in enumerate(lines):
        line = line.rstrip("\r")
        if '"' in line:
            try:
                cells = next(csv.reader([line], strict=True))
            except (csv.Error, StopIteration):
                raise Refusal(400, f"row {row} has a quote that does not end; close it on the same line") from None
        else:
            cells = line.split(",")
        _check_width(row, len(cells), features)
        try:
            if "_" in line or categories or not line.isascii():
                raise ValueError
            matrix[row] = array("f", map(float, cells))
        except ValueError:
            matrix[row] = [_cell(cell, row, column, categories) for column, cell in enumerate(cells)]
    return matrix


def _cell(cell: str, row: int, column: int, categories: Categories) -> float:
    text = cell.strip()
    if not text:
        return math.nan
    if column in categories:
        return _code(text, row, column, categories[column])
    return _number(text, row, column)


def _number(text: str, row: int, column: int) -> float:
    try:
        if "_" in text or not text.isascii():
            raise ValueError
        return float(text)
    except ValueError:
        raise Refusal(
            400,
            f"row {row}, feature {column} is {shown(text)}, not a number; leave it empty if it is missing",
        ) from None


def _code(text: object, row: int, column: int, codes: Mapping[str, float]) -> float:
    if not isinstance(text, str) or text not in codes:
        raise Refusal(
            400, f"row {row}, feature {column} is {shown(text)}, not one of its {len(codes)} categories "
            f"({shown(list(codes))}); leave it empty if it is missing",
        )  # fmt: skip
    return codes[text]


def _libsvm(body: bytes, features: int, categories: Categories, base: int = 0) -> Matrix:
    _refuse_categories("text/libsvm", categories)
    lines = [line.split() for line in body.split(b"\n") if line.strip()]
    matrix = _room(len(lines), features)
    matrix.fill(np.nan)
    for row, tokens in enumerate(lines):
        pairs = tokens if b":" in tokens[0] else tokens[1:]
        seen: set[int] = set()
        for token in pairs:
            index, colon, value = token.partition(b":")
            if index == b"qid":
                continue
            if not colon or not index.isdigit():
                raise Refusal(400, f"row {row} holds {shown(_text(token))}; libsvm is `[label] column:value ...`")
            column = int(index) - base if len(index) < 12 else features
            if not 0 <= column < features:
                counted = "; if you count from 1, package it with --libsvm-base 1" if column == features else ""
                raise Refusal(
                    400,
                    f"row {row} sets column {shown(_text(index))}; the model has columns {base} to "
                    f"{features - 1 + base}{counted if not base else ''}",
                )
            if column in seen:
                raise Refusal(400, f"row {row} sets column {column + base} twice; set it once")
            seen.add(column)
            matrix[row, column] = _number(_text(value), row, column)
    return matrix


def _json(body: bytes, features: int, categories: Categories) -> Matrix:
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {shown(str(error))}") from None
    rows = document.get("instances") if isinstance(document, dict) else document
    if isinstance(rows, list) and rows and not isinstance(rows[0], list | dict):
        rows = [rows]
    if not isinstance(rows, list) or not rows:
        raise Refusal(
            400, 'the JSON body has no rows; send [[...], ...], one row [...], or {"instances": [[...], ...]}'
        )
    matrix = _room(len(rows), features)
    for row, item in enumerate(rows):
        values = item.get("features") if isinstance(item, dict) else item
        if not isinstance(values, list):
            raise Refusal(400, f'row {row} is {shown(item)}; a row is a list, or {{"features": [...]}}')
        _check_width(row, len(values), features)
        if not categories and set(map(type, values)) <= {float}:
            matrix[row] = values
        else:
            matrix[row] = [_json_cell(value, row, column, categories) for column, value in enumerate(values)]
    return matrix


def _json_cell(value: object, row: int, column: int, categories: Categories) -> float:
    if value is None:
        return math.nan
    if column in categories:
        return _code(value, row, column, categories[column])
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value) if abs(value) < 2**200 else math.inf
    raise Refusal(400, f"row {row}, feature {column} is {shown(value)}, not a number; use null if it is missing")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; use null for a missing value")


def _npy(body: bytes, features: int, categories: Categories) -> Matrix:
    _refuse_categories("application/x-npy", categories)
    file = io.BytesIO(body)
    read_header: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, fortran_order, dtype = read_header[np.lib.format.read_magic(file)](file, max_header_size=4096)
    except Exception:  # what a header that is no header raises is nowhere listed
        raise Refusal(400, "the body is not an npy file of version 1 or 2; write it with numpy.save") from None
    if dtype.kind not in "fiub" or dtype.itemsize > 8 or len(shape) not in (1, 2) or min(shape) < 1:
        raise Refusal(
            400, f"the npy body is {shown(str(dtype))} of shape {shown(shape)}; send real numbers of shape "
            f"(rows, {features}) or ({features},)",
        )  # fmt: skip
    data = body[file.tell() :]
    rows, width = shape if len(shape) == 2 else (1, shape[0])
    _check_width(0, width, features)
    if rows * width * dtype.itemsize != len(data):
        raise Refusal(
            400,
            f"the npy body has {len(data)} bytes of data, its header asks {shown(rows * width * dtype.itemsize)}",
        )
    matrix = _room(rows, width)
    matrix[:] = np.frombuffer(data, dtype).reshape((rows, width), order="F" if fortran_order else "C")
    return matrix


def _refuse_categories(content_type: str, categories: Categories) -> None:
    if categories:
        raise Refusal(
            415, f"{content_type} holds only numbers and this model maps texts to categories; "
            "send text/csv or application/json",
        )  # fmt: skip


def _room(rows: int, width: int) -> Matrix:
    if rows * width * 4 > MAX_DENSE_BYTES:
        raise Refusal(
            413,
            f"{rows} rows of {width} features are more than {MAX_DENSE_BYTES} bytes; send smaller batches",
        )
    return np.empty((rows, width), np.float32)


def _check_width(row: int, got: int, features: int) -> None:
    if got != features:
        raise Refusal(400, f"row {row} has {shown(got)} features; the model has {features}")


def _text(token: bytes) -> str:
    return token.decode("ascii", "replace")


_READERS: dict[str, Callable[[bytes, int, Categories], Matrix]] = {
    "text/csv": _csv,
    "application/json": _json,
    "text/libsvm": _libsvm,
    "text/x-libsvm": _libsvm,
    "application/x-npy": _npy,
}


def media_type(header: bytes) -> str:
    """A Content-Type header without its parameters; csv if there is none."""
    return header.split(b";", 1)[0].strip().lower().decode("ascii", "replace") or "text/csv"
