"""Reads the results of asynchronous requests from S3.

A look is one GET of the reply's object and, while that is not there, one of the failure's. Looks come at pauses that
grow to 5 s, so a result that takes an hour costs about 1,500 requests, less than a tenth of a cent.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tierfleet.runtime.aws_errors import Kind, classify
from tierfleet.runtime.client.errors import (
    RESULT,
    CallError,
    DeadlineExceededError,
    RequestInvalidError,
    gone_error,
    inference_error,
    unread_error,
)
from tierfleet.runtime.client.reply import Reply, Timings
from tierfleet.runtime.client.request_check import MOST_SECONDS
from tierfleet.runtime.client.submission import Submission, split_location
from tierfleet.runtime.hosting.asynchronous import MOST_INVOCATION_SECONDS, MOST_TTL_SECONDS
from tierfleet.runtime.time_limit import time_limit

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
_GROWTH: Final = 1.5
# After this age a request is neither in the queue nor at work. The quarter of an hour is for uploads and for the clocks
# of two machines.
LONGEST_LIFE_SECONDS: Final = MOST_TTL_SECONDS + MOST_INVOCATION_SECONDS + 900
# How many of the oldest requests are looked at before each pause. A queue is about first come, first served.
OLDEST_LOOKED_AT: Final = 8

Progress = Callable[[int, int], object]


class _LaterError(Exception):
    """S3 did not say whether there is an object."""


def check_submissions(submissions: object, timeout_seconds: object) -> None:
    """Raises RequestInvalidError for anything but a sequence of submissions and a number of seconds."""
    wrong = []
    if not isinstance(submissions, Sequence) or not all(isinstance(item, Submission) for item in submissions):
        wrong.append(f"submissions is {repr(submissions)[:80]}, allowed: what submit returned")
    if isinstance(timeout_seconds, bool) or not isinstance(timeout_seconds, int | float) or not timeout_seconds > 0:
        wrong.append(f"timeout_seconds is {repr(timeout_seconds)[:80]}, allowed: a number above 0")
    elif isinstance(timeout_seconds, int) and timeout_seconds > MOST_SECONDS:
        wrong.append(f"timeout_seconds is too large, allowed: at most {MOST_SECONDS:g}")
    if wrong:
        raise RequestInvalidError(f"{'; '.join(wrong)}; correct the request", tenant="-")


@dataclass(kw_only=True)
class Results:
    """Waits for results; one object for one wait."""

    s3: "S3Client"
    timeout_seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    wall_clock: Callable[[], float] = time.time
    _started: float = field(init=False)
    _last_problem: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._started = self.clock()

    def each(self, submissions: Sequence[Submission]) -> Iterator[tuple[int, Reply | CallError]]:
        """The index and the outcome of each request, in the order in which they are found to be finished.

        A request that is not finished in time gets a DeadlineExceededError.
        """
        pending = list(enumerate(submissions))
        turn, pause = 0, FIRST_PAUSE_SECONDS
        while pending:
            looked_at = pending[:OLDEST_LOOKED_AT]
            # One more in turn: the oldest ones may never finish.
            if rest := pending[OLDEST_LOOKED_AT:]:
                looked_at.append(rest[turn % len(rest)])
                turn += 1
            finished = set()
            for index, submission in looked_at:
                if self._seconds_left() <= 0:
                    break
                outcome = self._outcome(submission)
                if outcome is not None:
                    finished.add(index)
                    yield index, outcome
            pending = [(index, submission) for index, submission in pending if index not in finished]
            left = self._seconds_left()
            if left <= 0:
                break
            if finished:
                pause = FIRST_PAUSE_SECONDS
            elif pending:
                # Many waiters that started together would otherwise keep asking S3 together.
                self.sleep(min(left, pause * (1 + self.jitter()) / 2))
                pause = min(LONGEST_PAUSE_SECONDS, pause * _GROWTH)
        for index, submission in pending:
            yield index, self._too_late(submission)

    def _outcome(self, submission: Submission) -> Reply | CallError | None:
        try:
            return self._look(submission)
        except CallError as error:
            return error

    def _look(self, submission: Submission) -> Reply | None:
        """The reply; None while there is neither it nor a failure. Raises CallError."""
        try:
            # The reply first: nearly every request succeeds, so a look at a finished one is one GET.
            output = self._read(submission, submission.output_location)
            if output is not None:
                body, content_type = output
                return self._reply(submission, body, content_type)
            failure = self._read(submission, submission.failure_location)
        except _LaterError:
            return None
        if failure is not None:
            text = failure[0].decode("utf-8", "replace")
            raise inference_error(text, tenant=submission.tenant, endpoint=submission.endpoint)
        if self.wall_clock() - submission.submitted_at > LONGEST_LIFE_SECONDS:
            raise gone_error(
                submission.inference_id,
                seconds=LONGEST_LIFE_SECONDS,
                tenant=submission.tenant,
                endpoint=submission.endpoint,
            )
        return None

    def _read(self, submission: Submission, location: str) -> tuple[bytes, str] | None:
        """Body and content type of an object; None while it is missing. Raises _LaterError and CallError."""
        try:
            bucket, key = split_location(location)
            with time_limit(max(0.0, self._seconds_left())):
                answer = self.s3.get_object(Bucket=bucket, Key=key)
                return answer["Body"].read(), answer.get("ContentType", "")
        except MemoryError:
            raise
        except Exception as error:
            verdict = classify(error)
            if verdict.kind is Kind.MISSING_MODEL:
                # NoSuchKey. The words of that verdict are about models.
                return None
            if verdict.retryable:
                self._last_problem = verdict.sentence
                raise _LaterError from error
            raise unread_error(verdict, RESULT, tenant=submission.tenant, endpoint=submission.endpoint) from error

    def _reply(self, submission: Submission, body: bytes, content_type: str) -> Reply:
        waited = self.clock() - self._started
        return Reply(
            body=body,
            content_type=content_type,
            tenant=submission.tenant,
            tier=submission.tier,
            endpoint=submission.endpoint,
            fell_back=False,
            model_version=submission.model_version,
            pointer=None,
            attempts=1,
            timings=Timings(waiting_seconds=waited, resolving_seconds=0.0, calling_seconds=0.0, total_seconds=waited),
        )

    def _seconds_left(self) -> float:
        return self._started + self.timeout_seconds - self.clock()

    def _too_late(self, submission: Submission) -> CallError:
        problem = f" (S3: {self._last_problem})" if self._last_problem else ""
        return DeadlineExceededError(
            f"tenant {submission.tenant} on endpoint {submission.endpoint}: request {submission.inference_id} has no "
            f"result after {self.timeout_seconds:g} s{problem}; wait again with the same submission, and see "
            "ApproximateBacklogSize of the endpoint",
            tenant=submission.tenant,
            endpoint=submission.endpoint,
        )
