"""docs/choosing.md says of each hosting what the code does and computes."""

import json
import re
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG, ROOT, fleet
from tierfleet.cli import app
from tierfleet.config import load, quotas, routes
from tierfleet.config.hosting.serverless import REGIONS
from tierfleet.config.hosting_guide import GUIDES, REAL_TIME_MEBIBYTES, row_of, shapes_markdown, shapes_table
from tierfleet.config.published_metrics import PUBLISHED
from tierfleet.cost.monthly_cost import monthly_cost
from tierfleet.cost.prices import HOURS_PER_MONTH, load_prices
from tierfleet.cost.resource_counts import ALARMS
from tierfleet.cost.usage import Usage
from tierfleet.planning.profiles.profile_files import load_profiles
from tierfleet.planning.reference_fleets.fleets import ReferenceFleet, reference_fleets
from tierfleet.planning.reference_fleets.options import Option, options
from tierfleet.planning.reference_fleets.text import (
    reference_fleets_json,
    reference_fleets_markdown,
    reference_fleets_text,
)
from tierfleet.runtime.hosting import SHAPES
from tierfleet.runtime.warm_up.comparison import TOLERANCE

PAGE = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
IN_ONE_LINE = " ".join(PAGE.split())
Compared = Sequence[tuple[ReferenceFleet, Sequence[Option]]]


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    assert result.exit_code == code, result.output
    return result.output


def shown(command: str) -> str:
    """What the page has between the markers of a command."""
    return PAGE.partition(f"<!-- {command} -->\n")[2].partition("<!-- end -->")[0]


@pytest.fixture(scope="module")
def compared() -> Compared:
    prices, profiles = load_prices(), load_profiles()
    return [(each, list(options(each, prices, profiles))) for each in reference_fleets(CONFIG)]


def option(compared: Compared, fleet_name: str, name: str) -> Option:
    (way,) = [each for fleet, ways in compared if fleet.name == fleet_name for each in ways if each.name == name]
    return way


def test_the_page_has_the_table_of_shapes_that_the_command_prints() -> None:
    assert shown("tierfleet shapes --markdown") == shapes_markdown() + "\n"
    assert run("shapes", "--markdown") == shapes_markdown() + "\n"


def test_every_hosting_has_a_guide_and_metrics() -> None:
    assert set(SHAPES) <= set(GUIDES)
    assert set(GUIDES) == set(PUBLISHED)
    assert set(shapes_table()) == set(SHAPES)


def test_the_showcase_has_one_tier_of_each_hosting() -> None:
    assert sorted(tier.hosting for tier in load(CONFIG / "showcase-dev.toml").tiers.values()) == sorted(SHAPES)


@pytest.mark.parametrize("hosting", SHAPES)
def test_a_guide_says_what_the_client_does(hosting: str) -> None:
    shape, row = SHAPES[hosting], row_of(hosting)
    assert ("TargetModel" in row["A call names"]) == shape.shared
    if shape.request_response:
        most = shape.max_body_bytes or REAL_TIME_MEBIBYTES * 2**20
        assert row["Largest request"].startswith(f"{most // 2**20} MB")
    else:
        assert row["Largest request"].startswith(f"{shape.max_body_bytes // 10**9} GB")
    assert (row["Cold call"].startswith("none")) == shape.always_in_memory


def test_the_names_of_endpoints_have_the_form_of_the_table() -> None:
    names = {
        "multi-model": routes.endpoint_name(fleet(), "tail"),
        "dedicated": routes.endpoint_name(fleet(), "whale", "w1"),
    }
    for hosting, name in names.items():
        words, shown_words = name.split("--"), row_of(hosting)["Endpoint name"].split("--")
        assert len(words) == len(shown_words)
        assert words[-1].split("-")[0] == shown_words[-1].split("-")[0]


def test_the_table_fits_a_terminal_of_80_columns_and_scripts_get_the_same() -> None:
    text = run("shapes")
    assert max(map(len, text.splitlines())) <= 80
    assert [line for line in text.splitlines() if line and not line.startswith(" ")] == list(SHAPES)
    assert json.loads(run("shapes", "--json")) == shapes_table()


def test_the_page_has_the_reference_fleets_as_they_are_computed(compared: Compared) -> None:
    assert shown("tierfleet shapes --reference-fleets --markdown") == reference_fleets_markdown(compared) + "\n"


def test_the_reference_fleets_fit_a_terminal_and_scripts_get_the_numbers(compared: Compared) -> None:
    assert max(map(len, reference_fleets_text(compared).splitlines())) <= 80
    fraud, churn = reference_fleets_json(compared)
    assert (fraud["fleet"], churn["fleet"]) == ("fraud", "churn")
    assert all(way["usd"] > 0 and 0 <= way["waiting_share"] < 1 for way in [*fraud["options"], *churn["options"]])


def test_the_comparison_is_that_of_the_planner_and_the_price_table(compared: Compared) -> None:
    prices = load_prices()
    month = prices.hourly_price("ml.m5.large", "us-east-1").usd * HOURS_PER_MONTH
    own = option(compared, "churn", "dedicated")
    assert (own.endpoints, own.made_of) == (4000, "8,000 x ml.m5.large")
    assert own.usd == pytest.approx(8000 * month + 4000 * 0.1 * 10, rel=0.01)
    assert option(compared, "churn", "40 groups of 100, shared code").endpoints == 40
    fraud = next(fleet for fleet, _ in compared if fleet.name == "fraud")
    bill = monthly_cost(fraud.config, prices, Usage(traffic=fraud.workload.traffic())).usd
    assert option(compared, "fraud", "as its file has it").usd == pytest.approx(bill, rel=0.02)
    shared, hosted = option(compared, "churn", "multi-model"), option(compared, "churn", "self-hosted on EKS")
    # EC2 costs less than hosting; the cluster and the load balancer cost 89 dollars.
    assert 0.75 < (hosted.usd - 89) / shared.usd < 1
    # A tenant of churn calls every 72 minutes on average: most calls come after the container is gone.
    assert 0.5 < option(compared, "churn", "serverless").waiting_share < 0.9


def test_what_the_page_says_of_serverless_alarms(compared: Compared) -> None:
    alarms = 4000 * ALARMS["serverless"](None, None).billed_metrics * 0.1
    whole = option(compared, "churn", "serverless").usd
    assert f"of ${whole:,.0f} for 4,000 serverless endpoints, ${alarms:,.0f} are alarms" in IN_ONE_LINE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shapes", "--json", "--markdown"), "--json and --markdown cannot be combined"),
        (("shapes", "--prices", "prices.toml"), "--prices does nothing without --reference-fleets"),
        (("shapes", "--reference-fleets", "--directory", "nowhere"), "nowhere/fraud-prod.toml"),
    ],
)
def test_options_that_cannot_work_end_with_one_error(arguments: tuple[str, ...], message: str) -> None:
    assert message in " ".join(run(*arguments, code=2).split())


def test_quotas_regions_and_tolerance() -> None:
    endpoints, concurrency = quotas.DEFAULT_SERVERLESS_ENDPOINTS, quotas.DEFAULT_SERVERLESS_CONCURRENCY
    assert row_of("serverless")["Quotas of the account"] == f"{endpoints} endpoints, {concurrency} calls at once"
    assert f"may have {endpoints} serverless endpoints with {concurrency} calls at once" in IN_ONE_LINE
    assert row_of("serverless")["Regions"] == str(len(REGIONS))
    assert f"by more than {TOLERANCE:.6f}." in PAGE


def test_the_prices_and_the_break_even() -> None:
    prices = load_prices()
    second = prices.unit_price("serverless_3gb_second", "us-east-1").usd
    month = prices.hourly_price("ml.m5.large", "us-east-1").usd * HOURS_PER_MONTH
    assert f"costs ${second:.5f}" in PAGE
    assert f"costs ${month:.2f} a month" in PAGE
    calls = month / (second * 0.2) / (HOURS_PER_MONTH / 24)
    (break_even,) = re.findall(r"at about ([\d,]+) calls a day", IN_ONE_LINE)
    assert int(break_even.replace(",", "")) == pytest.approx(calls, rel=0.02)
