"""`tierfleet plan`: what a user sees."""

import json

import pytest
from typer.testing import CliRunner

from tierfleet.cli import app
from tierfleet.cli.plan import commands

run = CliRunner().invoke


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    file = tmp_path_factory.mktemp("plan") / "trace.parquet"
    written = run(app, ["plan", "synthesize", "churn", "--out", str(file), "--days", "2", "--no-rhythm"])
    assert written.exit_code == 0
    assert "requests of 4,000 tenants" in written.output
    return file


def test_a_curve_from_a_trace(trace):
    arguments = ["plan", "curve", str(trace), "--resident-mib", "247", "--capacity-models", "500", "--belady", "--json"]
    answer = run(app, arguments)
    assert answer.exit_code == 0
    table = json.loads(answer.stdout)
    [row] = table["rows"]
    assert row["capacity_mib"] == 500 * 247
    assert row["models"] == pytest.approx(500)
    assert 0.4 < row["lru"] < row["static"] < row["belady"] < 0.75
    assert row["che"] == pytest.approx(row["lru"], abs=0.02)
    assert row["evictions_per_hour"] > 0
    assert table["calls_per_session"] == 1


def test_a_curve_of_unequal_models_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(commands.wide, "width", 160)  # so that the table's head is not broken into lines
    file = tmp_path / "fraud.parquet"
    assert run(app, ["plan", "synthesize", "fraud", "--out", str(file), "--days", "0.5"]).exit_code == 0
    arguments = ["plan", "curve", str(file), "--capacity-mib", "300", "--capacity-mib", "900", "--belady"]
    rows = json.loads(run(app, [*arguments, "--json"]).stdout)["rows"]
    assert all(row["lru"] < row["bound"] <= 1 and row["belady"] is None for row in rows)
    assert "no cache above" in run(app, arguments).output


def test_a_curve_in_words(trace):
    answer = run(app, ["plan", "curve", str(trace), "--skip-days", "1"])
    assert answer.exit_code == 0
    assert "4,000 tenants" in answer.output
    assert "best fixed set" in answer.output
    assert answer.output.count("%") > 20


def test_a_curve_from_rates(tmp_path):
    file = tmp_path / "rates.toml"
    file.write_text("[requests_per_day]\n" + "\n".join(f"t{n} = {1000 / n}" for n in range(1, 51)))
    arguments = ["plan", "curve", str(file), "--resident-mib", "100", "--capacity-mib", "1000", "--json"]
    few = json.loads(run(app, arguments).stdout)["rows"][0]
    bursts = json.loads(run(app, [*arguments, "--calls-per-session", "5"]).stdout)["rows"][0]
    assert few["lru"] is None
    assert few["che"] < bursts["che"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curve", "nowhere.parquet"], "nowhere.parquet is no file"),
        (["synthesize", "nonsense", "--out", "x.parquet"], "'nonsense' is no traffic shape"),
        (["synthesize", "fraud", "--out", "x.txt"], "give it the ending .parquet"),
        (["synthesize", "fraud", "--out", "/nowhere/x.csv"], "--out /nowhere/x.csv: there is no directory /nowhere"),
        (["synthesize", "fraud", "--out", "x.csv", "--calls-per-session", "2", "--mean-gap-seconds", "0"], "mean gap"),
    ],
)
def test_what_is_wrong_is_said_in_one_error(arguments, message):
    answer = run(app, ["plan", *arguments])
    assert answer.exit_code == 2
    assert message in " ".join(answer.output.split())
    assert "Traceback" not in answer.output


def test_sizes_must_come_from_somewhere(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text("tenant,timestamp\na,2026-11-02T08:00:00Z\nb,2026-11-02T08:00:01Z\n")
    answer = run(app, ["plan", "curve", str(file)])
    assert answer.exit_code == 2
    assert "the size of 2 of 2 models is not known, such as a's; give --resident-mib" in answer.output
    answer = run(app, ["plan", "curve", str(file), "--resident-mib", "1", "--skip-days", "9"])
    assert answer.exit_code == 2
    assert "the first 9 are skipped; skip fewer" in answer.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--belady", "--instances", "2"], "--belady and --instances contradict each other, since Belady's optimum is"),
        (["--model-bytes-column", "size"], "--model-bytes-column and --resident-mib contradict each other"),
        (["--mean-gap-seconds", "9"], "--mean-gap-seconds does nothing without --calls-per-session"),
        (["--calls-per-session", "1", "--mean-gap-seconds", "9"], "--calls-per-session 1 has no second call"),
        (["--time-unit", "min"], "--time-unit min: give one of s, ms, us, ns"),
        (["--time-unit", "s", "--time-format", "%Y"], "--time-unit is for numbers and --time-format for text"),
        (["--time-format", "iso"], "--time-format iso: write it as in strptime"),
    ],
)
def test_options_that_contradict_each_other_are_refused(trace, options, message):
    answer = run(app, ["plan", "curve", str(trace), "--resident-mib", "247", *options])
    assert answer.exit_code == 2
    assert message in " ".join(answer.output.split())


def test_an_optimum_needs_a_trace(tmp_path):
    file = tmp_path / "rates.toml"
    file.write_text("[requests_per_day]\na = 5\nb = 3\n")
    answer = run(app, ["plan", "curve", str(file), "--resident-mib", "1", "--belady"])
    assert answer.exit_code == 2
    assert "for which --belady mean nothing" in " ".join(answer.output.split())


@pytest.mark.parametrize(
    ("options", "times"),
    [
        (["--time-format", "%d.%m.%Y %H:%M"], ["02.11.2026 08:00", "02.11.2026 09:00", "02.11.2026 10:00"]),
        (
            ["--time-format", "%d/%m/%Y %H:%M %z"],
            ["02/11/2026 10:00 +0200", "02/11/2026 09:00 +0000", "02/11/2026 10:00 +0000"],
        ),
        (["--time-unit", "s"], ["1793606400", "1793610000", "1793613600"]),
        (["--time-unit", "ms"], ["1793606400000", "1793610000000", "1793613600000"]),
        (["--time-unit", "ms"], ["0", "3600000", "7200000"]),
    ],
)
def test_times_are_read_as_they_are_said_to_be_written(tmp_path, options, times):
    file = tmp_path / "trace.csv"
    file.write_text(
        "tenant,timestamp\n" + "".join(f"{tenant},{time}\n" for tenant, time in zip("aba", times, strict=True))
    )
    answer = run(app, ["plan", "curve", str(file), "--resident-mib", "1", "--capacity-models", "2", "--json", *options])
    assert answer.exit_code == 0, answer.output
    # Two calls an hour apart and a third after another hour: no unload in a cache of both, and a hit of three.
    [row] = json.loads(answer.stdout)["rows"]
    assert row["lru"] == pytest.approx(1 / 3)
    assert ("relative trace" in answer.stderr) == (times[0] == "0")


def test_a_unit_is_not_guessed_where_it_is_given(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text("tenant,timestamp\na,0\nb,86400000\n")
    days = {}
    for unit in ("s", "ms"):
        answer = run(
            app, ["plan", "curve", str(file), "--resident-mib", "1", "--skip-days", "5000", "--time-unit", unit]
        )
        days[unit] = " ".join(answer.output.split())
    assert "the trace has 1,000 days" in days["s"]
    assert "the trace has 1 days" in days["ms"]


def test_a_time_zone_that_does_nothing_is_said(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text("tenant,timestamp\na,2026-11-02T08:00:00Z\nb,2026-11-02T09:00:00Z\n")
    answer = run(app, ["plan", "curve", str(file), "--resident-mib", "1", "--timezone", "Europe/London"])
    assert "--timezone Europe/London has no effect" in " ".join(answer.output.split())


def test_the_latency_of_a_trace_is_shown(tmp_path):
    file = tmp_path / "trace.csv"
    rows = "".join(f"m{number % 3},2026-11-0{1 + number % 9}T08:00:00Z,{number}\n" for number in range(1, 101))
    file.write_text("tenant,timestamp,took\n" + rows)
    answer = run(app, ["plan", "curve", str(file), "--resident-mib", "50", "--latency-column", "took"])
    assert answer.exit_code == 0, answer.output
    assert "the trace's own latency: p50 5" in answer.output


@pytest.mark.parametrize("instances", ["0", "1001", "40000"])
def test_a_count_of_instances_out_of_range_is_no_traceback(trace, instances):
    answer = run(app, ["plan", "curve", str(trace), "--resident-mib", "50", "--instances", instances])
    assert answer.exit_code == 2
    assert "--instances" in answer.output
