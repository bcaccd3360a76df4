"""The cost of a request, estimated before its body is read.

Measured with XGBoost 3.0.5 on one processor: a predict takes 17 us and 2 to 5 ns a node in ordinary trees, 70 to 120 ns
where a chain of nodes does not fit the cache; a value of csv or JSON takes 50 to 80 ns to read, a score 0.3 to 0.5 us
to write.
"""

from .model.booster import Model

_NODE_NS, _VALUE_NS, _SCORE_NS = 10, 80, 500
# The event loop answers cheaper requests itself, because a hand-over to a thread takes longer.
_INLINE_NS = 80_000
_INLINE_BODY_BYTES = 8 * 1024
# Long enough to outweigh a block's fixed cost, short enough for others to wait.
_BLOCK_SECONDS = 0.002
# XGBoost scores 64 rows tree by tree, which matters for forests beyond the cache, so such a block may take longer.
_KERNEL_ROWS, _KERNEL_SECONDS = 64, 0.008
_BLOCK_BYTES = 1024 * 1024


def is_inline(body: bytes, content_type: str, model: Model) -> bool:
    """Whether rows x (path length + width) estimates tens of microseconds."""
    if len(body) > _INLINE_BODY_BYTES:
        return False
    return rows_at_most(body, content_type, model.features) * row_ns(model) <= _INLINE_NS


def rows_at_most(body: bytes, content_type: str, features: int) -> int:
    """The most rows that a body can have, at least 1."""
    if content_type == "application/json":
        return max(1, body.count(b"["))  # each row is a list, perhaps inside another list
    if content_type == "application/x-npy":
        return max(1, len(body) // features)
    return body.count(b"\n") + 1


def row_ns(model: Model) -> int:
    """Nanoseconds to read, score and write one row."""
    return model.work_per_row * _NODE_NS + model.features * _VALUE_NS + model.outputs * _SCORE_NS


class Pace:
    """The number of rows of the next block: first an estimate, then by the time of the last blocks.

    `read` is the share of the body that was read, from 0 to 1. `rows_in_all` is the body's number of rows, if it is
    known before they are read.
    """

    __slots__ = ("_least", "_most", "read", "rows", "rows_in_all")

    def __init__(self, model: Model, seconds_a_row: float = 0.0, numbers_a_row: int = 0) -> None:
        """For scores, unless the time and the numbers of a row are given."""
        self._most = max(1, _BLOCK_BYTES // max(4 * model.features, 16 * numbers_a_row))
        self.rows = self._rows(seconds_a_row or row_ns(model) / 1e9)
        # A block's fixed cost must not reduce it to one row.
        self._least = max(1, self.rows // 16)
        self.read = 0.0
        self.rows_in_all: int | None = None

    def _rows(self, seconds_a_row: float) -> int:
        rows = int(_BLOCK_SECONDS / seconds_a_row)
        if rows > _KERNEL_ROWS:
            rows -= rows % _KERNEL_ROWS
        else:
            rows = min(_KERNEL_ROWS, int(_KERNEL_SECONDS / seconds_a_row))
        return max(1, min(self._most, rows))

    def took(self, seconds: float, scores: int, rows: int) -> None:
        """Choose the next block's size after one of so many rows and scores took `seconds` of processor time."""
        most = max(1, _BLOCK_BYTES * rows // (16 * max(1, scores)))
        wanted = max(self._least, self._rows(max(seconds, 1e-6) / rows))
        self.rows = max(1, min(2 * rows, wanted, most))
