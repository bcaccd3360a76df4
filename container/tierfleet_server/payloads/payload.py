"""A request body as blocks of dense float32 rows for a model, or a refusal."""

from collections.abc import Callable, Generator
from functools import partial

import numpy as np

from ..cost import Pace
from ..model.booster import Model, Rows
from ..model.refusal import Refusal, shown
from . import csv_rows, json_rows, libsvm_rows, npy_rows
from .rows import Blocks, Categories, Matrix
from .text import has_content

Reading = Generator[tuple[int, Rows] | None, None, None]


def read_blocks(body: bytes, content_type: str, model: Model, pace: Pace) -> Reading:
    """Preprocessed rows in blocks of `pace.rows`, each with the number of its first row.

    Raises Refusal (400, 413 or 415), perhaps after some blocks; it builds nothing of the whole body's size. It yields
    None where others may go first. A block that starts at row 0 replaces all earlier ones. Run it with
    `np.errstate(over="ignore")`.
    """
    reader = _READERS.get(content_type)
    if reader is libsvm_rows.read:
        reader = partial(libsvm_rows.read, base=model.preprocessing.libsvm_base)
    if reader is None:
        raise Refusal(415, f"content type {shown(content_type)} is not read; send one of {', '.join(_READERS)}")
    if not (yield from has_content(body)):
        raise Refusal(400, f"the body is empty; send at least one row of {model.features} features")
    # Values that cannot be read are reported before infinite ones, in any order.
    infinite = scaled = None
    for block in reader(body, model.features, model.preprocessing.categories, pace):
        if block is None:
            yield None
            continue
        first, matrix = block
        if first == 0:
            infinite = scaled = None
        if infinite is None:
            infinite = _infinite(
                matrix, first,
                "is infinite or beyond float32 (3.4e38); send a finite number, or leave it empty if it is missing",
            )  # fmt: skip
        if model.preprocessing and infinite is None and scaled is None:
            model.preprocessing.apply(matrix)
            scaled = _infinite(
                matrix, first, "is beyond float32 (3.4e38) once the model's metadata scaled it; send a smaller one"
            )
        if infinite is None and scaled is None:
            yield first, Rows(matrix.ctypes.data, matrix.shape[0], matrix.shape[1], matrix)
        else:
            yield None
    wrong = infinite or scaled
    if wrong is not None:
        raise wrong


def read_rows(body: bytes, content_type: str, model: Model) -> Rows:
    """All rows of a body; raises Refusal like `read_blocks`."""
    parts: list[Rows] = []
    with np.errstate(over="ignore"):
        for block in read_blocks(body, content_type, model, Pace(model)):
            if block is not None:
                if block[0] == 0:
                    parts.clear()
                parts.append(block[1])
    matrix = np.concatenate([part.owner for part in parts])
    return Rows(matrix.ctypes.data, matrix.shape[0], matrix.shape[1], matrix)


def one_plain_csv_row(body: bytes, model: Model) -> Rows | None:
    """One plain csv row, fast; None for any other body."""
    values = csv_rows.one_plain_row(body, model.features)
    return None if values is None else Rows(values.buffer_info()[0], 1, model.features, values)


def _infinite(matrix: Matrix, first: int, why: str) -> Refusal | None:
    infinite = np.isinf(matrix)
    if not infinite.any():
        return None
    row, column = np.argwhere(infinite)[0]
    return Refusal(400, f"row {first + row}, feature {column} {why}")


_READERS: dict[str, Callable[[bytes, int, Categories, Pace], Blocks]] = {
    "text/csv": csv_rows.read,
    "application/json": json_rows.read,
    "text/libsvm": libsvm_rows.read,
    "text/x-libsvm": libsvm_rows.read,
    "application/x-npy": npy_rows.read,
}


def media_type(header: bytes) -> str:
    """A Content-Type header without its parameters; csv if there is none."""
    return header.split(b";", 1)[0].strip().lower().decode("ascii", "replace") or "text/csv"
