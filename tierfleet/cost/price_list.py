"""A price table from AWS's Price List API (GetProducts), for whoever has credentials.

IAM: pricing:GetProducts, which is no billing permission. Attribute names: component, instanceName, usagetype and
regionCode, as AWS's own cost tools query them.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tierfleet.cost.prices import HOSTING_INSTANCE_HOUR, Price, PriceSource, PriceTable
from tierfleet.errors import InputError
from tierfleet.files import write_whole
from tierfleet.instance_types import hosting_types

if TYPE_CHECKING:
    from botocore.client import BaseClient

# The API has endpoints in few regions; it answers for all.
PRICING_REGION: Final = "us-east-1"


@dataclass(frozen=True)
class Wanted:
    """One unit: the service, filters that narrow the answer, and the usage type without its region prefix."""

    service: str
    filters: Mapping[str, str]
    usage_type: str


WANTED: Final[Mapping[str, Wanted]] = {
    "hosting_volume_gb_month": Wanted("AmazonSageMaker", {"productFamily": "Storage"}, "Host:VolumeUsage.gp2"),
    "s3_storage_gb_month": Wanted("AmazonS3", {"productFamily": "Storage"}, "TimedStorage-ByteHrs"),
    "s3_put_request": Wanted("AmazonS3", {"productFamily": "API Request"}, "Requests-Tier1"),
    "s3_get_request": Wanted("AmazonS3", {"productFamily": "API Request"}, "Requests-Tier2"),
    "cloudwatch_alarm_metric_month": Wanted("AmazonCloudWatch", {}, "CW:AlarmMonitorUsage"),
    "cloudwatch_composite_alarm_month": Wanted("AmazonCloudWatch", {}, "CW:CompositeAlarmMonitorUsage"),
    "cloudwatch_custom_metric_month": Wanted("AmazonCloudWatch", {}, "CW:MetricMonitorUsage"),
    "cloudwatch_logs_ingested_gb": Wanted("AmazonCloudWatch", {}, "DataProcessing-Bytes"),
    "lambda_request": Wanted("AWSLambda", {}, "Request-ARM"),
    "lambda_arm_gb_second": Wanted("AWSLambda", {}, "Lambda-GB-Second-ARM"),
    "nat_gateway_hour": Wanted("AmazonEC2", {"productFamily": "NAT Gateway"}, "NatGateway-Hours"),
    "nat_gateway_gb": Wanted("AmazonEC2", {"productFamily": "NAT Gateway"}, "NatGateway-Bytes"),
    **{
        f"serverless_{gigabytes}gb_second": Wanted(
            "AmazonSageMaker", {"productFamily": "ML Serverless"}, f"ServerlessInf:Mem-{gigabytes}GB"
        )
        for gigabytes in range(1, 7)
    },
}
# Region prefixes look like EU-, EUC1- or USE1-; us-east-1 has some usage types without one.
_PREFIX = r"(?:[A-Z]{2,4}[0-9]?-)?"


@dataclass(frozen=True)
class Refreshed:
    """A new table, and what of it the API did not answer: `kept` stands as it stood, `absent` is nowhere."""

    table: PriceTable
    kept: tuple[str, ...]
    absent: tuple[str, ...]


def refresh(client: "BaseClient", table: PriceTable, regions: Sequence[str], today: date) -> Refreshed:
    """The table with every price of `regions` that the API knows; other regions stay as they are.

    Raises InputError where the API knows no hosting price of a region, and botocore's errors.
    """
    source = PriceSource(f"price-list-api-{today}", today, f"AWS Price List API, GetProducts, read {today}")
    hosting, units = dict(table.hosting), dict(table.units)
    kept, absent = [], []
    for region in regions:
        offered = _hosting(client, region, source)
        if not offered:
            raise InputError(f"the Price List API has no hosting price in {region}; is it a region's code?")
        gone = sorted(table.hosting.get(region, {}).keys() - offered.keys())
        kept += [f"{region} {name}" for name in gone]
        hosting[region] = {**table.hosting.get(region, {}), **offered}
        found = {unit: _unit(client, unit, wanted, region, source) for unit, wanted in WANTED.items()}
        old = table.units.get(region, {})
        kept += [f"{region} {unit}" for unit in old if found.get(unit) is None]
        absent += [f"{region} {unit}" for unit, price in found.items() if price is None and unit not in old]
        units[region] = {**old, **{unit: price for unit, price in found.items() if price}}
    sources = {
        price.source.name: price.source for prices in (*hosting.values(), *units.values()) for price in prices.values()
    }
    new = replace(table, sources=sources, hosting=hosting, units=units)
    return Refreshed(new, tuple(sorted(kept)), tuple(sorted(absent)))


def write_prices(table: PriceTable, file: Path) -> None:
    """The table as TOML, written whole or not at all."""
    lines = ["# AWS list prices in US dollars; written by tierfleet prices refresh. Every line names its source.", ""]
    for name, source in sorted(table.sources.items()):
        lines += [f"[sources.{name}]", f"date = {source.as_of}", f"text = {json.dumps(source.text)}"]
        lines += ["check = true", ""] if source.check else [""]
    for region in table.regions:
        for key, prices in ((HOSTING_INSTANCE_HOUR, table.hosting), ("unit", table.units)):
            if region in prices:
                lines.append(f"[regions.{region}.{key}]")
                lines += [_line(price) for _, price in sorted(prices[region].items())]
                lines.append("")
    write_whole(file, "\n".join(lines))


def _line(price: Price) -> str:
    fields = [f"usd = {price.usd:.10f}".rstrip("0").rstrip(".")]
    if price.through is not None:
        fields.append(f"through = {price.through:.0f}")
    fields.append(f"source = {json.dumps(price.source.name)}")
    if price.sku:
        fields.append(f"sku = {json.dumps(price.sku)}")
    return f"{json.dumps(price.name)} = {{ {', '.join(fields)} }}"


def _hosting(client: "BaseClient", region: str, source: PriceSource) -> dict[str, Price]:
    filters = {"productFamily": "ML Instance", "component": "Hosting"}
    prices = {}
    for product in _products(client, "AmazonSageMaker", region, filters):
        name = product["product"]["attributes"].get("instanceName", "")
        usage_type = product["product"]["attributes"].get("usagetype", "")
        if name in hosting_types() and re.fullmatch(rf"{_PREFIX}Host:{re.escape(name)}", usage_type):
            price = _paid_tier(product, name, region, source)
            if price:
                prices[name] = price
    return prices


def _unit(client: "BaseClient", unit: str, wanted: Wanted, region: str, source: PriceSource) -> Price | None:
    pattern = re.compile(_PREFIX + re.escape(wanted.usage_type))
    for product in _products(client, wanted.service, region, wanted.filters):
        if pattern.fullmatch(product["product"]["attributes"].get("usagetype", "")):
            price = _paid_tier(product, unit, region, source)
            if price:
                return price
    return None


def _products(
    client: "BaseClient", service: str, region: str, filters: Mapping[str, str]
) -> Iterator[Mapping[str, Any]]:
    terms = [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}]
    terms += [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in filters.items()]
    for page in client.get_paginator("get_products").paginate(ServiceCode=service, Filters=terms):
        for text in page["PriceList"]:
            yield json.loads(text)


def _paid_tier(product: Mapping[str, Any], name: str, region: str, source: PriceSource) -> Price | None:
    """The first tier that costs something: free tiers belong to an account, not to a fleet."""
    tiers = [
        dimension
        for term in product.get("terms", {}).get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if float(dimension["pricePerUnit"].get("USD", 0)) > 0
    ]
    if not tiers:
        return None
    first = min(tiers, key=lambda tier: float(tier.get("beginRange", 0)))
    end = first.get("endRange", "Inf")
    through = None if end == "Inf" else float(end)
    return Price(name, region, float(first["pricePerUnit"]["USD"]), source, through, product["product"].get("sku"))
