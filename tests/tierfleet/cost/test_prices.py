"""The price table: every price with its source, and an unknown one is an error that says what to do."""

import importlib.util
import json
from pathlib import Path

import pytest

from local_cloud.testing.fleets import FLEET_FILES
from tierfleet.config import load
from tierfleet.cost.ec2_prices import HOSTING_OVER_EC2, hosting_usd
from tierfleet.cost.monthly_cost import monthly_cost
from tierfleet.cost.price import UnknownPriceError
from tierfleet.cost.prices import UNITS, load_prices
from tierfleet.errors import InputError
from tierfleet.instance_types import describe, hosted_in, hosting_regions, hosting_types
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
        offered = {instance_type.name for instance_type in offered_instance_types(region)}
        assert prices.hosting[region].keys() <= offered
        for price in (*prices.hosting[region].values(), *prices.units.get(region, {}).values()):
            assert price.source.as_of.year >= 2023
            assert len(price.source.text) > 20


def test_every_shipped_price_has_a_second_source_or_is_unchecked() -> None:
    table = load_prices()
    prices = [*table.hosting.values(), *table.units.values()]
    for price in (price for by_name in prices for price in by_name.values()):
        confirmed = price.source.aws_url is not None or price.second is not None
        assert price.unchecked is (price.derived or price.source.check or not confirmed), price
        if price.second:
            assert price.second.text != price.source.text
            assert price.second.as_of.year >= 2023


def test_a_table_of_ones_own_may_answer_for_its_prices(tmp_path: Path) -> None:
    prices = load_prices(table(tmp_path, SOUND.replace('text = "a bill"', 'text = "our contract"\nchecked = true')))
    assert not prices.hourly_price("ml.m5.large", "eu-west-1").unchecked
    assert load_prices(table(tmp_path, SOUND)).hourly_price("ml.m5.large", "eu-west-1").unchecked
    assert not any(source.checked for source in load_prices().sources.values())


def test_nearly_every_region_has_prices_and_the_others_say_what_to_do() -> None:
    table = load_prices()
    without = {region for region in hosting_regions() if region not in table.regions}
    assert len(table.regions) == 36
    assert without == {"cn-north-1", "cn-northwest-1"}
    for region in table.regions:
        assert table.hosting[region].keys() == hosted_in(region), region
        assert all(table.unit_price(unit, region).usd > 0 for unit in UNITS)
    for region in without:
        with pytest.raises(UnknownPriceError) as error:
            table.hourly_price("ml.m5.large", region)
        way_out = "give your own with --prices" if region.startswith("cn-") else f"prices refresh --region {region}"
        assert way_out in str(error.value)
        assert "--region us-east-1" in str(error.value)
    with pytest.raises(UnknownPriceError, match="xx-1, which is not a region that hosts models"):
        table.hourly_price("ml.m5.large", "xx-1")


def test_ec2s_prices_times_1_2_confirm_nearly_every_price_that_was_read() -> None:
    table = load_prices()
    apart = []
    for region, prices in table.hosting.items():
        for price in prices.values():
            kind = describe(price.name)
            ec2 = table.ec2.usd_per_vcpu_hour.get(region, {}).get(kind.family)
            assert not price.derived
            if ec2 is None:
                continue
            rule = hosting_usd(ec2, kind.vcpus)
            apart.append((abs(price.usd - rule), abs(price.usd / rule - 1), region))
    assert (len(apart), float(HOSTING_OVER_EC2)) == (1267, 1.2)
    assert sum(usd <= 0.0006 for usd, _, _ in apart) / len(apart) > 0.95
    # Prices of the Emirates are rounded to a cent; c7i in Spain costs 1.05 times the rule.
    assert max(share for _, share, _ in apart) < 0.061
    assert {region for _, share, region in apart if share > 0.01} == {"me-central-1", "eu-south-2", "ap-southeast-3"}


def test_a_price_that_ec2_confirms_has_a_second_source() -> None:
    table = load_prices()
    confirmed = table.hourly_price("ml.m5.xlarge", "eu-north-1")
    # EC2: m5.xlarge in eu-north-1 costs $0.204.
    assert (confirmed.usd, confirmed.unchecked) == (0.245, False)
    assert confirmed.second is not None
    assert confirmed.second.name.startswith("derived-from-ec2")
    # 5 % above the rule.
    assert table.hourly_price("ml.c7i.xlarge", "eu-south-2").unchecked
    # No price of EC2 is known.
    assert table.hourly_price("ml.m5d.xlarge", "eu-north-1").mark == " (unchecked)"


def test_a_derived_price_and_one_of_another_region_are_marked(tmp_path: Path) -> None:
    text = SOUND + "[ec2]\nsource = 'bill'\n[ec2.usd_per_vcpu_hour.eu-north-1]\nm5 = 0.051\n"
    derived = load_prices(table(tmp_path, text)).hourly_price("ml.m5.xlarge", "eu-north-1")
    assert (derived.usd, derived.unchecked, derived.mark) == (0.245, True, " (unchecked)")
    shipped = load_prices()
    elsewhere = shipped.unit_price("lambda_request", "eu-north-1")
    assert (elsewhere.borrowed_from, elsewhere.region, elsewhere.unchecked) == ("us-east-1", "eu-north-1", True)
    fleet = load(next(file for file in FLEET_FILES if file.name == "fraud-prod.toml"))
    notes = monthly_cost(fleet, shipped, region="eu-north-1").notes
    assert any("lambda_request" in note and "us-east-1's are used (unchecked)" in note for note in notes)


def test_a_bigger_instance_of_a_family_costs_in_proportion() -> None:
    """Finds a price that was copied wrongly. The list itself has an odd one: ml.m5.xlarge in us-gov-east-1."""
    odd = []
    for region, prices in load_prices().hosting.items():
        for family in {describe(name).family for name in prices} - {"t2"}:
            sizes = sorted((describe(name).vcpus, usd.usd) for name, usd in prices.items() if f".{family}." in name)
            vcpus, usd = sizes[-1]
            # The list rounds to a tenth of a cent, some regions' prices to a cent or to 1.2 cents, and r8g's to a cent.
            coarse = {"il-central-1", "me-central-1", "me-south-1", "ap-southeast-3"}
            rounded = 0.012 if region in coarse or family == "r8g" else 0.0006
            for count, price in sizes:
                if abs(price - usd * count / vcpus) > max(rounded, 0.0025 * price):
                    odd.append((region, family, count))
    assert odd == [("us-gov-east-1", "m5", 4)]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("hosting_by_family = 1", "[hosting_by_family]: needs source"),
        ("[hosting_by_family]\nsource = 'bill'", "[hosting_by_family]: needs source and tables"),
        (
            "[hosting_by_family]\nsource = 'x'\nusd = {}",
            "[hosting_by_family] source = 'x'; name one of [sources]: bill",
        ),
        ("[hosting_by_family]\nsource = 'bill'\n[hosting_by_family.usd.xx-1]\nm5 = [1]", "xx-1]: no region that hosts"),
        (
            "[hosting_by_family]\nsource = 'bill'\n[hosting_by_family.usd.eu-west-1]\nm5 = [1, 2]",
            "m5 = [1, 2]; write a number from 0 for each size: eu-west-1 offers ml.m5.large, ml.m5.xlarge",
        ),
        (
            "[hosting_by_family]\nsource = 'bill'\n[hosting_by_family.usd.eu-west-1]\nz9 = ['a']",
            "eu-west-1 offers no type of z9",
        ),
    ],
)
def test_mistakes_of_prices_by_family(tmp_path: Path, lines: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        load_prices(table(tmp_path, lines + "\n" + SOUND if "[" not in lines else SOUND + lines))
    assert words in str(error.value)


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
    with pytest.raises(UnknownPriceError, match=r"no price is known in eu-west-2: .*The table has eu-west-1"):
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
        + "[regions.eu-west-2]\nunit = 1\n[regions.eu-west-3.unit]\n"
        + "lambda_request = { usd = 1, source = 'bill', second = 'bill' }\n"
        + "s3_get_request = { usd = 1, source = 'bill', second = 'receipt' }\n"
        + "[sources.file]\ndate = 2026-01-31\ntext = 'a file'\nsha256 = 1\n"
        + "[ec2]\nsource = 'bill'\n[ec2.usd_per_vcpu_hour.eu-west-1]\nm5 = 'much'\n"
    )
    with pytest.raises(InputError) as error:
        load_prices(table(tmp_path, broken))
    message = str(error.value)
    for part in (
        "usd = -1",
        " source = 'receipt'",
        "[sources.bill]: needs date",
        "s3_gets: not a unit",
        "spot",
        "[regions.eu-west-2] unit: must be a table, found 1",
        "lambda_request: second = 'bill' is the first source too",
        "s3_get_request: second = 'receipt'; name one of [sources]",
        "[sources.file] sha256 = 1; write a string",
        "[ec2.usd_per_vcpu_hour.eu-west-1] m5 = 'much'; write a number from 0",
    ):
        assert part in message
    assert len(message.splitlines()) == 10


@pytest.mark.parametrize(
    ("ec2", "words"),
    [
        ("ec2 = 1", "[ec2]: needs source and tables"),
        ("[ec2]\nsource = 'bill'", "[ec2]: needs source and tables"),
        ("[ec2]\nusd_per_vcpu_hour = { eu-west-1 = 1 }", "[ec2]: needs source and tables"),
        ("[ec2]\nsource = 'receipt'\nusd_per_vcpu_hour = {}", "[ec2] source = 'receipt'; name one of [sources]: bill"),
    ],
)
def test_mistakes_of_the_ec2_prices(tmp_path: Path, ec2: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        load_prices(table(tmp_path, ec2 + "\n" + SOUND if "[" not in ec2 else SOUND + ec2))
    assert words in str(error.value)


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
    regions = [name for name, entry in enums.items() if isinstance(entry, dict)]
    assert len(regions) > 30
    for region in regions:
        expected = set(enums[region]["enum"]) & hosting_types()
        assert {offered.name for offered in offered_instance_types(region)} == expected, region


def test_facts_of_offered_types() -> None:
    facts = {offered.name: (offered.vcpus, offered.memory_gib) for offered in offered_instance_types("us-east-1")}
    # docs.aws.amazon.com/ec2/latest/instancetypes: gp.html, co.html, mo.html
    assert facts["ml.m5.large"] == (2, 8)
    assert facts["ml.c5.9xlarge"] == (36, 72)
    assert facts["ml.r5.2xlarge"] == (8, 64)
    assert "ml.m6i.large" not in facts
    with pytest.raises(InputError, match="region xx-1"):
        offered_instance_types("xx-1")
