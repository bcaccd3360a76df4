"""`tierfleet plan fleet`: what a user sees, the exit codes, the report and the edit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import BUCKET, REGION, FakeAws, serving
from typer.testing import CliRunner
from workloads import zipf

from local_cloud.testing.fleets import CONFIG, ROOT
from tierfleet.cli import app
from tierfleet.config import load
from tierfleet.cost.ec2_prices import Ec2Prices
from tierfleet.cost.price_file import write_prices
from tierfleet.cost.prices import load_prices

run = CliRunner().invoke


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    """Two giants and 60 small tenants."""
    file = tmp_path / "rates.toml"
    calls = zipf(60, 50_000) | {"g1": 400_000.0, "g2": 300_000.0}
    file.write_text("[requests_per_day]\n" + "\n".join(f"{name} = {rate}" for name, rate in calls.items()))
    return file


@pytest.fixture
def fraud(tmp_path: Path) -> Path:
    """The fraud fleet without dedicated tenants."""
    lines = (CONFIG / "fraud-prod.toml").read_text().splitlines(keepends=True)
    file = tmp_path / "fraud-prod.toml"
    file.write_text("".join(line for line in lines if "{ model = " not in line))
    return file


def plan(*arguments: object) -> tuple[int, str, str]:
    answer = run(app, ["plan", "fleet", *map(str, arguments)])
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    return answer.exit_code, answer.stdout, answer.stderr


def test_a_plan_in_words_and_as_json(rates: Path, fraud: Path) -> None:
    before = fraud.read_text()
    code, text, _ = plan(rates, "--config", fraud, "--model-megabytes", 30)
    assert code == 0
    for words in (
        "plan    ",
        "today   ",
        "g1: whale: 53 % of calls",
        "move g2: tail -> whale",
        "quotas to ask AWS for",
    ):
        assert words in text
    code, text, _ = plan(rates, "--config", fraud, "--model-megabytes", 30, "--json")
    document = json.loads(text)
    assert code == 0
    assert [move["tenant"] for move in document["moves"]] == ["g1", "g2"]
    assert document["chosen"]["failures"] == []
    assert fraud.read_text() == before


def test_apply_edits_the_file_and_prints_the_diff(rates: Path, fraud: Path) -> None:
    pins = ("--pin", "g1=2026-11-20", "--pin", "g2=2026-11-21")
    code, text, notes = plan(rates, "--config", fraud, "--model-megabytes", 30, "--apply", *pins)
    assert code == 0
    assert '+g1 = { model = "g1/2026-11-20.tar.gz" }' in text
    assert "deploy it when you have read the diff" in notes
    assert set(load(fraud).dedicated_tiers["whale"].tenants) == {"g1", "g2"}
    code, text, notes = plan(rates, "--config", fraud, "--model-megabytes", 30, "--apply", *pins)
    assert code == 0
    assert "nothing to change" in notes


@pytest.mark.usefixtures("no_credentials")
def test_apply_without_pins_or_an_account_says_what_to_give(rates: Path, fraud: Path) -> None:
    before = fraud.read_text()
    code, _, notes = plan(rates, "--config", fraud, "--model-megabytes", 30, "--apply")
    assert code == 2
    assert "there are no AWS credentials; AWS_PROFILE" in notes
    assert "give --pin g1=VERSION --pin g2=VERSION" in notes
    assert fraud.read_text() == before


@pytest.mark.usefixtures("no_credentials")
def test_apply_pins_what_the_catalog_says_in_the_fleets_own_region(
    rates: Path, fraud: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws()
    with serving(aws) as url:
        for name, value in (("ENDPOINT_URL", url), ("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test")):
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
        code, text, _ = plan(rates, "--config", fraud, "--model-megabytes", 30, "--apply")
    assert code == 0
    assert '+g1 = { model = "g1/v1.tar.gz" }' in text
    assert (aws.buckets, aws.s3_regions) == ({BUCKET}, {REGION})


def test_nothing_within_the_budget_ends_with_1_and_shows_the_nearest(rates: Path, fraud: Path) -> None:
    before = fraud.read_text()
    code, text, _ = plan(rates, "--config", fraud, "--model-megabytes", 30, "--budget-usd", 100, "--apply")
    assert code == 1
    assert "No fleet meets the requirements. Nearest:" in text
    assert "budget $100" in text
    assert fraud.read_text() == before


def test_json_is_json_where_loads_never_end(tmp_path: Path, fraud: Path) -> None:
    rates, report = tmp_path / "busy.csv", tmp_path / "plan.html"
    rates.write_text("tenant,requests_per_day\n" + "".join(f"t{n},20000\n" for n in range(300)))
    small_types = tmp_path / "prices.toml"
    prices = load_prices()
    large = {name: usd for name, usd in prices.hosting["eu-west-1"].items() if name in ("ml.m5.large", "ml.m5.xlarge")}
    write_prices(replace(prices, ec2=Ec2Prices(), hosting={"eu-west-1": large}), small_types)
    more = ("--model-megabytes", 45, "--most-instances", 2, "--prices", small_types, "--json", "--html", report)
    code, text, _ = plan(rates, "--config", fraud, *more)
    assert code == 1
    document = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert any("loads need" in failure for failure in document["nearest"]["failures"])
    assert document["nearest"]["cold_p95_seconds"] is None
    assert "cold, no end" in report.read_text()


def test_no_hit_ratio_is_required_if_0_is(rates: Path, fraud: Path) -> None:
    code, text, _ = plan(rates, "--config", fraud, "--model-megabytes", 30, "--min-hit-ratio", 0)
    assert code == 0
    assert "required: cold p95 3 s, dedicated p99 50 ms\n" in text


def test_traffic_of_another_fleet_is_pointed_at(tmp_path: Path, fraud: Path) -> None:
    rates = tmp_path / "other.csv"
    rates.write_text("tenant,requests_per_day\nacme,5000\nbolt,4000\n")
    _, text, _ = plan(rates, "--config", fraud, "--model-megabytes", 30)
    assert "none of the 50 tenants that the fleet file names (m02, ...) is in the traffic, which has acme, ..." in text


def test_a_whale_that_outgrows_its_tier_is_named(tmp_path: Path, fraud: Path) -> None:
    rates = tmp_path / "big.csv"
    rates.write_text("tenant,requests_per_day\nm01,50000000\nm02,4000\n")
    _, text, _ = plan(rates, "--config", fraud, "--model-megabytes", 30)
    assert "m01 needs 12 x ml.m5.large in its busiest hour, and may have 8: raise instances.max" in text


def test_a_kept_tenant_and_a_required_p99_are_respected(rates: Path, fraud: Path) -> None:
    more = ("--keep", "g2", "--tenant-p99", "t0060=50", "--json", "--model-megabytes", 30)
    code, text, _ = plan(rates, "--config", fraud, *more, "--calls-per-session", 1)
    assert code == 0
    document = json.loads(text)
    assert "g2" not in document["chosen"]["dedicated"]
    assert "t0060 p99 50 ms" in document["requirements"]


def test_claims_and_a_session_s_length_reach_the_plan(rates: Path, fraud: Path) -> None:
    more = ("--model-megabytes", 30, "--claim", "10=90", "--claim", "62", "--claim-usd", 99, "--json")
    few = json.loads(plan(rates, "--config", fraud, *more)[1])
    bursts = json.loads(plan(rates, "--config", fraud, *more, "--calls-per-session", 5)[1])
    assert [claim["claimed"] for claim in few["claims"]] == [0.9, None]
    assert bursts["claims"][0]["point"]["che"] > few["claims"][0]["point"]["che"]
    assert bursts["calls_per_session"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-megabytes", "30", "--tenant-p99", "g1"], "--tenant-p99 g1: write NAME=NUMBER"),
        (
            ["--model-megabytes", "30", "--tenant-p99", "unknown=5"],
            "--tenant-p99 unknown: no such tenant in the traffic",
        ),
        (["--model-megabytes", "30", "--keep", "unknown"], "--keep unknown: no such tenant"),
        (["--model-megabytes", "30", "--claim", "x=80"], "write MODELS=PERCENT"),
        (["--model-megabytes", "30", "--claim", "5=80", "--claim", "5=9"], "--claim 5 is given twice: give it once"),
        (
            ["--model-megabytes", "30", "--tenant-p99", "g1=5", "--tenant-p99", "g1=6"],
            "--tenant-p99 g1 is given twice: give it once",
        ),
        (["--model-megabytes", "30", "--calls-per-session", "inf"], "inf is not a finite number"),
        (["--model-megabytes", "30", "--claim", "500=180"], "percent above 0 and up to 100"),
        (["--model-megabytes", "30", "--profile", "nonsense"], "'nonsense' is no profile; there are stock"),
        (["--model-megabytes", "30", "--budget-usd", "-1"], "the budget (--budget-usd) is -1; give a number above 0"),
        (["--model-megabytes", "30", "--min-hit-ratio", "1.5"], "(--min-hit-ratio) is 1.5; give a ratio of 0 to 1"),
        (
            ["--model-megabytes", "30", "--warm-p95-milliseconds", "0"],
            "(--warm-p95-milliseconds), in seconds, is 0; give",
        ),
        (
            ["--model-megabytes", "30", "--html", "/nowhere/plan.html"],
            "--html /nowhere/plan.html: there is no directory",
        ),
        ([], "the size of 62 of 62 models is not known"),
    ],
)
def test_what_cannot_be_planned_with_is_one_clear_error(
    rates: Path, fraud: Path, arguments: list[str], message: str
) -> None:
    code, _, notes = plan(rates, "--config", fraud, *arguments)
    assert code == 2
    assert message in notes
    assert "Traceback" not in notes


def test_a_trace_of_one_tenant_is_planned_with_a_word_about_it(tmp_path: Path) -> None:
    trace = tmp_path / "one.csv"
    trace.write_text("tenant,timestamp\n" + "".join(f"a,2026-01-0{day}T10:00:00Z\n" for day in range(1, 8)))
    code, text, _ = plan(trace, "--config", CONFIG / "fraud-dev.toml", "--model-megabytes", 20)
    assert code == 0
    assert "all 7 requests are for one tenant, a" in text
    # The file has one instance today, so one may do.
    assert "plan    1 x ml." in text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("tenant,timestamp\n", "has 0 rows"),
        ("who,timestamp\na,2026-01-01T00:00:00Z\n", "no tenant column"),
        ("tenant,timestamp\na,2026-01-01T00:00:00Z\nb,2026-01-01T02:00:00\n", "mixes times with a zone"),
        ("tenant,timestamp,model_bytes\na,2026-01-01T00:00:00Z,-5\n", "a negative size"),
        ("tenant,timestamp\na,2026-01-01T00:00:00Z\n", "all requests have the same time"),
    ],
)
def test_a_broken_trace_gets_one_clear_message(tmp_path: Path, lines: str, message: str) -> None:
    trace = tmp_path / "broken.csv"
    trace.write_text(lines)
    code, text, notes = plan(trace, "--config", CONFIG / "fraud-dev.toml", "--model-megabytes", 20)
    assert code == 2
    assert message in notes
    assert notes.count("error:") == 1
    assert text == ""


def test_a_container_without_a_profile_needs_one(rates: Path, fraud: Path) -> None:
    uri = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/ours:1"
    text = fraud.read_text().replace('image = "sagemaker-xgboost"\nversion = "1.7-1"', f'image = "{uri}"')
    fraud.write_text(text)
    code, _, notes = plan(rates, "--config", fraud, "--model-megabytes", 30)
    assert code == 2
    assert f"the container {uri} has no profile" in notes
    assert plan(rates, "--config", fraud, "--model-megabytes", 30, "--profile", "stock")[0] == 0


def test_sizes_of_another_container_are_not_written(rates: Path, fraud: Path) -> None:
    before = fraud.read_text()
    more = ("--model-megabytes", 30, "--apply", "--pin", "g1=1", "--pin", "g2=1")
    code, text, notes = plan(rates, "--config", fraud, *more, "--profile", "tierfleet")
    assert code == 2
    assert "not that of the file's container, sagemaker-xgboost; change [container] first" in notes
    assert "change [container] before you change sizes" in text
    prototypes = fraud.with_name("prototypes.toml")
    shipped = (ROOT / "tierfleet" / "data" / "profiles.toml").read_text()
    own = shipped[shipped.index("[profiles.booster]") :].replace("booster", "faster").replace("= false", "= true")
    prototypes.write_text(own)
    code, _, notes = plan(rates, "--config", fraud, *more, "--profiles", prototypes, "--profile", "faster")
    assert code == 2
    assert "prototype that nothing ships" in notes
    assert fraud.read_text() == before


def test_a_region_without_prices_is_an_error_that_says_how_to_get_them(rates: Path, fraud: Path) -> None:
    fraud.write_text(fraud.read_text().replace('"eu-west-1"', '"cn-north-1"'))
    code, _, notes = plan(rates, "--config", fraud, "--model-megabytes", 30)
    assert code == 2
    assert "tierfleet prices refresh --region cn-north-1, or plan as elsewhere: --region us-east-1" in notes


def test_a_plan_may_take_the_prices_of_another_region(rates: Path, fraud: Path) -> None:
    own = json.loads(plan(rates, "--config", fraud, "--model-megabytes", 30, "--json")[1])
    fraud.write_text(fraud.read_text().replace('"eu-west-1"', '"ap-south-1"'))
    code, text, _ = plan(rates, "--config", fraud, "--model-megabytes", 30, "--region", "eu-west-1", "--json")
    document = json.loads(text)
    assert code == 0
    assert document["region"] == "eu-west-1"
    assert document["chosen"] == own["chosen"]
    assert (
        document["notices"][0]
        == "planned with the prices and instance types of eu-west-1, although the fleet is in ap-south-1"
    )
    code, _, notes = plan(rates, "--config", fraud, "--model-megabytes", 30, "--region", "mars-1")
    assert (code, "region mars-1 is not among those known" in notes) == (2, True)


def test_a_fleet_without_a_dedicated_tier_gets_the_table_to_add(rates: Path, tmp_path: Path) -> None:
    for name in ("churn-prod.toml", "churn-prod.warm-up.txt"):
        shutil.copy(CONFIG / name, tmp_path)
    file = tmp_path / "churn-prod.toml"
    code, text, notes = plan(
        rates, "--config", file, "--model-megabytes", 30, "--apply", "--pin", "g1=1", "--pin", "g2=1"
    )
    assert code == 2
    assert "g1: whale" in text
    assert "the file has no dedicated tier; add one" in notes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--least-instances", 5, "--most-instances", 3), ("--min-instances is 5", "--max-instances 3")),
        (("--mean-gap-seconds", 60), ("--mean-gap-seconds does nothing without --calls-per-session",)),
        (("--pin", "g1=v1"), ("--pin does nothing without --apply",)),
        (
            ("--apply", "--pin", "unknown=v1"),
            ("--pin names unknown, and the plan gives dedicated endpoints to g1, g2",),
        ),
        (
            ("--skip-days", 1, "--strict", "--timezone", "UTC", "--pin", "g1=v1"),
            ("--skip-days, --strict, --timezone mean nothing", "--pin does nothing"),
        ),
        (
            ("--apply", "--region", "us-east-1"),
            ("--apply would write sizes for us-east-1 into the file of a fleet in eu",),
        ),
        (("--claim-usd", 5), ("--claim-usd does nothing without --claim",)),
        (("--min-instances", 2, "--least-instances", 2), ("--least-instances is the former name of --min-instances",)),
        (("--time-unit", "s"), ("for which --time-unit mean nothing",)),
        (("--tenant-column", "t", "--timestamp-column", "s", "--model-bytes-column", "b"), ("mean nothing",)),
    ],
)
def test_options_that_contradict_each_other_or_do_nothing_are_refused(
    rates: Path, fraud: Path, options: tuple[object, ...], words: tuple[str, ...]
) -> None:
    before = fraud.read_text()
    code, _, errors = plan(rates, "--config", fraud, "--model-megabytes", 30, *options)
    assert code == 2
    flat = " ".join(errors.split())
    assert all(text in flat for text in words)
    assert fraud.read_text() == before


def test_the_former_names_of_the_instance_bounds_still_work(rates: Path, fraud: Path) -> None:
    more = ("--model-megabytes", 30, "--json")
    old, new = (
        json.loads(plan(rates, "--config", fraud, *more, f"--{low}-instances", 3, f"--{high}-instances", 4)[1])
        for low, high in (("least", "most"), ("min", "max"))
    )
    assert old == new
    assert old["chosen"]["instances"] in (3, 4)


def test_the_report_never_overwrites_an_input(rates: Path, fraud: Path) -> None:
    before = fraud.read_text(), rates.read_text()
    for file in (fraud, rates):
        code, _, errors = plan(rates, "--config", fraud, "--model-megabytes", 30, "--html", file)
        assert (code, "would overwrite an input of the command" in " ".join(errors.split())) == (2, True)
    assert (fraud.read_text(), rates.read_text()) == before


def test_models_far_outside_the_measured_sizes_are_named(rates: Path, fraud: Path) -> None:
    def notices(megabytes: float) -> list[str]:
        text = plan(rates, "--config", fraud, "--model-megabytes", megabytes, "--json")[1]
        return [notice for notice in json.loads(text)["notices"] if "extrapolated" in notice]

    assert notices(50) == []
    [notice] = notices(600)
    assert notice.startswith("profile stock was measured with models of 0.1 to 44.2 MB; 62 of 62 models are outside")
    assert "such as one of 600 MB" in notice


def test_what_names_no_tenant_or_does_nothing_is_said(tmp_path: Path, fraud: Path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text("tenant,requests_per_day,model_bytes\nm01/1.tar.gz,500,30000000\nm02,900,30000000\n")
    code, text, _ = plan(file, "--config", fraud, "--model-megabytes", 40)
    assert code == 0
    flat = " ".join(text.split())
    assert "1 of 2 names in the traffic cannot be tenants of a fleet, such as 'm01/1.tar.gz'" in flat
    assert "--model-megabytes 40 has no effect" in flat


def test_sizes_in_megabytes_are_not_taken_for_bytes(tmp_path: Path, fraud: Path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text("tenant,requests_per_day,model_bytes\nm01,500,40\nm02,900,45\n")
    code, _, errors = plan(file, "--config", fraud)
    assert code == 2
    assert "the size of 2 of 2 models is below 100 bytes, such as m01's of 40 bytes" in " ".join(errors.split())


def test_a_trace_of_seconds_is_said_to_be_extrapolated(fraud: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = "".join(f"m{number % 7},2026-11-02T08:00:{number % 40:02}Z\n" for number in range(200))
    trace.write_text("tenant,timestamp\n" + rows)
    _, text, _ = plan(trace, "--config", fraud, "--model-megabytes", 30, "--json")
    assert any(
        note.startswith("the trace lasts 39 s: calls a day and the monthly") for note in json.loads(text)["notices"]
    )
