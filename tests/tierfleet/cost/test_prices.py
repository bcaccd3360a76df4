"""The price table: every price with its source, and an unknown one is an error that says what to do."""

import importlib.util
import json
from pathlib import Path

import pytest

from local_cloud.testing.fleets import FLEET_FILES
from tierfleet.config import load
from tierfleet.cost.prices import UNITS, UnknownPriceError, load_prices
from tierfleet.errors import InputError
from tierfleet.instance_types import hosting_types
from tierfleet.planning.search.candidates import offered_instance_types

SOUND = """
[sources.bill]
date = 2026-01-31
text = "a bill"
[regions.eu-west-1.hosting_instance_hour]
"ml.m5.large" = { usd = 0.5, source = "bill" }
[regions.eu-west-1.unit]
s3_storage_gb_month = { usd = 0.02, through = 100, source = "bill" }
"""


def table(directory: Path, text: str) -> Path:
    file = directory / "prices.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_shipped_table_prices_every_example_fleet() -> None:
    prices = load_prices()
    for file in FLEET_FILES:
        config = load(file)
        assert all(prices.unit_price(unit, config.region).usd > 0 for unit in UNITS)
        for tier in config.instance_tiers.values():
            assert prices.hourly_price(tier.instance_type, config.region).usd > 0


def test_every_shipped_price_has_a_dated_source_and_a_type_that_is_offered() -> None:
    prices = load_prices()
    for region in prices.regions:
        offered = {found.name for found in offered_instance_types(region)}
        assert prices.hosting[region].keys() <= offered
        for price in (*prices.hosting[region].values(), *prices.units[region].values()):
            assert price.source.as_of.year >= 2023
            assert len(price.source.text) > 20


def test_a_bigger_instance_of_a_family_costs_in_proportion() -> None:
    for region, prices in load_prices().hosting.items():
        a_vcpu: dict[str, list[float]] = {}
        for found in offered_instance_types(region):
            if found.name in prices:
                a_vcpu.setdefault(found.family, []).append(prices[found.name].usd / found.vcpus)
        assert all(max(usd) / min(usd) < 1.01 for usd in a_vcpu.values()), a_vcpu


def test_an_unknown_type_says_which_line_to_add(tmp_path: Path) -> None:
    prices = load_prices(table(tmp_path, SOUND))
    with pytest.raises(UnknownPriceError) as error:
        prices.hourly_price("ml.r5.large", "eu-west-1")
    message = str(error.value)
    assert "no price of ml.r5.large in eu-west-1" in message
    assert '"ml.r5.large" = { usd = ..., source = ... } to [regions.eu-west-1.hosting_instance_hour]' in message
    assert "tierfleet prices refresh --region eu-west-1" in message
    assert "ml.m5.large" in message


def test_an_unknown_region_and_unit_are_errors_too(tmp_path: Path) -> None:
    prices = load_prices(table(tmp_path, SOUND))
    with pytest.raises(
        UnknownPriceError, match=r"no price of lambda_request in eu-west-1: .*\[regions.eu-west-1.unit\]"
    ):
        prices.unit_price("lambda_request", "eu-west-1")
    with pytest.raises(UnknownPriceError, match="no price is known in eu-west-2, only in eu-west-1"):
        prices.hourly_price("ml.m5.large", "eu-west-2")
    with pytest.raises(KeyError):
        prices.unit_price("lambda_requests", "eu-west-1")


def test_a_price_holds_only_up_to_its_tier(tmp_path: Path) -> None:
    price = load_prices(table(tmp_path, SOUND)).unit_price("s3_storage_gb_month", "eu-west-1")
    assert price.of(100) == pytest.approx(2.0)
    with pytest.raises(UnknownPriceError, match="known up to 100 units a month, asked for 101"):
        price.of(101)


def test_every_mistake_of_a_table_is_named(tmp_path: Path) -> None:
    broken = (
        SOUND.replace("usd = 0.5", "usd = -1")
        .replace('through = 100, source = "bill"', 'through = 100, source = "receipt"')
        .replace("2026-01-31", '"January"')
        + "s3_gets = { usd = 1, source = 'bill' }\n[regions.eu-west-1.spot]\n"
    )
    with pytest.raises(InputError) as error:
        load_prices(table(tmp_path, broken))
    message = str(error.value)
    for part in ("usd = -1", "source = 'receipt'", "[sources.bill]: needs date", "s3_gets: not a unit", "spot"):
        assert part in message
    assert len(message.splitlines()) == 5


@pytest.mark.parametrize("text", ["[regions.x", "", "regions = 1"])
def test_what_is_no_table_at_all_is_one_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"prices.toml"):
        load_prices(table(tmp_path, text))


def test_offered_types_are_those_of_cfn_lints_copy_of_the_price_list() -> None:
    # Found, not imported: cfn-lint takes seconds to import.
    spec = importlib.util.find_spec("cfnlint")
    assert spec is not None
    assert spec.origin is not None
    schemas = Path(spec.origin).parent / "data/schemas/extensions"
    enums = json.loads((schemas / "aws_sagemaker_hosting/instancetype_enum.json").read_text())
    regions = [name for name, found in enums.items() if isinstance(found, dict)]
    assert len(regions) > 30
    for region in regions:
        expected = set(enums[region]["enum"]) & hosting_types()
        assert {found.name for found in offered_instance_types(region)} == expected, region


def test_facts_of_offered_types() -> None:
    facts = {found.name: (found.vcpus, found.memory_gib) for found in offered_instance_types("us-east-1")}
    # docs.aws.amazon.com/ec2/latest/instancetypes: gp.html, co.html, mo.html
    assert facts["ml.m5.large"] == (2, 8)
    assert facts["ml.c5.9xlarge"] == (36, 72)
    assert facts["ml.r5.2xlarge"] == (8, 64)
    assert "ml.m6i.large" not in facts
    with pytest.raises(InputError, match="region xx-1"):
        offered_instance_types("xx-1")
