"""Scores the rows of one request, and finds the rows that the model server refuses.

A request that is refused is halved until the bad rows are alone. Every other row gets its score.
"""

from collections.abc import Callable, Sequence
from typing import Final

from tierfleet.batch.run_state import RowResult
from tierfleet.runtime.client import CallError, InferenceFailedError, ModelFailedError, PayloadRejectedError, Reply
from tierfleet.runtime.client.errors import ReplyFormatError
from tierfleet.runtime.client.reply import parse_scores

# What one bad row may cause. Every other error is the same for every row.
OF_ONE_ROW: Final = (PayloadRejectedError, ModelFailedError, InferenceFailedError, ReplyFormatError)


class TooManyFailedRowsError(Exception):
    """More rows failed than allowed; the message has the last row's error."""


class FailedRows:
    """Counts the rows that fail. most: how many may."""

    def __init__(self, most: int, already: int = 0) -> None:
        self._most, self.count = most, already

    def note(self, error: CallError) -> RowResult:
        """The result of a row that failed. Raises TooManyFailedRowsError."""
        self.count += 1
        if self.count > self._most:
            raise TooManyFailedRowsError(
                f"{self.count:,} rows failed and {self._most:,} may (--max-failed-rows); the last one: {error}"
            )
        return RowResult(None, str(error))


def body_of(rows: Sequence[str]) -> bytes:
    """The rows as text/csv."""
    return "\n".join(rows).encode()


def results_of(reply: Reply, rows: int) -> list[RowResult]:
    """The scores of a reply, one for each row. Raises ReplyFormatError."""
    try:
        scores = parse_scores(reply.body, rows=rows)
        if len(scores) != rows:
            raise ValueError(f"{rows} rows were sent and {len(scores)} scores came back")
    except ValueError as error:
        raise ReplyFormatError(
            f"tenant {reply.tenant} on endpoint {reply.endpoint}: {error}", tenant=reply.tenant, endpoint=reply.endpoint
        ) from error
    return [RowResult(score) for score in scores]


def score(
    rows: Sequence[str],
    call: Callable[[bytes], Reply],
    failed: FailedRows,
    *,
    refused: CallError | None = None,
) -> list[RowResult]:
    """A result for each row, in their order. call: sends a body and returns its reply, or raises CallError.

    refused: how the call with all these rows failed already, if it was made.
    Raises TooManyFailedRowsError, and CallError for what no single row causes.
    """
    try:
        if refused is not None:
            raise refused
        return results_of(call(body_of(rows)), len(rows))
    except OF_ONE_ROW as error:
        if len(rows) == 1:
            return [failed.note(error)]
        half = len(rows) // 2
        return [*score(rows[:half], call, failed), *score(rows[half:], call, failed)]
