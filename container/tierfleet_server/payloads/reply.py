"""Scores as bytes, the same on a multi-model and on a dedicated endpoint."""

import io
import json
import math
from array import array
from functools import lru_cache

import numpy as np

from ..model.refusal import Refusal, shown

MAX_REPLY_BYTES = 64 * 1024 * 1024
_MAX_ACCEPT_CHARACTERS = 2048
# An npy head for any number of rows has this size; room is left for it, since moving 64 MiB holds the interpreter.
_NPY_HEAD_BYTES = 128
_BEGINS = {"application/json": b'{"predictions": [', "application/x-npy": bytes(_NPY_HEAD_BYTES)}
CONTENT_TYPES = ("text/csv", "application/json", "application/jsonlines", "application/x-npy")


@lru_cache(maxsize=256)
def content_type_for(accept: str, default: str) -> str:
    """The content type to answer in: the most wanted of an Accept header; raises Refusal (406) if none."""
    if len(accept) > _MAX_ACCEPT_CHARACTERS:
        raise Refusal(406, f"Accept has more than {_MAX_ACCEPT_CHARACTERS} characters; ask for one content type")
    wanted: list[tuple[float, str]] = []
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            wanted.append((-float(weight), name))
        except ValueError:
            raise Refusal(406, f"Accept {shown(accept)} has a weight that is no number") from None
    for weight_below_zero, name in sorted(wanted, key=lambda pair: pair[0]):
        if weight_below_zero == 0:
            continue
        if name in ("", "*/*"):
            return default
        for content_type in CONTENT_TYPES:
            if name == content_type or name == content_type.split("/")[0] + "/*":
                return content_type
    raise Refusal(406, f"Accept {shown(accept)} is not possible; ask for one of {', '.join(CONTENT_TYPES)}")


class Rendering:
    """The reply's body, grown by blocks of scores in row order; every float32 is written so that it reads back exactly.

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
        if content_type == "application/x-npy":
            self._body += array("f", scores).tobytes()
        else:
            if self.rows:
                self._body += b", " if content_type == "application/json" else b"\n"
            self._body += (_csv if content_type == "text/csv" else _json)(scores, outputs, content_type).encode()
        self.rows += rows
        if len(self._body) > MAX_REPLY_BYTES:
            raise Refusal(413, f"the reply has more than {MAX_REPLY_BYTES} bytes; send smaller batches")

    def finish(self) -> bytes | bytearray:
        """The whole body; nothing can be added to it."""
        if self._content_type == "application/json":
            self._body += b"]}"
        elif self._content_type == "application/x-npy":
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


def _csv(scores: list[float], outputs: int, _: str) -> str:
    if outputs == 1:
        return "\n".join(map(repr, scores))
    lines = (scores[at : at + outputs] for at in range(0, len(scores), outputs))
    return "\n".join(",".join(map(repr, line)) for line in lines)


def _json(scores: list[float], outputs: int, content_type: str) -> str:
    finite = [score if math.isfinite(score) else None for score in scores]
    per_row: list[object] = list(finite)
    if outputs > 1:
        per_row = [finite[at : at + outputs] for at in range(0, len(finite), outputs)]
    if content_type == "application/jsonlines":
        return "\n".join(json.dumps({"score": score}) for score in per_row)
    return json.dumps([{"score": score} for score in per_row])[1:-1]
