"""application/x-npy: real numbers of shape (rows, features) or (features,), NaN being missing."""

import re
from typing import NamedTuple

import numpy as np

from ..cost import Pace
from ..model.refusal import Refusal, shown
from .rows import Block, Blocks, Categories, check_room, check_width, refuse_categories

_MAX_HEADER_BYTES = 4096
# The header is a Python literal. NumPy evaluates it, which takes milliseconds for a strange one; this reads what
# writers of the format write: its three keys in any order.
_PAIR = rb"""\s*+(?:'(\w++)'|"(\w++)")\s*+:\s*+('[^']*+'|"[^"]*+"|\w++|\([^()]*+\)|\[[^\[\]]*+\])\s*+"""
_HEADER = re.compile(rb"\s*+\{%s,%s,%s(?:,\s*+)?\}\s*+" % ((_PAIR,) * 3))
_SHAPE = re.compile(rb"\(\s*+[0-9]++L?\s*+(?:,\s*+|,\s*+[0-9]++L?\s*+(?:,\s*+)?)\)")
_REAL = re.compile(r"[<>|=]?(?:f[248]|[iu][1248]|b1|\?)")
_BAD = "the body is not an npy file of version 1 or 2; write it with numpy.save"


class _Header(NamedTuple):
    dtype: str
    fortran_order: bool
    shape: bytes
    stop: int


def _header(body: bytes) -> _Header:
    """What the header says, as texts; raises Refusal."""
    length_bytes = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}.get(body[:8])
    if length_bytes is not None:
        start = 8 + length_bytes
        stop = start + int.from_bytes(body[8:start], "little")
        match = _HEADER.fullmatch(body, start, stop) if stop <= min(len(body), start + _MAX_HEADER_BYTES) else None
        if match is not None:
            fields = {match[at] or match[at + 1]: match[at + 2] for at in (1, 4, 7)}
            if fields.keys() == {b"descr", b"fortran_order", b"shape"}:
                order = fields[b"fortran_order"]
                if order in (b"True", b"False") and fields[b"descr"][:1] in b"'\"":
                    dtype = fields[b"descr"].decode("latin-1").strip("'\"")
                    return _Header(dtype, order == b"True", fields[b"shape"], stop)
    raise Refusal(400, _BAD)


def _name(dtype: str) -> str:
    return str(np.dtype(dtype)) if re.fullmatch("[<>|=]?[a-zA-Z][0-9]{0,3}", dtype) else dtype


def read(body: bytes, features: int, categories: Categories, pace: Pace) -> Blocks:
    """Blocks of rows; raises Refusal."""
    refuse_categories("application/x-npy", categories)
    header = _header(body)
    shape = [int(number) for number in re.findall(rb"[0-9]+", header.shape)] if _SHAPE.fullmatch(header.shape) else []
    if not _REAL.fullmatch(header.dtype) or not shape or min(shape) < 1:
        raise Refusal(
            400, f"the npy body is {shown(_name(header.dtype))} of shape {shown(header.shape.decode('latin-1'))}; "
            f"send real numbers of shape (rows, {features}) or ({features},)",
        )  # fmt: skip
    dtype, start = np.dtype(header.dtype), header.stop
    rows, width = shape if len(shape) == 2 else (1, shape[0])
    check_width(0, width, features)
    wanted = rows * width * dtype.itemsize
    if wanted != len(body) - start:
        raise Refusal(400, f"the npy body has {len(body) - start} bytes of data, its header asks {shown(wanted)}")
    check_room(rows, width)
    pace.rows_in_all = rows
    values = np.frombuffer(body, dtype, offset=start).reshape((rows, width), order="F" if header.fortran_order else "C")
    first = 0
    while first < rows:
        following = min(rows, first + pace.rows)
        pace.read = following / rows
        yield Block(first, np.array(values[first:following], np.float32, order="C"))
        first = following
