"""A model file in any of XGBoost's three formats as one document, and back as UBJ or JSON.

Numbers of trees are NumPy arrays in big-endian order, as in UBJ. Unchanged parts are written as they were read.
"""

import json
import struct
from typing import Any

import numpy as np

from ..model.refusal import BadModel
from ..model.ubj import Bytes, TypedArray, UbjError, outline
from . import legacy_binary
from .foreign import model_format

Document = dict[str, Any]

# The arrays of a tree, of gblinear and of a categories container, by the type in which UBJ holds them.
_DTYPES = {
    ">f4": ("base_weights", "loss_changes", "split_conditions", "sum_hessian", "leaf_weights", "weights"),
    ">i4": (
        "left_children", "right_children", "parents", "split_indices", "categories", "categories_nodes",
        "feature_segments", "sorted_idx",
    ),
    ">i8": ("categories_segments", "categories_sizes"),
    "u1": ("default_left", "split_type"),
}  # fmt: skip
_DTYPE_OF = {name: dtype for dtype, names in _DTYPES.items() for name in names}
_MARKERS = {"f": b"d", "i4": b"l", "i8": b"L", "i2": b"I", "i1": b"i", "u1": b"U", "f8": b"D"}
_INTEGERS = ((b"i", ">b", -(2**7), 2**7), (b"I", ">h", -(2**15), 2**15), (b"l", ">i", -(2**31), 2**31))


def read_document(data: Bytes) -> Document:
    """The document of a UBJ, JSON or old binary model; raises BadModel if it is none, or damaged."""
    form = model_format(data[:4096])
    if form == "binary":
        return legacy_binary.read(data[:])
    try:
        if form == "json":
            return _json_document(data[:])
        document = _arrays(data, outline(data))
    except UbjError as error:
        raise BadModel(f"the UBJ model is damaged: {error}; save it again with Booster.save_model") from None
    if not isinstance(document, dict):
        raise BadModel("the model file holds no model")
    return document


def to_ubj(document: Document) -> bytes:
    """The document as XGBoost writes UBJ."""
    out: list[bytes] = []
    _write(document, out)
    return b"".join(out)


def to_json(document: Document) -> bytes:
    """The document as JSON; every float32 in the shortest text that reads back as the same float32."""
    return json.dumps(_plain(document), separators=(",", ":"), ensure_ascii=False).encode()


def _json_document(text: bytes) -> Document:
    def keep_booleans_out(members: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(members)
        if len(values) != len(members):
            raise UbjError("a name occurs twice in one object")
        for name, value in values.items():
            dtype = _DTYPE_OF.get(name)
            if dtype is not None and isinstance(value, list):
                values[name] = np.array(value, np.float64).astype(dtype)
        return values

    try:
        document = json.loads(text, object_pairs_hook=keep_booleans_out)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise BadModel(f"the JSON model is damaged ({str(error)[:120]}); save it again with save_model") from None
    if not isinstance(document, dict):
        raise BadModel("the JSON file holds no model")
    return document


def _arrays(data: Bytes, value: Any) -> Any:
    if isinstance(value, TypedArray):
        return value.read(data)
    if isinstance(value, dict):
        return {name: _arrays(data, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_arrays(data, item) for item in value]
    return value


def _write(value: Any, out: list[bytes]) -> None:
    if isinstance(value, dict):
        out.append(b"{")
        for name, item in value.items():
            out.append(_text(name))
            _write(item, out)
        out.append(b"}")
    elif isinstance(value, np.ndarray):
        kind = value.dtype.str[1:]
        out.append(b"[$" + _MARKERS["f" if kind == "f4" else kind] + b"#L" + struct.pack(">q", len(value)))
        out.append(value.astype(value.dtype.newbyteorder(">")).tobytes())
    elif isinstance(value, list):
        out.append(b"[#L" + struct.pack(">q", len(value)))
        for item in value:
            _write(item, out)
    elif isinstance(value, str):
        out.append(b"S" + _text(value))
    elif value is None or isinstance(value, bool):
        out.append({None: b"Z", True: b"T", False: b"F"}[value])
    elif isinstance(value, int):
        out.append(next(
            (marker + struct.pack(form, value) for marker, form, least, end in _INTEGERS if least <= value < end),
            b"L" + value.to_bytes(8, "big", signed=True),
        ))  # fmt: skip
    else:
        out.append(b"d" + struct.pack(">f", value))


def _text(text: str) -> bytes:
    raw = text.encode()
    return b"L" + struct.pack(">q", len(raw)) + raw


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            return [float(text) for text in map(str, value.astype(np.float32))]
        return value.tolist()
    return value
