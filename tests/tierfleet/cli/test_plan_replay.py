"""`tierfleet plan replay` and `plan backtest`: what a user sees, and the exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG
from tierfleet.cli import app

run = CliRunner().invoke
CHURN = CONFIG / "churn-prod.toml"


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("trace") / "churn.csv"
    answer = run(app, ["plan", "synthesize", "churn", "--days", "2", "--requests-per-day", "5000", "-o", str(file)])
    assert answer.exit_code == 0
    return file


def test_a_replay_in_words_and_as_json(trace: Path) -> None:
    arguments = ["plan", "replay", str(trace), "--config", str(CHURN)]
    answer = run(app, arguments, env={"COLUMNS": "80"})
    assert answer.exit_code == 0
    for words in ("churn-prod: ", "tail: 2 x ml.r5.large", "in memory", "outside what is required", "2026-11-02 00"):
        assert words in answer.stdout
    document = json.loads(run(app, [*arguments, "--json"]).stdout)
    [tail] = document["endpoints"]
    assert document["calls"] == tail["calls"] == sum(hour["calls"] for hour in tail["hours"])
    assert tail["in_memory"] + tail["waited_for_running_load"] + tail["from_disk"] + tail["from_s3"] == tail["calls"]
    assert {"tenant", "calls", "outside", "longest_wait_seconds"} <= tail["tenants"][0].keys()
    assert tail["instances"] == [["2026-11-02T00:00:00+00:00", 2]]


def test_a_backtest_compares_and_ends_with_1_if_something_was_not_kept(trace: Path) -> None:
    arguments = ["plan", "backtest", str(trace), "--config", str(CHURN), "--json"]
    kept = run(app, [*arguments, "--min-hit-ratio", "0"])
    assert kept.exit_code == 0
    document = json.loads(kept.stdout)
    assert document["failures"] == []
    assert document["planned_fleet"].endswith(document["rest"]["endpoints"][0]["instance_type"])
    # The first calls of a day and a half cannot all be hits.
    not_kept = run(app, [*arguments, "--min-hit-ratio", "0.999"])
    assert not_kept.exit_code == 1
    assert "hit ratio" in json.loads(not_kept.stdout)["failures"][0]


def test_a_budget_and_a_tenants_limit_count_in_a_backtest_too(trace: Path) -> None:
    arguments = ["plan", "backtest", str(trace), "--config", str(CHURN), "--min-hit-ratio", "0", "--json"]
    beyond = run(app, [*arguments, "--budget-usd", "1"])
    assert beyond.exit_code == 1
    assert json.loads(beyond.stdout)["failures"][0].endswith("a month, required $1.00")


def test_calls_of_a_model_that_fits_no_instance_are_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "big.csv"
    rows = [f"{tenant},{1793606400 + n},{size}" for n in range(200) for tenant, size in (("a", 10**7), ("b", 10**12))]
    file.write_text("\n".join(["tenant,timestamp,model_bytes", *rows[:399]]) + "\n")
    answer = run(app, ["plan", "replay", str(file), "--config", str(CHURN), "--cold-p95-seconds", "1e6", "--json"])
    assert answer.exit_code == 0
    assert "calls to 1 model too big for an instance fail" in json.loads(answer.stdout)["misses"]


def test_a_trace_of_one_moment_cannot_be_split(tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text("tenant,timestamp,model_bytes\na,1793606400,40000000\n")
    answer = run(app, ["plan", "backtest", str(file), "--config", str(CHURN)])
    assert answer.exit_code == 2
    assert "have the same time: a trace that is split must take some" in " ".join(answer.stderr.split())


@pytest.mark.parametrize("command", ["replay", "backtest"])
@pytest.mark.parametrize("option", ["--html", "--report"])
def test_the_report_is_written_and_never_over_an_input(trace: Path, tmp_path: Path, command: str, option: str) -> None:
    page = tmp_path / "page.html"
    arguments = ["plan", command, str(trace), "--config", str(CHURN)]
    assert run(app, [*arguments, option, str(page)]).exit_code in (0, 1)
    assert page.read_text().startswith("<!doctype html>")
    before = trace.read_bytes()
    answer = run(app, [*arguments, option, str(trace)])
    assert answer.exit_code == 2
    assert "would overwrite an input" in answer.stderr
    assert trace.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--config", str(CHURN), "--skip-days", "9"], "skip fewer"),
        (["--config", str(CHURN), "--profile", "x"], "'x' is no profile"),
        (["--config", str(CHURN), "--tenant-column", "who"], "no column 'who'"),
        (["--config", str(CHURN), "--cold-p95-seconds", "0"], "give a number above 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_error(trace: Path, arguments: list[str], words: str) -> None:
    answer = run(app, ["plan", "replay", str(trace), *arguments])
    assert answer.exit_code == 2
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
