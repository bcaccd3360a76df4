"""docs/choosing.md says of each hosting what the code does."""

import re

import pytest

from local_cloud.testing.fleets import ROOT, fleet
from tierfleet.config import quotas, routes
from tierfleet.config.hosting.serverless import REGIONS
from tierfleet.config.published_metrics import PUBLISHED
from tierfleet.cost.prices import HOURS_PER_MONTH, load_prices
from tierfleet.runtime.hosting import SHAPES
from tierfleet.runtime.warm_up.comparison import TOLERANCE

PAGE = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
TABLE = {row[0]: row[1:] for row in ROWS}
HOSTINGS = [cell.strip("`") for cell in TABLE[""]]


def of(hosting: str, row: str) -> str:
    return TABLE[row][HOSTINGS.index(hosting)]


def test_every_hosting_has_a_column() -> None:
    assert set(HOSTINGS) == set(SHAPES) <= set(PUBLISHED)


@pytest.mark.parametrize("hosting", SHAPES)
def test_what_a_caller_must_know(hosting: str) -> None:
    shape = SHAPES[hosting]
    assert float(of(hosting, "Client waits at most (seconds)")) == shape.longest_answer_seconds
    assert of(hosting, "Call names the model (TargetModel)") == ("yes" if shape.shared else "no")
    assert of(hosting, "Endpoints").startswith("one for all" if shape.shared else "one for each")
    assert int(of(hosting, "Largest request (MB)")) == (shape.max_body_bytes or 6 * 2**20) // 2**20


def test_the_names_of_the_endpoints() -> None:
    rare = {
        "hosting": "serverless",
        "memory_size_in_mb": 1024,
        "max_concurrency": 1,
        "alarms": {"max_model_latency_p99_milliseconds": 500},
        "tenants": {"r1": {"model": "r1/1.tar.gz"}},
    }
    config = fleet(network_isolation=False, routes={"bake_minutes": 7}, tiers={"rare": rare})
    names = {
        "multi-model": routes.endpoint_name(fleet(), "tail"),
        "dedicated": routes.endpoint_name(config, "whale", "w1"),
        "serverless": routes.endpoint_name(config, "rare", "r1"),
    }
    assert {hosting: of(hosting, "Endpoint name").strip("`") for hosting in HOSTINGS} == names


def test_quotas_regions_and_tolerance() -> None:
    endpoints, concurrency = quotas.DEFAULT_SERVERLESS_ENDPOINTS, quotas.DEFAULT_SERVERLESS_CONCURRENCY
    assert of("serverless", "Quotas of the account") == f"{endpoints} endpoints, {concurrency} calls at once"
    assert f"may have {endpoints} serverless endpoints with {concurrency} calls at once" in PAGE.replace("\n", " ")
    assert of("serverless", "Regions") == str(len(REGIONS))
    assert f"by more than {TOLERANCE:.6f}." in PAGE


def test_the_prices_and_the_break_even() -> None:
    prices = load_prices()
    second = prices.unit_price("serverless_3gb_second", "us-east-1").usd
    month = prices.hourly_price("ml.m5.large", "us-east-1").usd * HOURS_PER_MONTH
    assert f"costs ${second:.5f}" in PAGE
    assert f"costs ${month:.2f} a month" in PAGE
    calls = month / (second * 0.2) / (HOURS_PER_MONTH / 24)
    (shown,) = re.findall(r"at about ([\d,]+) calls a day", PAGE.replace("\n", " "))
    assert int(shown.replace(",", "")) == pytest.approx(calls, rel=0.02)
