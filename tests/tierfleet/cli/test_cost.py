"""`tierfleet cost` and `tierfleet prices`, as a user and as a script call them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG, document
from tierfleet.cli import app
from tierfleet.cost.prices import shipped_prices_file

runner = CliRunner()
FRAUD, CHURN = CONFIG / "fraud-prod.toml", CONFIG / "churn-prod.toml"


def run(*arguments: object, code: int = 0) -> str:
    result = runner.invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": None})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def test_the_bill_names_tiers_tenants_assumptions_and_sources() -> None:
    shown = run("cost", CHURN)
    assert "churn-prod in us-east-1: US dollars a month" in shown
    assert "2 (2 to 4) x ml.r5.large at $0.151 an hour" in shown
    assert "assumed: a month has 730 hours" in shown
    assert "not in it: model storage: give --artefact-megabytes" in shown
    assert "price: ml.r5.large: 2026-09-27, AWS price list file" in run("cost", CHURN, "--verbose")
    assert "; also 2026-04-21, AWS Price List API" in run("cost", CHURN, "--verbose")
    whales = run("cost", FRAUD)
    assert [f"m{number}" in whales for number in ("01", "04", "12", "18", "29")] == [True] * 5
    assert "x ml.m5.large at $0.128 an hour" in whales
    assert "x ml.m5.large at $0.128 an hour (unchecked)" not in whales
    assert "9 of them unchecked: --verbose names the sources" in whales
    assert "price: ml.m5.large, ml.m5.xlarge: 2026-09-22, AWS price list file AmazonSageMaker" in run(
        "cost", FRAUD, "--verbose"
    )


def test_the_documentation_shows_what_the_command_prints() -> None:
    page = (CONFIG.parent / "docs/cost.md").read_text()
    assert run("cost", CHURN).split("\n\n")[0] in page


def test_json_holds_every_line_and_adds_up() -> None:
    bill = json.loads(run("cost", FRAUD, "--json"))
    assert sum(line["usd"] for line in bill["lines"]) == pytest.approx(bill["usd_a_month"]["expected"])
    assert {line["tenant"] for line in bill["lines"] if line["tier"] == "whale"} == {"m01", "m04", "m12", "m18", "m29"}
    assert all(price["as_of"] and price["source"] for price in bill["prices"])


def test_traffic_shows_the_dearest_tenants(tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rows = "".join(f"c{number:04},{80_000 / number:.3f}\n" for number in range(1, 31))
    rates.write_text(f"tenant,requests_per_day\n{rows}")
    shown = run("cost", CHURN, "--traffic", rates)
    assert "the 10 dearest of 30 tenants" in shown
    assert "c0001" in shown
    assert "c0011" not in shown
    assert len(json.loads(run("cost", CHURN, "--traffic", rates, "--json"))["tenants"]) == 30


def edited(directory: Path) -> Path:
    content = tomlkit.parse(FRAUD.read_text())
    content["tiers"]["whale"]["tenants"]["m07"] = {"model": "m07/2026-11-14.tar.gz"}  # type: ignore[index]
    file = directory / FRAUD.name
    file.write_text(tomlkit.dumps(content))
    return file


def test_a_promotion_is_one_line_of_the_difference(tmp_path: Path) -> None:
    new = edited(tmp_path)
    shown = run("cost", "--diff", FRAUD, new)
    line = next(line for line in shown.splitlines() if "m07" in line)
    assert line.split() == ["whale", "m07", "0.00", "187.88", "+$187.88", "comes", "from", "tail"]
    change = json.loads(run("cost", "--diff", FRAUD, new, "--json"))
    assert change["usd_a_month"]["change"] == pytest.approx(187.88)
    assert change["usd_a_month"]["change"] == pytest.approx(
        change["usd_a_month"]["after"] - change["usd_a_month"]["before"]
    )


def test_markdown_is_a_table_for_a_pull_request(tmp_path: Path) -> None:
    shown = run("cost", "--diff", FRAUD, edited(tmp_path), "--markdown").splitlines()
    assert shown[0] == "### Cost of fraud-prod: +$187.88 a month"
    assert "| whale | m07 | 0.00 | 187.88 | +$187.88 | comes from tail |" in shown
    assert "<details><summary>What this rests on</summary>" in shown
    same = run("cost", "--diff", FRAUD, FRAUD, "--markdown")
    assert same.startswith("### Cost of fraud-prod: $0.00 a month\n\nNo change: $1,323.")
    assert run("cost", FRAUD, "--markdown").startswith("### Cost of fraud-prod (eu-west-1): $1,323.")


def test_directories_are_compared_file_by_file(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for directory in (before, after):
        directory.mkdir()
        for file in CONFIG.iterdir():
            (directory / file.name).write_bytes(file.read_bytes())
    edited(after)
    (before / "fraud-dev.toml").unlink()
    (after / "churn-prod.toml").unlink()
    shown = run("cost", "--diff", before, after, "--markdown")
    titles = [line for line in shown.splitlines() if line.startswith("###")]
    assert titles[0].startswith("### Cost of churn-prod: -$247.")
    assert titles[1].startswith("### Cost of fraud-dev: +$")
    assert titles[2] == "### Cost of fraud-prod: +$187.88 a month"
    assert "new fleet" in shown
    assert "fleet removed" in shown
    assert [len(diff["changes"]) for diff in json.loads(run("cost", "--diff", before, after, "--json"))] == [2, 4, 1, 0]


def test_one_fleet_without_a_price_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / FRAUD.name).write_text(FRAUD.read_text())
    (tmp_path / "shop-test.toml").write_text(tomlkit.dumps(document(region="cn-north-1")))
    shown = run("cost", "--diff", tmp_path, tmp_path, "--markdown", code=2)
    assert "### Cost of fraud-prod: $0.00 a month" in shown
    assert "### Cost unknown" in shown
    assert "no price is known in cn-north-1" in shown


def test_an_unknown_price_ends_with_2_and_says_what_to_add(tmp_path: Path) -> None:
    file = tmp_path / "shop-test.toml"
    file.write_text(tomlkit.dumps(document(tiers={"tail": {"instance_type": "ml.m5d.xlarge"}})))
    table = tmp_path / "prices.toml"
    shipped = shipped_prices_file().read_text()
    table.write_text(shipped.replace("\nm5d = ", "\n# m5d = "))
    shown = run("cost", file, "--prices", table, code=2)
    assert "no price of ml.m5d.xlarge in eu-west-1: tierfleet prices refresh --region eu-west-1 reads" in shown
    assert "or add the line" in shown
    assert "US dollars a month" in run("cost", file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([CHURN, FRAUD], "2 fleet files given; give one"),
        ([CHURN, "--json", "--markdown"], "cannot be combined"),
        ([CHURN, "--cold-share", "2"], "cold_share is 2.0, allowed: 0 to 1"),
        ([CHURN, "--cold-share", "0.2"], "--cold-share does nothing without --traffic"),
        ([CHURN, "--log-bytes-per-call", "9"], "--log-bytes-per-call does nothing without --traffic"),
        ([CHURN, "--call-milliseconds", "9"], "--call-milliseconds does nothing without --traffic"),
        ([CHURN, "--versions-kept", "2"], "--versions-kept does nothing without --artefact-megabytes"),
        ([CHURN, "--against", "main"], "--against does nothing without --diff"),
        (["--diff", CHURN, CHURN, "--against", "main"], "so --against does nothing: leave it out"),
        ([CHURN, "--nat-gateways", "1"], "no [network]"),
        ([CHURN, "--traffic", "absent.csv"], "absent.csv cannot be read"),
        ([CHURN, "--prices", "absent.toml"], "absent.toml cannot be read"),
        (["absent-prod.toml"], "cannot be read"),
        (["--diff", CONFIG, CHURN], "give two fleet files or two directories"),
        (["--diff", CONFIG.parent / "docs", CONFIG.parent / "docs"], "no fleet files in"),
    ],
)
def test_bad_input_ends_with_2_and_one_sentence(arguments: list[object], message: str) -> None:
    assert message in run("cost", *arguments, code=2)


def test_prices_are_shown_with_date_and_source() -> None:
    shown = run("prices", "show", "--region", "us-east-1")
    assert shown.splitlines()[0] == "us-east-1: US dollars, date and sources"
    [row] = [line for line in shown.splitlines() if line.startswith("  ml.r5.2xlarge ")]
    first, second = row.split()[-2:]
    assert f"\n{first} offer-file-2026-09-27: AWS price list file AmazonSageMaker, us-east-1" in shown
    assert f"\n{second} price-list-2026-04-21: AWS Price List API, us-east-1" in shown
    [undated] = [line for line in shown.splitlines() if line.startswith("  ml.c5d.2xlarge ")]
    assert undated.endswith("unchecked")
    assert "eu-west-1" not in shown
    assert "unchecked" in run("prices", "show", "--region", "eu-west-1")
    prices = json.loads(run("prices", "show", "--json"))
    assert len({price["region"] for price in prices}) == 36
    assert all(price["unchecked"] for price in prices if price["derived"])
    assert "has no prices of eu-west-9" in run("prices", "show", "--region", "eu-west-9", code=2)


def test_costs_need_no_numerical_package() -> None:
    """The extra `cli` is enough: numpy and scipy belong to `planning`."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('numpy', 'scipy', 'numba', 'duckdb')));"
        "from tierfleet.cli.cost.cost_command import cost; from tierfleet.cli.plan.calibrate_command import calibrate"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(CONFIG.parent)})
