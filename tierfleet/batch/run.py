"""One backfill from its input file to its output file."""

import csv
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tierfleet.batch.input_file import InputFile, in_chunks, read_rows
from tierfleet.batch.pace import Pace
from tierfleet.batch.run_state import VERSION, Answered, Journal, Manifest, RowResult, finish, manifest_path, opened
from tierfleet.batch.scoring import FailedRows, body_of, results_of, score
from tierfleet.errors import InputError
from tierfleet.files import replacing
from tierfleet.runtime.client import CallError, FleetClient, Reply, RequestExpiredError, Submission
from tierfleet.runtime.client.errors import DeadlineExceededError
from tierfleet.runtime.client.reply import CSV, JSON
from tierfleet.runtime.hosting import REAL_TIME_BODY_BYTES, HostingShape

DEFAULT_ROWS_PER_CALL: Final = 100
DEFAULT_ROWS_PER_SUBMISSION: Final = 5_000
# Requests in the queue at once: enough for several instances, few enough to lose nothing of a queue that goes.
_IN_QUEUE: Final = 16
_SUBMISSIONS_OF_A_REQUEST: Final = 3
_SUBMISSIONS_PER_SECOND: Final = 50.0
HEADER: Final = ("row", "score", "error")


@dataclass(frozen=True, kw_only=True)
class Backfill:
    """What is to be scored, and how."""

    tenant: str
    fleet: str
    environment: str
    file: InputFile
    out: Path
    shape: HostingShape
    """Of the tenant's endpoint."""
    endpoint: str
    """Its name in the routes."""
    container: str
    """As FleetClient.invoke has it: `primary`, or a container of a multi-container endpoint."""
    requests_per_second: float
    """Of an endpoint that answers calls."""
    rows_per_request: int | None
    """None: as many as suit the shape."""
    max_failed_rows: int
    wait_seconds: float
    """How long to wait for the result of one request in a queue."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of a backfill."""

    out: str
    rows: int
    failed_rows: int
    resumed_rows: int
    """Rows that an earlier run had scored."""
    requests: int
    """Requests of this run."""
    seconds: float
    model_versions: dict[str, int]
    """Rows by the model version that scored them."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "seconds": round(self.seconds, 1)}


def run(backfill: Backfill, client: FleetClient, *, progress: Callable[[int], object] = lambda _: None) -> Summary:
    """Score every row once, and write OUT: `row,score,error`, a line for each row in the order of the file.

    Resumes an interrupted run of the same input, and returns at once for a complete one. progress: called with the
    number of further rows that have a result.

    Raises InputError for files that do not fit each other, TooManyFailedRowsError, CallError where every row would
    fail, and OSError. After each of them the same command resumes.
    """
    started = time.monotonic()
    file = backfill.file
    if backfill.out.resolve() == file.path.resolve():
        raise InputError(f"--out {backfill.out} is the input file itself; give another --out")
    wanted = Manifest(
        version=VERSION,
        fleet=backfill.fleet,
        environment=backfill.environment,
        tenant=backfill.tenant,
        container=backfill.container,
        input_sha256=file.sha256,
        rows=file.rows,
        rows_per_request=_rows_per_request(backfill),
    )
    manifest, own = opened(backfill.out, wanted, rows_per_request_given=backfill.rows_per_request is not None)
    if own is None:
        failed, versions = _counted(backfill.out, file.rows)
        progress(file.rows)
        return Summary(
            out=str(backfill.out), rows=file.rows, failed_rows=failed, resumed_rows=file.rows, requests=0,
            seconds=time.monotonic() - started, model_versions=versions,
        )  # fmt: skip
    with own as journal:
        resumed = already_failed = 0
        for answered in journal.all():
            resumed += len(answered.results)
            already_failed += sum(result.error is not None for result in answered.results)
        progress(resumed)
        work = _Work(backfill, manifest, client, journal, FailedRows(backfill.max_failed_rows, already_failed))
        for answered in work.calls() if backfill.shape.request_response else work.submissions():
            journal.answered(answered)
            progress(len(answered.results))
        versions = _write(backfill.out, journal)
        finish(backfill.out, manifest)
    return Summary(
        out=str(backfill.out),
        rows=file.rows,
        failed_rows=work.failed.count,
        resumed_rows=resumed,
        requests=work.requests,
        seconds=time.monotonic() - started,
        model_versions=versions,
    )


class _Work:
    """The requests of one run that are still to be made."""

    def __init__(
        self, backfill: Backfill, manifest: Manifest, client: FleetClient, journal: Journal, failed: FailedRows
    ) -> None:
        self._backfill, self._manifest, self._client, self._journal = backfill, manifest, client, journal
        self.failed = failed
        self._rows_per_call = _rows_per_request(backfill)
        per_second = backfill.requests_per_second if backfill.shape.request_response else _SUBMISSIONS_PER_SECOND
        self._pace = Pace(per_second)

    @property
    def requests(self) -> int:
        return self._pace.requests

    def calls(self) -> Iterator[Answered]:
        """Over an endpoint that answers calls: one after the other, at the pace."""
        for chunk, rows in self._open_chunks():
            versions: list[str | None] = []

            def call(body: bytes, versions: list[str | None] = versions) -> Reply:
                tenant, container = self._backfill.tenant, self._backfill.container
                reply = self._pace.call(
                    lambda: self._client.invoke(tenant, body, container=container, content_type=CSV, accept=JSON)
                )
                versions.append(reply.model_version)
                return reply

            # A run that began on another hosting may have longer requests than this one should get.
            results = [
                result for part in in_chunks(rows, self._rows_per_call) for result in score(part, call, self.failed)
            ]
            yield Answered(chunk, versions[-1] if versions else None, results)

    def submissions(self) -> Iterator[Answered]:
        """Over an asynchronous endpoint: some requests in its queue, and the oldest one's result next."""
        in_queue: dict[int, tuple[list[str], Submission]] = {}
        for chunk, rows in self._open_chunks():
            submission = self._journal.submissions.get(chunk)
            # An endpoint takes its queue with it, and only waits of hours would tell what of it was lost.
            if submission is None or submission.endpoint != self._backfill.endpoint:
                submission = self._submit(body_of(rows))
                self._journal.submitted(chunk, submission)
            in_queue[chunk] = (rows, submission)
            if len(in_queue) == _IN_QUEUE:
                yield self._oldest(in_queue)
        while in_queue:
            yield self._oldest(in_queue)

    def _oldest(self, in_queue: dict[int, tuple[list[str], Submission]]) -> Answered:
        chunk = next(iter(in_queue))
        rows, submission = in_queue.pop(chunk)
        # A request that is submitted again may be answered by a newer version.
        versions = [submission.model_version]

        def again(submission: Submission) -> None:
            self._journal.submitted(chunk, submission)

        def call(body: bytes) -> Reply:
            reply = self._result(self._submit(body), body)
            versions.append(reply.model_version)
            return reply

        try:
            reply = self._result(submission, body_of(rows), again)
            versions.append(reply.model_version)
            results = results_of(reply, len(rows))
        except CallError as error:
            results = score(rows, call, self.failed, refused=error)
        return Answered(chunk, versions[-1], results)

    def _result(
        self, submission: Submission, body: bytes, again: Callable[[Submission], object] = lambda _: None
    ) -> Reply:
        """The reply to a submitted request, which is submitted again if it has expired. Raises CallError.

        again: told each further submission.
        """
        for attempt in range(1, _SUBMISSIONS_OF_A_REQUEST + 1):
            try:
                return self._client.result(submission, self._backfill.wait_seconds)
            except (RequestExpiredError, DeadlineExceededError):
                # After that time the request, or the endpoint that had it in its queue, is gone.
                if attempt == _SUBMISSIONS_OF_A_REQUEST:
                    raise
                submission = self._submit(body)
                again(submission)
        raise AssertionError("unreachable")

    def _submit(self, body: bytes) -> Submission:
        tenant = self._backfill.tenant
        return self._pace.call(lambda: self._client.submit(tenant, body, content_type=CSV, accept=JSON))

    def _open_chunks(self) -> Iterator[tuple[int, list[str]]]:
        chunks = in_chunks(read_rows(self._backfill.file), self._manifest.rows_per_request)
        return ((chunk, rows) for chunk, rows in enumerate(chunks) if chunk not in self._journal.offsets)


def _rows_per_request(backfill: Backfill) -> int:
    """As asked for, or as suits the shape, as far as a body of these rows is allowed. Raises InputError."""
    most_bytes = backfill.shape.max_body_bytes or REAL_TIME_BODY_BYTES
    fits = most_bytes // backfill.file.longest_row_bytes
    if not fits:
        raise InputError(
            f"{backfill.file.path}: a row of {backfill.file.longest_row_bytes:,} bytes is longer than a request to a "
            f"{backfill.shape.hosting} endpoint may be, {most_bytes:,} bytes; use fewer columns"
        )
    asked = backfill.rows_per_request
    if asked is not None and asked > fits:
        raise InputError(
            f"--rows-per-request is {asked:,}, and {fits:,} rows of this file fit into a request of {most_bytes:,} "
            "bytes; give fewer"
        )
    default = DEFAULT_ROWS_PER_CALL if backfill.shape.request_response else DEFAULT_ROWS_PER_SUBMISSION
    return asked or min(default, fits)


def _write(out: Path, journal: Journal) -> dict[str, int]:
    """Write the output; rows by model version."""
    versions: Counter[str] = Counter()
    row = 0
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(HEADER)
        for answered in journal.all():
            for result in answered.results:
                row += 1
                lines.writerow((row, _shown(result), result.error or ""))
            versions[answered.model_version or "unknown"] += len(answered.results)
    return dict(versions)


def _shown(result: RowResult) -> str:
    if result.score is None:
        return ""
    return json.dumps(result.score)


def _counted(out: Path, rows: int) -> tuple[int, dict[str, int]]:
    """Failed rows of a complete output of so many rows. Its journal, which knew the versions, is gone.

    Raises InputError for a file that is not whole any more, and OSError.
    """
    try:
        with out.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            if next(lines, None) != list(HEADER):
                raise ValueError("another header")
            errors = [error for _row, _score, error in lines]
        if len(errors) != rows:
            raise ValueError(f"{len(errors):,} rows instead of {rows:,}")
    except (ValueError, csv.Error) as error:
        raise InputError(
            f"{out} was complete and has been changed since ({error}); delete it and {manifest_path(out)} to start "
            "again, or give another --out"
        ) from error
    return sum(map(bool, errors)), {}
