"""application/x-npy: real numbers of shape (rows, features) or (features,), NaN being missing."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from .cost import Pace
from .refusal import Refusal, shown
from .rows import Block, Blocks, Categories, check_room, check_width, refuse_categories

_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(body: bytes, features: int, categories: Categories, pace: Pace) -> Blocks:
    """Blocks of rows; raises Refusal."""
    refuse_categories("application/x-npy", categories)
    file = io.BytesIO(body)
    try:
        shape, fortran_order, dtype = _HEADERS[np.lib.format.read_magic(file)](file, max_header_size=4096)
    except Exception:  # what a header that is no header raises is nowhere listed
        raise Refusal(400, "the body is not an npy file of version 1 or 2; write it with numpy.save") from None
    if dtype.kind not in "fiub" or dtype.itemsize > 8 or len(shape) not in (1, 2) or min(shape) < 1:
        raise Refusal(
            400, f"the npy body is {shown(str(dtype))} of shape {shown(shape)}; send real numbers of shape "
            f"(rows, {features}) or ({features},)",
        )  # fmt: skip
    start = file.tell()
    rows, width = shape if len(shape) == 2 else (1, shape[0])
    check_width(0, width, features)
    wanted = rows * width * dtype.itemsize
    if wanted != len(body) - start:
        raise Refusal(400, f"the npy body has {len(body) - start} bytes of data, its header asks {shown(wanted)}")
    check_room(rows, width)
    values = np.frombuffer(body, dtype, offset=start).reshape((rows, width), order="F" if fortran_order else "C")
    first = 0
    while first < rows:
        following = min(rows, first + pace.rows)
        pace.read = following / rows
        yield Block(first, np.array(values[first:following], np.float32, order="C"))
        first = following
