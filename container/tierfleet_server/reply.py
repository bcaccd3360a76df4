"""Scores as bytes, the same on a multi-model and on a dedicated endpoint."""

import io
import json
import math
from functools import lru_cache

import numpy as np

from .refusal import Refusal, shown

CONTENT_TYPES = ("text/csv", "application/json", "application/jsonlines", "application/x-npy")


@lru_cache(maxsize=256)
def content_type_for(accept: str, default: str) -> str:
    """The content type to answer in: the most wanted of an Accept header; raises Refusal (406) if none."""
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


def render(scores: list[float], rows: int, content_type: str) -> bytes:
    """The scores of `rows` rows in row order; every float32 is written so that it reads back exactly.

    csv: a line a row, its outputs joined by commas. json: {"predictions": [{"score": s}, ...]}, a list for
    several outputs. jsonlines: {"score": s} a line. npy: float32 of shape (rows,) or (rows, outputs).
    A score that is not finite is `nan` or `inf` in csv and null in json.
    """
    outputs = len(scores) // rows
    if content_type == "text/csv":
        if outputs == 1:
            return "\n".join(map(repr, scores)).encode()
        lines = (scores[at : at + outputs] for at in range(0, len(scores), outputs))
        return "\n".join(",".join(map(repr, line)) for line in lines).encode()
    if content_type == "application/x-npy":
        values = np.array(scores, np.float32)
        file = io.BytesIO()
        np.save(file, values if outputs == 1 else values.reshape(rows, outputs), allow_pickle=False)
        return file.getvalue()
    finite = [score if math.isfinite(score) else None for score in scores]
    per_row: list[object] = list(finite)
    if outputs > 1:
        per_row = [finite[at : at + outputs] for at in range(0, len(finite), outputs)]
    if content_type == "application/jsonlines":
        return "\n".join(json.dumps({"score": score}) for score in per_row).encode()
    return json.dumps({"predictions": [{"score": score} for score in per_row]}).encode()
