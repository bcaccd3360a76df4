"""Refreshing prices, against answers in the shape of AWS's Price List API.

The answers are written by hand after recorded ones (attributes, terms and price dimensions as GetProducts returns
them); their amounts are made up, so that none can be mistaken for AWS's.
"""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG
from tierfleet.cli import app, prices_commands
from tierfleet.cost.price_list import WANTED, refresh, write_prices
from tierfleet.cost.prices import PriceTable, load_prices
from tierfleet.errors import InputError

TODAY = date(2027, 3, 1)


def product(usage_type: str, *tiers: tuple[str, str, str], sku: str = "SKU1", **attributes: str) -> str:
    """One entry of PriceList. tiers: (beginRange, endRange, USD)."""
    dimensions = {
        f"{sku}.JRTCKXETXF.{number}": {
            "unit": "Hrs",
            "beginRange": begin,
            "endRange": end,
            "description": "",
            "appliesTo": [],
            "rateCode": f"{sku}.JRTCKXETXF.{number}",
            "pricePerUnit": {"USD": usd},
        }
        for number, (begin, end, usd) in enumerate(tiers)
    }
    term = {"priceDimensions": dimensions, "sku": sku, "effectiveDate": "2027-02-01T00:00:00Z", "termAttributes": {}}
    return json.dumps(
        {
            "product": {
                "sku": sku,
                "productFamily": "ML Instance",
                "attributes": {"usagetype": usage_type, **attributes},
            },
            "serviceCode": "any",
            "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": term}},
            "version": "20270201000000",
        }
    )


HOSTING = [
    product("EU-Host:ml.m5.large", ("0", "Inf", "7.1000000000"), sku="AA", instanceName="ml.m5.large"),
    product("EU-Host:ml.r5.large", ("0", "Inf", "7.2000000000"), sku="BB", instanceName="ml.r5.large"),
    # Not hosting, not ours, or free: none may become a price.
    product("EU-AsyncInf:ml.m5.large", ("0", "Inf", "9"), instanceName="ml.m5.large"),
    product("EU-Host:ml.g5.xlarge", ("0", "Inf", "9"), instanceName="ml.g5.xlarge"),
    product("EU-Host:ml.c5.large", ("0", "Inf", "0"), instanceName="ml.c5.large"),
]
UNITS = {
    "hosting_volume_gb_month": [product("EU-Host:VolumeUsage.gp2", ("0", "Inf", "0.5"))],
    "s3_storage_gb_month": [
        product("EU-TimedStorage-INT-FA-ByteHrs", ("0", "Inf", "9")),
        product("EU-TimedStorage-ByteHrs", ("51200", "512000", "0.2"), ("0", "51200", "0.3")),
    ],
    "cloudwatch_custom_metric_month": [product("EU-CW:MetricMonitorUsage", ("0", "10", "0"), ("10", "10000", "0.4"))],
    "s3_get_request": [],
}


@pytest.fixture
def client() -> Iterator[Any]:
    """A real boto3 client whose answers are stubbed, so that every request is checked against the API's model."""
    pricing = boto3.client(
        "pricing",
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )
    with Stubber(pricing) as stubber:
        pricing.stub = stubber
        yield pricing


def answer(client: Any, service: str, filters: dict[str, str], products: list[str], pages: int = 1) -> None:
    terms = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in filters.items()]
    for page in range(pages):
        request = {"ServiceCode": service, "Filters": terms}
        if page:
            request["NextToken"] = f"page-{page}"
        reply = {"PriceList": products[page::pages], "FormatVersion": "aws_v1"}
        if page + 1 < pages:
            reply["NextToken"] = f"page-{page + 1}"
        client.stub.add_response("get_products", reply, request)


def answer_everything(client: Any) -> None:
    region = {"regionCode": "eu-west-1"}
    hosting = {**region, "productFamily": "ML Instance", "component": "Hosting"}
    answer(client, "AmazonSageMaker", hosting, HOSTING, pages=2)
    for unit, wanted in WANTED.items():
        found = UNITS.get(unit, [product(f"EU-{wanted.usage_type}", ("0", "Inf", "0.25"))])
        answer(client, wanted.service, {**region, **wanted.filters}, found)


def refreshed(client: Any, table: PriceTable) -> Any:
    answer_everything(client)
    return refresh(client, table, ["eu-west-1"], TODAY)


def test_a_refresh_replaces_what_the_api_knows_and_keeps_the_rest(client: Any) -> None:
    old = load_prices()
    new = refreshed(client, old)
    client.stub.assert_no_pending_responses()
    ireland = new.table.hosting["eu-west-1"]
    assert ireland["ml.m5.large"].usd == 7.1
    assert ireland["ml.m5.large"].sku == "AA"
    assert ireland["ml.m5.large"].source.as_of == TODAY
    assert ireland["ml.r5.large"].usd == 7.2
    assert ireland.keys() == {"ml.m5.large", "ml.m5.xlarge", "ml.r5.large"}
    # The API did not answer it, so the old line stands, with its old date, and is named.
    assert ireland["ml.m5.xlarge"] == old.hosting["eu-west-1"]["ml.m5.xlarge"]
    assert set(new.kept) >= {"eu-west-1 ml.m5.xlarge", "eu-west-1 s3_get_request", "eu-west-1 appconfig_request"}
    assert new.absent == ()
    assert new.table.hosting["us-east-1"] == old.hosting["us-east-1"]


def test_the_first_tier_that_costs_something_is_the_price(client: Any) -> None:
    units = refreshed(client, load_prices()).table.units["eu-west-1"]
    assert (units["s3_storage_gb_month"].usd, units["s3_storage_gb_month"].through) == (0.3, 51200)
    assert (units["cloudwatch_custom_metric_month"].usd, units["cloudwatch_custom_metric_month"].through) == (
        0.4,
        10000,
    )
    assert units["nat_gateway_hour"].through is None


def test_what_is_written_reads_back_the_same(client: Any, tmp_path: Path) -> None:
    new = refreshed(client, load_prices()).table
    file = tmp_path / "prices.toml"
    file.write_text("old")
    write_prices(new, file)
    again = load_prices(file)
    assert again.hosting == new.hosting
    assert again.units == new.units
    assert [found.name for found in tmp_path.iterdir()] == ["prices.toml"]


def test_the_shipped_table_survives_writing(tmp_path: Path) -> None:
    write_prices(load_prices(), tmp_path / "prices.toml")
    again, shipped = load_prices(tmp_path / "prices.toml"), load_prices()
    assert (again.hosting, again.units, again.sources) == (shipped.hosting, shipped.units, shipped.sources)


def test_a_failed_write_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("old")

    def fails(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        write_prices(load_prices(), file)
    assert file.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["prices.toml"]


def test_a_region_without_any_hosting_price_is_an_error(client: Any) -> None:
    filters = {"regionCode": "eu-west-9", "productFamily": "ML Instance", "component": "Hosting"}
    answer(client, "AmazonSageMaker", filters, [])
    with pytest.raises(InputError, match="no hosting price in eu-west-9"):
        refresh(client, load_prices(), ["eu-west-9"], TODAY)


def test_the_command_writes_a_table_that_prices_a_fleet(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_everything(client)
    monkeypatch.setattr(prices_commands.boto3, "client", lambda *_, **__: client)
    file = tmp_path / "mine.toml"
    result = CliRunner().invoke(app, ["prices", "refresh", "--region", "eu-west-1", "--out", str(file)])
    assert result.exit_code == 0, result.output
    assert f"wrote {file}" in result.output
    assert "so unchanged: eu-west-1 appconfig_configuration_received" in result.output
    bill = CliRunner().invoke(app, ["cost", str(CONFIG / "fraud-prod.toml"), "--prices", str(file), "--verbose"])
    assert "x ml.m5.large at $7.1 an hour" in bill.output
    assert "AWS Price List API, GetProducts, read" in bill.output


def test_what_the_api_refuses_is_one_sentence(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client.stub.add_client_error("get_products", "AccessDeniedException", "not allowed", 400)
    monkeypatch.setattr(prices_commands.boto3, "client", lambda *_, **__: client)
    file = tmp_path / "mine.toml"
    result = CliRunner().invoke(app, ["prices", "refresh", "--region", "eu-west-1", "--out", str(file)])
    assert result.exit_code == 2
    assert "GetProducts on the Price List API: access denied (not allowed); pricing:GetProducts" in result.output
    assert not file.exists()
