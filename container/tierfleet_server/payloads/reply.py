"""Scores as bytes, equal on multi-model and dedicated endpoints."""

import io
import json
import math
from array import array

import numpy as np
from tierfleet_forest import csv_text

from ..model.refusal import Refusal
from ..reply_size import BYTES_A_NUMBER, BYTES_A_ROW, MAX_REPLY_BYTES
from .accept import CSV, JSON, JSON_LINES, NPY

# The size of an npy head for any number of rows. Its room is reserved, because moving 64 MiB holds the interpreter.
_NPY_HEAD_BYTES = 128
_BEGINS = {JSON: b'{"predictions": [', NPY: bytes(_NPY_HEAD_BYTES)}


def check_reply(rows: int, bytes_a_row: int, head_bytes: int = 0) -> None:
    """Raise Refusal (413) if a reply of so many rows, each with at most so many bytes, may be too big.

    So the limit depends only on the number of rows and numbers.
    """
    most = head_bytes + rows * bytes_a_row
    if most > MAX_REPLY_BYTES:
        raise Refusal(
            413, f"the reply to {rows} rows may take {most} bytes, and it may have {MAX_REPLY_BYTES}; "
            "send smaller batches",
        )  # fmt: skip


def bytes_a_row(numbers: int, content_type: str = JSON) -> int:
    """The most that a row of so many numbers takes in a reply."""
    return 4 * numbers if content_type == NPY else BYTES_A_NUMBER * numbers + BYTES_A_ROW


class Rendering:
    """The reply's body from blocks of scores in row order. Every float32 is written so that it reads back exactly.

    csv: a line a row, its outputs joined by commas. json: {"predictions": [{"score": s}, ...]}, a list for
    several outputs. jsonlines: {"score": s} a line. npy: float32 of shape (rows,) or (rows, outputs).
    A score that is not finite is `nan` or `inf` in csv and null in json.
    """

    __slots__ = ("_body", "_content_type", "_outputs", "rows")

    def __init__(self, content_type: str) -> None:
        self._content_type = content_type
        self._body = bytearray(_BEGINS.get(content_type, b""))
        self._outputs = 1
        self.rows = 0

    def add(self, scores: list[float], rows: int) -> None:
        """The scores of the next `rows` rows, row after row; raises Refusal (413) if the reply becomes too big."""
        outputs = self._outputs = len(scores) // rows
        content_type = self._content_type
        check_reply(self.rows + rows, bytes_a_row(outputs, content_type))
        if content_type == NPY:
            self._body += array("f", scores).tobytes()
        else:
            if self.rows:
                self._body += b", " if content_type == JSON else b"\n"
            self._body += csv_text(scores, outputs) if content_type == CSV else _json(scores, outputs, content_type)
        self.rows += rows

    def check_all(self, rows: int) -> None:
        """Raise Refusal (413) if `rows` rows like the added ones make the reply too large."""
        check_reply(rows, bytes_a_row(self._outputs, self._content_type))

    def finish(self) -> bytes | bytearray:
        """The whole body; nothing can be added to it."""
        if self._content_type == JSON:
            self._body += b"]}"
        elif self._content_type == NPY:
            shape = (self.rows,) if self._outputs == 1 else (self.rows, self._outputs)
            head = io.BytesIO()
            np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
            self._body[:_NPY_HEAD_BYTES] = head.getvalue()
        return self._body


def render(scores: list[float], rows: int, content_type: str) -> bytes | bytearray:
    """The reply's body for the scores of all rows."""
    rendering = Rendering(content_type)
    rendering.add(scores, rows)
    return rendering.finish()


def _json(scores: list[float], outputs: int, content_type: str) -> bytes:
    finite = [score if math.isfinite(score) else None for score in scores]
    per_row: list[object] = list(finite)
    if outputs > 1:
        per_row = [finite[at : at + outputs] for at in range(0, len(finite), outputs)]
    if content_type == JSON_LINES:
        return "\n".join(json.dumps({"score": score}) for score in per_row).encode()
    return json.dumps([{"score": score} for score in per_row])[1:-1].encode()
