"""`tierfleet batch`: every row once and in order, whatever interrupts it."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import FakeAws, async_route_document, queued, route_document, score
from typer.testing import CliRunner

from tierfleet.batch import run_state
from tierfleet.batch.input_file import check_file, in_chunks, read_rows
from tierfleet.batch.pace import Pace
from tierfleet.batch.run import Backfill
from tierfleet.batch.run import run as backfill_run
from tierfleet.batch.run_state import Answered, Journal, Manifest, RowResult, begun, journal_path, manifest_path, opened
from tierfleet.batch.scoring import FailedRows, TooManyFailedRowsError, results_of
from tierfleet.batch.scoring import score as score_rows
from tierfleet.cli import app
from tierfleet.errors import InputError
from tierfleet.runtime.client import (
    CallError,
    PayloadRejectedError,
    Reply,
    RequestExpiredError,
    ServiceFailedError,
    Submission,
)
from tierfleet.runtime.client.reply import Timings
from tierfleet.runtime.hosting import ASYNC

NAMED = ("--fleet", "fraud", "--environment", "prod", "--region", "eu-west-1")


def write(path: Path, rows: int, first: str = "") -> Path:
    lines = [f"{row},{row / 4},1" for row in range(rows)]
    path.write_text(first + "\n".join(lines) + "\n")
    return path


def output(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def at(aws: FakeAws, url: str, monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    """Commands call the AWS on loopback, which has an asynchronous endpoint of m08."""
    aws.routes = async_route_document("m08")
    aws.endpoints.add(queued("m08"))
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("ENDPOINT_URL", url)):
        monkeypatch.setenv(f"AWS_{name}", value)
    return aws


def run(*arguments: Any, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["batch", *map(str, arguments), *NAMED])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("tenant", ["m37", "m01", "m08"])
def test_every_row_has_its_score_in_order_on_every_kind_of_endpoint(at: FakeAws, tmp_path: Path, tenant: str) -> None:
    file, out = write(tmp_path / "rows.csv", 23, first="a,b,c\n"), tmp_path / "scores.csv"
    rate = () if tenant == "m08" else ("--requests-per-second", 1000)
    summary = json.loads(run(tenant, file, "-o", out, "--rows-per-request", 5, *rate, "--json"))
    expected = [score(tenant, f"{row},{row / 4},1") for row in range(23)]
    lines = output(out)
    assert [int(line["row"]) for line in lines] == list(range(1, 24))
    assert [float(line["score"]) for line in lines] == expected
    assert {line["error"] for line in lines} == {""}
    assert (summary["rows"], summary["failed_rows"], summary["requests"]) == (23, 0, 5)
    assert not journal_path(out).exists()
    again = json.loads(run(tenant, file, "-o", out, "--json"))
    assert (again["resumed_rows"], again["requests"]) == (23, 0)


def test_rows_that_the_server_refuses_are_alone_without_a_score(at: FakeAws, tmp_path: Path) -> None:
    at.bad_rows = {f"{row},{row / 4},1": b"bad" for row in (0, 7, 8, 22)}
    file, out = write(tmp_path / "rows.csv", 23), tmp_path / "scores.csv"
    run("m08", file, "-o", out, "--rows-per-request", 10, code=1)
    lines = output(out)
    assert [int(line["row"]) - 1 for line in lines if line["error"]] == [0, 7, 8, 22]
    assert all(bool(line["score"]) != bool(line["error"]) for line in lines)
    assert "bad" in lines[7]["error"]


def test_a_run_of_bad_rows_ends_early_and_may_be_resumed_with_a_higher_limit(at: FakeAws, tmp_path: Path) -> None:
    at.bad_rows = {f"{row},{row / 4},1": b"bad" for row in range(10, 23)}
    file, out = write(tmp_path / "rows.csv", 23), tmp_path / "scores.csv"
    said = run("m08", file, "-o", out, "--rows-per-request", 5, "--max-failed-rows", 7, code=1)
    assert "8 rows failed and 7 may" in said
    assert not out.exists()
    run("m08", file, "-o", out, "--max-failed-rows", 20, code=1)
    assert sum(bool(line["error"]) for line in output(out)) == 13


def test_a_run_that_fails_before_its_first_answer_leaves_nothing(at: FakeAws, tmp_path: Path) -> None:
    """A mistyped tenant is not the tenant of this output."""
    file, out = write(tmp_path / "rows.csv", 10), tmp_path / "scores.csv"
    at.routes = {**async_route_document("m08", "m80")}
    run("m80", file, "-o", out, code=1)
    assert list(tmp_path.iterdir()) == [file]
    run("m08", file, "-o", out)


def test_a_row_whose_refusal_speaks_of_something_expired_fails_alone(at: FakeAws, tmp_path: Path) -> None:
    at.bad_rows = {"7,1.75,1": b'{"error": "the card of this request has expired"}'}
    file, out = write(tmp_path / "rows.csv", 10), tmp_path / "scores.csv"
    run("m08", file, "-o", out, code=1)
    assert [int(line["row"]) for line in output(out) if line["error"]] == [8]


def run_whose_queue_is_lost(at: FakeAws, file: Path, out: Path) -> Path:
    """An interrupted run, without the requests that it submitted: its journal."""
    at.asleep = True
    run("m08", file, "-o", out, "--wait-seconds", 1, code=1)
    at.queue.clear()
    at.asleep = False
    return journal_path(out)


def assert_resumed_at_once(file: Path, out: Path) -> None:
    summary = json.loads(run("m08", file, "-o", out, "--wait-seconds", 60, "--json"))
    assert (summary["rows"], summary["failed_rows"]) == (10, 0)
    assert summary["seconds"] < 30


def test_a_run_resumed_after_its_results_are_deleted_submits_them_again_at_once(at: FakeAws, tmp_path: Path) -> None:
    file, out = write(tmp_path / "rows.csv", 10), tmp_path / "scores.csv"
    journal = run_whose_queue_is_lost(at, file, out)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        line["submission"]["submitted_at"] -= 8 * 86_400
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert_resumed_at_once(file, out)


def test_a_run_resumed_on_another_asynchronous_endpoint_submits_again_at_once(at: FakeAws, tmp_path: Path) -> None:
    """Another instance type is another endpoint, and the old one took its queue with it."""
    file, out = write(tmp_path / "rows.csv", 10), tmp_path / "scores.csv"
    journal = run_whose_queue_is_lost(at, file, out)
    journal.write_text(journal.read_text().replace("async-m5-large", "async-c5-large"))
    assert_resumed_at_once(file, out)


def test_a_run_resumed_after_a_move_to_a_multi_model_endpoint_sends_requests_that_suit_it(
    at: FakeAws, tmp_path: Path
) -> None:
    file, out = write(tmp_path / "rows.csv", 250), tmp_path / "scores.csv"
    at.asleep = True
    run("m08", file, "-o", out, "--wait-seconds", 1, code=1)
    assert json.loads(manifest_path(out).read_text())["rows_per_request"] == 5000
    at.asleep = False
    at.routes = route_document()
    summary = json.loads(run("m08", file, "-o", out, "--requests-per-second", 1000, "--json"))
    assert [float(line["score"]) for line in output(out)] == [score("m08", f"{row},{row / 4},1") for row in range(250)]
    assert summary["requests"] == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["it has no rows"]),
        (b"a,b\n", ["it has no rows"]),
        (
            b"1,2\n3\n4,x\n5,inf\n",
            ["row 2 has 1 cells, allowed: 2", "row 3, column 2 is 'x'", "row 4, column 2 is inf"],
        ),
        (b"\xff\xfe1,2\n", ["is not CSV in UTF-8"]),
        # Python reads these as numbers, and no model server does.
        ("1_000,2_000\n1,٢\n".encode(), ["row 1, column 1 is '1_000'", "row 1, column 2", "row 2, column 2 is '٢'"]),
        # A first row that is no header, and a header of another width.
        (b'"1,5"\n2\n', ["row 1, column 1 is '1,5'"]),
        (b"1;2\n3;4\n", ["row 1, column 1 is '1;2'", "row 2, column 1 is '3;4'"]),
        # pandas writes an index, which is no feature, below a name that is empty.
        (b",a,b\n0,1,2\n1,3,4\n", ["the file has the index of a data frame"]),
        (b"a,b\n1,2,\n3,4,\n", ["the header has 2 cells and the row below it 3"]),
        # An empty line of one column: pandas writes nothing for a missing value, and reads no row.
        (b"a\n1\n\n3\n", ["line 3 is empty, which may be a missing value"]),
        (b"1,2\n" + b"x,y\n" * 30, ["row 2, column 1", "and 50 more"]),
    ],
)
def test_a_wrong_file_is_refused_with_all_its_problems_before_any_call(
    at: FakeAws, tmp_path: Path, content: bytes, words: list[str]
) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    said = " ".join(run("m08", file, "-o", tmp_path / "out.csv", code=2).split())
    assert all(word in said for word in words), said
    assert at.operations == []
    assert list(tmp_path.iterdir()) == [file]


def test_a_wrong_type_a_missing_file_and_a_wrong_place_are_refused(at: FakeAws, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.csv", 3)
    assert "neither CSV nor Parquet" in run("m08", write(tmp_path / "rows.xlsx", 1), "-o", tmp_path / "o", code=2)
    assert "cannot be read" in run("m08", tmp_path / "none.csv", "-o", tmp_path / "o", code=2)
    assert "there is no directory" in run("m08", file, "-o", tmp_path / "none" / "o", code=2)
    assert "leave --requests-per-second out" in run(
        "m08", file, "-o", tmp_path / "o", "--requests-per-second", 1, code=2
    )
    said = run("m37", file, "-o", tmp_path / "o", "--rows-per-request", 1_000_000, code=2)
    assert "fit into a request of 6,291,456 bytes" in " ".join(said.split())


def test_an_output_of_another_run_is_not_touched(at: FakeAws, tmp_path: Path) -> None:
    file, out = write(tmp_path / "rows.csv", 9), tmp_path / "scores.csv"
    out.write_text("mine")
    assert "is not of an interrupted run" in " ".join(run("m08", file, "-o", out, code=2).split())
    assert out.read_text() == "mine"
    out.unlink()
    run("m08", file, "-o", out)
    whole = out.read_bytes()
    assert "tenant is 'm37', and was 'm08'" in " ".join(run("m37", file, "-o", out, code=2).split())
    write(file, 10)
    said = " ".join(run("m08", file, "-o", out, "--rows-per-request", 2, code=2).split())
    assert "the input file has changed (9 rows then, 10 now)" in said
    assert "rows_per_request is 2, and was 5000" in said
    assert out.read_bytes() == whole
    write(file, 9)
    out.unlink()
    assert "was complete and is gone" in " ".join(run("m08", file, "-o", out, code=2).split())
    manifest_path(out).write_text("{}")
    assert "is no manifest of tierfleet batch" in " ".join(run("m08", file, "-o", out, code=2).split())
    assert "is the input file itself" in " ".join(run("m08", file, "-o", file, code=2).split())


@pytest.mark.parametrize(
    "damage",
    [{"rows": "9"}, {"rows": None}, {"rows_per_request": 0}, {"rows_per_request": 2.5}, {"complete": 1}, {"more": 1}],
)
def test_a_damaged_manifest_is_refused(at: FakeAws, tmp_path: Path, damage: dict[str, Any]) -> None:
    file, out = write(tmp_path / "rows.csv", 9), tmp_path / "scores.csv"
    run("m08", file, "-o", out)
    manifest_path(out).write_text(json.dumps(json.loads(manifest_path(out).read_text()) | damage))
    write(file, 10)
    assert "is no manifest of tierfleet batch" in " ".join(run("m08", file, "-o", out, code=2).split())


@pytest.mark.parametrize("content", [b"", b"mine\n1\n", b"row,score,error\n1,0.5,\n", b"row,score,error\n1\n", b"\xff"])
def test_a_complete_output_that_was_changed_is_refused(at: FakeAws, tmp_path: Path, content: bytes) -> None:
    file, out = write(tmp_path / "rows.csv", 9), tmp_path / "scores.csv"
    run("m08", file, "-o", out)
    out.write_bytes(content)
    assert "was complete and has been changed since" in " ".join(run("m08", file, "-o", out, code=2).split())
    assert out.read_bytes() == content


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    import duckdb

    file = tmp_path / "rows.parquet"
    duckdb.sql("SELECT 1 AS a, 0.5::FLOAT AS b, NULL::DOUBLE AS c UNION ALL SELECT 2, 'nan'::FLOAT, 3").write_parquet(
        str(file)
    )
    checked = check_file(file)
    assert (checked.rows, checked.features) == (2, 3)
    assert list(read_rows(checked)) == ["1.0,0.5,nan", "2.0,nan,3.0"]
    wrong = tmp_path / "wrong.parquet"
    duckdb.sql("SELECT 'x' AS name, 1 AS b").write_parquet(str(wrong))
    with pytest.raises(InputError, match=r"columns name \(VARCHAR\) are not numbers"):
        check_file(wrong)
    duckdb.sql("SELECT NULL AS a, 1 AS b").write_parquet(str(file))
    assert list(read_rows(check_file(file))) == ["nan,1.0"]
    duckdb.sql("SELECT 1 AS a, 7 AS __index_level_0__").write_parquet(str(wrong))
    with pytest.raises(InputError, match="the index of a data frame"):
        check_file(wrong)
    # Their names contain those of numbers.
    duckdb.sql("SELECT [1] AS a, {'b': 1.5} AS b, MAP([1], [2]) AS c, INTERVAL 1 DAY AS d").write_parquet(str(wrong))
    with pytest.raises(InputError, match=r"columns a .*, b .*, c .*, d .* are not numbers"):
        check_file(wrong)
    wrong.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        check_file(wrong)


def test_a_parquet_file_is_that_file_whatever_its_name(tmp_path: Path) -> None:
    import duckdb

    folder = tmp_path / "year=2027"
    folder.mkdir()
    # DuckDB would read the first one as both, and take a column from the folder's name.
    for number, name in enumerate(("rows*.parquet", "rows1.parquet", "rows[1].parquet", "rows?.parquet")):
        duckdb.sql(f"SELECT {number} AS a, 0.5 AS b").write_parquet(str(folder / "new"))
        (folder / "new").rename(folder / name)
        assert list(read_rows(check_file(folder / name))) == [f"{number}.0,0.5"]


@pytest.mark.parametrize("content", ["a,b\n1,2\n\n3,4\n\n", "30d_sum,age\n1,2\n3,4\n", "\n1,2\n3,4"])
def test_empty_lines_between_rows_of_several_columns_and_a_header_count_for_nothing(
    tmp_path: Path, content: str
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(content)
    assert list(read_rows(check_file(file))) == ["1,2", "3,4"]


@given(st.lists(st.integers(0, 99), max_size=30), st.integers(1, 9))
def test_chunks_hold_every_row_once(rows: list[int], size: int) -> None:
    chunks = list(in_chunks(map(str, rows), size))
    assert [row for chunk in chunks for row in chunk] == [str(row) for row in rows]
    assert all(len(chunk) == size for chunk in chunks[:-1])


def reply(scores: list[float]) -> Reply:
    timings = Timings(0, 0, 0, 0)
    return Reply(
        body=json.dumps(scores).encode(), content_type="application/json", tenant="m1", tier="t", endpoint="e",
        fell_back=False, model_version="1", pointer=None, attempts=1, timings=timings,
    )  # fmt: skip


@given(st.sets(st.integers(0, 59)), st.integers(1, 60))
def test_only_the_refused_rows_fail(bad: set[int], rows: int) -> None:
    calls = 0

    def call(body: bytes) -> Reply:
        nonlocal calls
        calls += 1
        sent = [int(line) for line in body.decode().split("\n")]
        if bad.intersection(sent):
            raise PayloadRejectedError("no", tenant="m1")
        return reply([float(row) for row in sent])

    failed = FailedRows(most=60)
    results = score_rows([str(row) for row in range(rows)], call, failed)
    refused = {row for row in range(rows) if row in bad}
    assert [result.score for result in results] == [None if row in refused else float(row) for row in range(rows)]
    assert failed.count == len(refused)
    # A bad row costs at most two calls a halving.
    assert calls <= 1 + len(refused) * 2 * (rows.bit_length() + 1)


def test_more_failed_rows_than_allowed_end_the_run_and_other_errors_are_raised() -> None:
    def call(_: bytes) -> Reply:
        raise PayloadRejectedError("no", tenant="m1")

    with pytest.raises(TooManyFailedRowsError, match="3 rows failed and 2 may"):
        score_rows(["1"] * 9, call, FailedRows(most=2))

    def down(_: bytes) -> Reply:
        raise ServiceFailedError("down", tenant="m1")

    with pytest.raises(ServiceFailedError):
        score_rows(["1"] * 9, down, FailedRows(most=2))
    with pytest.raises(CallError, match="2 rows were sent and 1 scores came back"):
        results_of(reply([1.0]), 2)


def test_a_backfill_rests_as_long_as_its_request_took_and_waits_for_a_service_that_fails() -> None:
    now, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(5, clock=lambda: now[0], sleep=sleep)

    def send(seconds: float) -> float:
        now[0] += seconds
        return now[0]

    for seconds in (0.05, 0.05, 1.0, 0.05):
        pace.call(lambda seconds=seconds: send(seconds))
    # At most 5 a second; after the one of 1 s, a rest of 1 s.
    assert slept == pytest.approx([0.15, 0.15, 1.0])
    slept.clear()
    failures = iter([True, True, False])

    def unsteady() -> str:
        if next(failures):
            raise ServiceFailedError("down", tenant="m1")
        return "answered"

    assert pace.call(unsteady) == "answered"
    assert [pause for pause in slept if pause >= 1] == [1.0, 2.0]
    slept.clear()
    with pytest.raises(ServiceFailedError):
        pace.call(_raise)
    assert [pause for pause in slept if pause >= 1] == [1.0, 2.0, 4.0, 8.0, 16.0]


def _raise() -> str:
    raise ServiceFailedError("down", tenant="m1")


def manifest(rows: int, size: int) -> Manifest:
    return Manifest(
        version=1,
        fleet="f",
        environment="e",
        tenant="m1",
        container="primary",
        input_sha256="x",
        rows=rows,
        rows_per_request=size,
    )


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_a_journal_that_is_cut_anywhere_keeps_its_whole_lines_only(seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out.csv"
        wanted = begun(out, manifest(17, 5), rows_per_request_given=True)
        sizes = [5, 5, 5, 2]
        with Journal(out, wanted) as journal:
            for chunk in chosen.sample(range(4), chosen.randint(1, 4)):
                results = [RowResult(float(row)) for row in range(sizes[chunk])]
                journal.answered(Answered(chunk, "1", results))
        content = journal_path(out).read_bytes()
        cut = chosen.randint(0, len(content))
        journal_path(out).write_bytes(content[:cut])
        with Journal(out, wanted) as journal:
            assert len(journal.offsets) == content[:cut].count(b"\n")
            for chunk in set(range(4)) - journal.offsets.keys():
                journal.answered(Answered(chunk, "1", [RowResult(float(row)) for row in range(sizes[chunk])]))
            results = [result.score for answered in journal.all() for result in answered.results]
        assert results == [float(row) for size in sizes for row in range(size)]


def test_a_damaged_journal_and_a_second_writer_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    wanted = begun(out, manifest(10, 5), rows_per_request_given=True)
    with Journal(out, wanted), pytest.raises(InputError, match="another process writes"):
        Journal(out, wanted)
    for line in (b"{}\n", b"[]\n", b"x\n", b'{"answered":0,"model_version":null,"results":[[1,null]]}\n'):
        journal_path(out).write_bytes(line)
        with pytest.raises(InputError, match="line 1 is damaged"):
            Journal(out, wanted)


def test_a_run_that_is_killed_as_it_begins_takes_no_rows_of_a_journal_without_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scores.csv"
    with Journal(out, manifest(9, 3)) as left_over:
        left_over.answered(Answered(0, "old", [RowResult(1.0)] * 3))
    real = run_state.write_whole

    def killed_after(file: Path, text: str) -> None:
        real(file, text)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_state, "write_whole", killed_after)
    with pytest.raises(KeyboardInterrupt):
        opened(out, manifest(9, 3), rows_per_request_given=False)
    monkeypatch.undo()
    _, journal = opened(out, manifest(9, 3), rows_per_request_given=False)
    assert journal is not None
    with journal:
        assert not journal.offsets


class Queue:
    """A FleetClient whose first request expires; an update comes before the second one."""

    def __init__(self, end_after: int) -> None:
        self.submitted, self._end_after = 0, end_after

    def submit(self, tenant: str, _body: bytes, **_: str) -> Submission:
        if self.submitted == self._end_after:
            raise KeyboardInterrupt
        self.submitted += 1
        return Submission(
            tenant=tenant,
            tier="backfill",
            endpoint=queued(tenant),
            model_version=f"v{self.submitted}",
            inference_id=str(self.submitted),
            input_location=None,
            output_location=f"s3://b/o{self.submitted}",
            failure_location=f"s3://b/f{self.submitted}",
            submitted_at=0.0,
        )

    def result(self, submission: Submission, _seconds: float) -> Reply:
        if submission.inference_id == "1":
            raise RequestExpiredError("it expired", tenant=submission.tenant)
        if self._end_after < 3:
            raise KeyboardInterrupt
        return Reply(
            body=b'{"predictions": [{"score": 1.0}, {"score": 2.0}, {"score": 3.0}]}',
            content_type="application/json",
            tenant=submission.tenant,
            tier=submission.tier,
            endpoint=submission.endpoint,
            model_version=submission.model_version,
            pointer=None,
            attempts=1,
            timings=Timings(waiting_seconds=0, resolving_seconds=0, calling_seconds=0, total_seconds=0),
            fell_back=False,
        )


def test_a_request_that_is_submitted_again_is_noted_with_the_version_that_answers_it(tmp_path: Path) -> None:
    backfill = Backfill(
        tenant="m08",
        fleet="fraud",
        environment="prod",
        file=check_file(write(tmp_path / "rows.csv", 3)),
        out=tmp_path / "scores.csv",
        shape=ASYNC,
        endpoint=queued("m08"),
        container="primary",
        requests_per_second=5.0,
        rows_per_request=None,
        max_failed_rows=0,
        wait_seconds=1.0,
    )
    with pytest.raises(KeyboardInterrupt):
        backfill_run(backfill, Queue(end_after=2))  # type: ignore[arg-type]
    # A resumed run waits for the second submission, not again for the one that expired.
    resumed = Queue(end_after=3)
    summary = backfill_run(backfill, resumed)  # type: ignore[arg-type]
    assert (summary.model_versions, resumed.submitted) == ({"v2": 3}, 0)


COMMAND = str(Path(sys.executable).parent / "tierfleet")


def test_of_two_runs_that_begin_at_the_same_moment_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, outcomes = tmp_path / "scores.csv", list[Any]()
    real = run_state.write_whole

    def begin() -> None:
        try:
            outcomes.append(opened(out, manifest(9, 3), rows_per_request_given=False)[1])
        except InputError as error:
            outcomes.append(str(error))

    second = threading.Thread(target=begin)

    def while_another_begins(file: Path, text: str) -> None:
        monkeypatch.setattr(run_state, "write_whole", real)
        second.start()
        # It ends here unless it waits for the first one.
        second.join(0.2)
        real(file, text)

    monkeypatch.setattr(run_state, "write_whole", while_another_begins)
    begin()
    second.join()
    journal, refused = outcomes
    assert isinstance(journal, Journal)
    assert "another process writes" in refused
    with journal:
        journal.answered(Answered(0, "1", [RowResult(1.0)] * 3))
    assert journal_path(out).stat().st_size > 0


@pytest.mark.parametrize(
    ("tenant", "container", "words"),
    [
        ("m37", "velocity", "its multi-model endpoint has no containers"),
        ("m08", "velocity", "its async endpoint has no containers"),
        ("m08", "a b", "container is 'a b'"),
        ("M08!", "primary", "'M08!' is not a tenant id"),
    ],
)
def test_a_call_that_cannot_be_right_begins_no_run(
    at: FakeAws, tmp_path: Path, tenant: str, container: str, words: str
) -> None:
    file = write(tmp_path / "rows.csv", 3)
    said = " ".join(run(tenant, file, "-o", tmp_path / "o.csv", "--container", container, code=2).split())
    assert words in said
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("tenant", ["m37", "m08"])
def test_a_run_that_is_killed_again_and_again_has_every_row_once(at: FakeAws, tmp_path: Path, tenant: str) -> None:
    rows = 60
    file, out = write(tmp_path / "rows.csv", rows), tmp_path / "scores.csv"
    rate = [] if tenant == "m08" else ["--requests-per-second", "1000"]
    command = [COMMAND, "batch", tenant, str(file), "-o", str(out), "--rows-per-request", "4", *rate, *NAMED]
    operation = "InvokeEndpointAsync" if tenant == "m08" else "InvokeEndpoint"

    def killed_after(calls: int) -> None:
        process = subprocess.Popen(command, env=os.environ.copy(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted = at.count(operation) + calls
        _until(lambda: at.count(operation) >= wanted or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.wait()

    killed_after(3)
    killed_after(2)
    done = subprocess.run(command, env=os.environ.copy(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = output(out)
    assert [int(line["row"]) for line in lines] == list(range(1, rows + 1))
    assert [float(line["score"]) for line in lines] == [score(tenant, f"{row},{row / 4},1") for row in range(rows)]
    # Of a killed run, only the requests without a line in the journal are made again.
    assert at.count(operation) <= rows // 4 + 2 + 2


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
