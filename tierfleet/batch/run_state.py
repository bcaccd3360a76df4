"""What a backfill leaves next to its output, so that the same command resumes it after a kill at any moment.

`OUT.manifest.json` says which run it is: tenant, input and size of a request. `OUT.journal.jsonl` has a line for each
request that is answered; a line counts once its line break is written. At the end OUT is written as a whole, and the
journal is deleted.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self

from tierfleet.errors import InputError
from tierfleet.files import check_writable, write_whole
from tierfleet.runtime.client import Submission

VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Which run an output belongs to."""

    version: int
    fleet: str
    environment: str
    tenant: str
    container: str
    """As FleetClient.invoke has it."""
    input_sha256: str
    rows: int
    rows_per_request: int
    complete: bool = False


@dataclass(frozen=True)
class RowResult:
    """One row's score, or why it has none."""

    score: Any
    """A float, or a list of floats for a model with several scores per row; None for a row that failed."""
    error: str | None = None


@dataclass(frozen=True)
class Answered:
    """The results of one request."""

    chunk: int
    """Number of the request, from 0."""
    model_version: str | None
    results: list[RowResult]


def manifest_path(out: Path) -> Path:
    return out.with_name(f"{out.name}.manifest.json")


def journal_path(out: Path) -> Path:
    return out.with_name(f"{out.name}.journal.jsonl")


def begun(out: Path, wanted: Manifest, *, rows_per_request_given: bool) -> Manifest:
    """The manifest of this run: that of the interrupted run, or a new one, which is written.

    rows_per_request_given: whether the caller asked for that number; otherwise an interrupted run keeps its own.
    Raises InputError if the files next to `out` are another run's, and OSError.
    """
    file = manifest_path(out)
    if not file.exists():
        if out.exists():
            raise InputError(f"{out} exists and is not of an interrupted run; delete it, or give another --out")
        # The journal of an older run, whose manifest was deleted. It goes first: killed between the two, the next run
        # would take its rows for those of the new manifest.
        journal_path(out).unlink(missing_ok=True)
        write_whole(file, json.dumps(asdict(wanted), indent=2) + "\n")
        return wanted
    known = _read(file)
    again = f"delete {file} and {out} to start again, or give another --out"
    differs = []
    for field in ("version", "fleet", "environment", "tenant", "container", "rows_per_request"):
        if field == "rows_per_request" and not rows_per_request_given:
            continue
        before, now = getattr(known, field), getattr(wanted, field)
        if before != now:
            differs.append(f"{field} is {now!r}, and was {before!r}")
    if known.input_sha256 != wanted.input_sha256:
        differs.append(f"the input file has changed ({known.rows:,} rows then, {wanted.rows:,} now)")
    if differs:
        raise InputError(f"{out} is of another run: {'; '.join(differs)}; {again}")
    if known.complete and not out.exists():
        raise InputError(f"{out} was complete and is gone; {again}")
    return known


def finish(out: Path, manifest: Manifest) -> None:
    """Note that `out` is whole, and delete the journal."""
    with _one_at_a_time(out):
        write_whole(manifest_path(out), json.dumps(asdict(replace(manifest, complete=True)), indent=2) + "\n")
        journal_path(out).unlink(missing_ok=True)


def opened(out: Path, wanted: Manifest, *, rows_per_request_given: bool) -> "tuple[Manifest, Journal | None]":
    """The manifest of this run, as `begun` has it, and its journal; None where the run is complete.

    Of two processes that begin at the same moment, the second one is refused. Raises InputError and OSError.
    """
    check_writable(out, "--out")
    with _one_at_a_time(out):
        manifest = begun(out, wanted, rows_per_request_given=rows_per_request_given)
        return manifest, None if manifest.complete else Journal(out, manifest)


@contextmanager
def _one_at_a_time(out: Path) -> Iterator[None]:
    """Waits until no other process begins or ends a run in the directory of `out`."""
    directory = os.open(out.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _read(file: Path) -> Manifest:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if sorted(document) != sorted(field.name for field in fields(Manifest)):
            raise ValueError("other fields")
        if any(type(document[field.name]) is not field.type for field in fields(Manifest)):
            raise TypeError("other types")
        manifest = Manifest(**document)
        if min(manifest.rows, manifest.rows_per_request) < 1:
            raise ValueError("no rows")
        return manifest
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file} is no manifest of tierfleet batch; delete it, or give another --out") from error


class Journal:
    """The answered requests of one run. Only one process may have it open."""

    def __init__(self, out: Path, manifest: Manifest) -> None:
        """Raises InputError if another process has it open or a line is damaged, and OSError."""
        self._out, self._path, self._manifest = out, journal_path(out), manifest
        self._file = self._path.open("a+b")
        self.offsets: dict[int, int] = {}
        """Where the line of each answered request is, by its number."""
        self.submissions: dict[int, Submission] = {}
        """Requests in the queue of an asynchronous endpoint that are not answered, by their number."""
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"another process writes {out}; wait for it, or give another --out") from error
            self._load()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is not None and not self.offsets and not self.submissions:
            # Nothing to resume: a mistyped tenant must not occupy the output.
            with _one_at_a_time(self._out):
                manifest_path(self._out).unlink(missing_ok=True)
                self._path.unlink(missing_ok=True)
        self._file.close()

    def submitted(self, chunk: int, submission: Submission) -> None:
        """Note that a request is in the queue."""
        self._append({"submitted": chunk, "submission": submission.to_json()})
        self.submissions[chunk] = submission

    def answered(self, answered: Answered) -> None:
        """Note the results of a request. The first ones of a request count."""
        rows = [[result.score, result.error] for result in answered.results]
        line = {"answered": answered.chunk, "model_version": answered.model_version, "results": rows}
        offset = self._append(line)
        self.offsets.setdefault(answered.chunk, offset)
        self.submissions.pop(answered.chunk, None)

    def read(self, chunk: int) -> Answered:
        """The results of an answered request."""
        self._file.seek(self.offsets[chunk])
        line = json.loads(self._file.readline())
        results = [RowResult(score, error) for score, error in line["results"]]
        return Answered(chunk, line["model_version"], results)

    def all(self) -> Iterator[Answered]:
        """The results of every answered request, in the order of the rows."""
        return (self.read(chunk) for chunk in sorted(self.offsets))

    def _append(self, line: dict[str, Any]) -> int:
        self._file.seek(0, os.SEEK_END)
        offset = self._file.tell()
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        return offset

    def _load(self) -> None:
        self._file.seek(0)
        whole = offset = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break  # the process was killed while it wrote this
            self._take(number, line, offset)
            offset += len(line)
            whole = offset
        self._file.truncate(whole)

    def _take(self, number: int, content: bytes, offset: int) -> None:
        try:
            line = json.loads(content)
            if "submitted" in line:
                if line["submitted"] not in self.offsets:
                    self.submissions[line["submitted"]] = Submission.from_json(line["submission"])
                return
            chunk, results = line["answered"], line["results"]
            size = self._manifest.rows_per_request
            expected = min(size, self._manifest.rows - chunk * size)
            if len(results) != expected or not all(len(result) == 2 for result in results):
                raise ValueError(f"{len(results)} results instead of {expected}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{self._path}: line {number} is damaged ({error}); delete it and the manifest to start again"
            ) from error
        self.offsets.setdefault(chunk, offset)
        self.submissions.pop(chunk, None)
