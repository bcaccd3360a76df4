"""One invocation as steps: read a block of rows, score it, write its scores."""

import math
import time
from collections.abc import Callable, Generator
from functools import partial

from .cost import Pace
from .model.booster import Model
from .model.refusal import Refusal
from .payloads.payload import read_blocks
from .payloads.reply import Rendering

Scores = list[float]
# A job yields None where other jobs may go first, or a call that releases the interpreter; it is sent the result.
Steps = Generator[Callable[[], Scores] | None, Scores | None, bytes | bytearray]
SURE_SECONDS = 1.0  # of processor time, before a request is refused because it cannot be in time


def predict(
    body: bytes, content_type: str, accept: str, model: Model, *, end: float = math.inf, now: bool = False
) -> Steps:
    """The steps to the reply's body; raises Refusal.

    end: the deadline of the reply (`time.monotonic`). now: the request is cheap.
    """
    score = model.predict_now if now else model.predict
    pace = Pace(model)
    rendering = Rendering(accept)
    used, started = 0.0, time.thread_time()
    for block in read_blocks(body, content_type, model, pace):
        if block is not None:
            first, rows = block
            if first == 0 and rendering.rows:
                rendering = Rendering(accept)
            scores = (yield partial(score, rows)) or []
            rendering.add(scores, rows.rows)
            if first == 0 and pace.rows_in_all is not None:
                rendering.check_all(pace.rows_in_all)
            took = time.thread_time() - started
            pace.took(took, len(scores), rows.rows)
        used += time.thread_time() - started
        if used > SURE_SECONDS and 0 < pace.read < 1:
            refuse_hopeless(used / pace.read - used, end - time.monotonic(), rendering.rows)
        yield None
        started = time.thread_time()
    return rendering.finish()


def refuse_hopeless(needed_seconds: float, left_seconds: float, rows: int) -> None:
    """Raise Refusal (413) if the rest of a request, after `rows` rows, needs more processor time than is left."""
    if needed_seconds > left_seconds:
        raise Refusal(
            413, f"after {rows} rows the rest needs some {needed_seconds:.0f} s of a processor and "
            f"{max(0, left_seconds):.0f} s are left; send smaller batches",
        )  # fmt: skip
