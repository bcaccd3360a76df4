"""One request for contributions as steps: read a block of rows, score it, explain it, write the result.

The reply is a prediction's JSON with more members:
`{"feature_names": [...], "predictions": [{"score": s, "bias": b, "contributions": [...]}, ...]}`. Bias and
contributions of a row add up to its margin, the score before the objective's transform. With several outputs `bias` is
a list with one number for each, and `contributions` one with a list for each.
"""

import json
import math
import time
from collections.abc import Generator, Iterable
from functools import partial
from typing import Any

from .cost import Pace
from .model.booster import Explainable, Rows
from .model.refusal import Refusal
from .payloads.payload import read_blocks
from .payloads.reply import check_reply
from .prediction import SURE_SECONDS, refuse_hopeless

Steps = Generator[Any, Any, bytes | bytearray]
# Numbers written at once, while no other thread has the interpreter.
_PIECE_NUMBERS = 512
_PIECE_CHARACTERS = 16 * 1024
# XGBoost keeps the numbers of each thread's last block while the model is loaded, so blocks have 32 KiB of them.
_NUMBERS_FACTOR = 8


class _Meter:
    """Processor time of steps that may run in different threads."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.go_on()

    def go_on(self) -> None:
        self._started = time.thread_time()

    def pause(self) -> None:
        self.seconds += time.thread_time() - self._started


def explain(body: bytes, content_type: str, model: Explainable, *, end: float = math.inf) -> Steps:
    """The steps to the reply's body, like `prediction.predict`; raises Refusal.

    end: the deadline of the reply (`time.monotonic`).
    """
    cost = model.explaining
    if cost.refusal:
        raise Refusal(406, cost.refusal)
    pace = Pace(model, cost.seconds_a_row, _NUMBERS_FACTOR * cost.numbers_a_row)
    meter = _Meter()
    names = yield model.names_json
    reply = bytearray()
    done = head_bytes = 0
    for block in read_blocks(body, content_type, model, pace):
        if block is not None:
            done, rows = block
            if done == 0:
                reply = bytearray(b'{"feature_names": [%s], "predictions": [' % names)
                head_bytes = len(reply)
                check_reply(pace.rows_in_all or rows.rows, cost.reply_bytes_a_row, len(reply))
            check_reply(done + rows.rows, cost.reply_bytes_a_row, head_bytes)
            before = meter.seconds
            pieces = _explained(model, rows, done)
            answer = None
            while True:
                try:
                    wanted = pieces.send(answer)
                except StopIteration:
                    break
                if isinstance(wanted, bytes):
                    reply += wanted
                    meter.pause()
                    answer = yield None
                    meter.go_on()
                else:
                    answer = yield wanted
            done += rows.rows
            meter.pause()
            meter.go_on()
            pace.took(meter.seconds - before, cost.numbers_a_row * rows.rows, rows.rows)
        meter.pause()
        if meter.seconds > SURE_SECONDS and 0 < pace.read < 1:
            refuse_hopeless(meter.seconds / pace.read - meter.seconds, end - time.monotonic(), done)
        yield None
        meter.go_on()
    reply += b"]}"
    return reply


def _explained(model: Explainable, rows: Rows, first: int) -> Generator[Any, Any, None]:
    """A block's part of the reply in pieces of bytes, and calls for the scheduler in between."""
    scores = yield partial(model.predict, rows)
    numbers = memoryview((yield partial(model.contributions, rows))).cast("f")
    width = model.features + 1
    outputs = len(numbers) // (rows.rows * width)
    of_row = len(scores) // rows.rows
    piece = ""
    for row in range(rows.rows):
        score = [number if math.isfinite(number) else None for number in scores[row * of_row : (row + 1) * of_row]]
        at = row * outputs * width
        bias = numbers[at + width - 1 : at + outputs * width : width].tolist()
        _check_finite(bias, first + row)
        head = {"score": score if of_row > 1 else score[0], "bias": bias if outputs > 1 else bias[0]}
        piece += (", " if first + row else "") + json.dumps(head)[:-1] + ', "contributions": ' + "[" * (outputs > 1)
        for start in range(at, at + outputs * width, width):
            piece += ", [" if start > at else "["
            for begin in range(start, start + width - 1, _PIECE_NUMBERS):
                values = numbers[begin : min(begin + _PIECE_NUMBERS, start + width - 1)].tolist()
                _check_finite(values, first + row)
                piece += (", " if begin > start else "") + ", ".join(map(repr, values))
                if len(piece) > _PIECE_CHARACTERS:
                    yield piece.encode()
                    piece = ""
            piece += "]"
        piece += "]" * (outputs > 1) + "}"
    yield piece.encode()


def _check_finite(values: Iterable[float], row: int) -> None:
    if not math.isfinite(sum(values)):
        raise Refusal(
            406, f"the contributions to row {row} are no finite numbers; the trees of this model lack the sums of "
            "Hessians that training stores, or its scores are beyond float32",
        )  # fmt: skip
