"""A price table read again from AWS's price list files, and what changed in it."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, TypeVar

from tierfleet.cost.ec2_prices import Ec2Prices
from tierfleet.cost.offer_files import Fetch, OfferFile, Product, read_offer_file, region_addresses
from tierfleet.cost.price import Price, PriceSource
from tierfleet.cost.prices import PriceTable
from tierfleet.errors import InputError
from tierfleet.instance_types import hosting_regions, hosting_types

_Read = TypeVar("_Read")

_SAGEMAKER: Final = "AmazonSageMaker"
# The service and the usage type, without its region prefix. The other units are in no file that is read.
USAGE_TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "hosting_volume_gb_month": (_SAGEMAKER, "Host:VolumeUsage.gp2"),
    "s3_storage_gb_month": ("AmazonS3", "TimedStorage-ByteHrs"),
    "s3_put_request": ("AmazonS3", "Requests-Tier1"),
    "s3_get_request": ("AmazonS3", "Requests-Tier2"),
    "cloudwatch_alarm_metric_month": ("AmazonCloudWatch", "CW:AlarmMonitorUsage"),
    "cloudwatch_composite_alarm_month": ("AmazonCloudWatch", "CW:CompositeAlarmMonitorUsage"),
    "cloudwatch_custom_metric_month": ("AmazonCloudWatch", "CW:MetricMonitorUsage"),
    "cloudwatch_logs_ingested_gb": ("AmazonCloudWatch", "DataProcessing-Bytes"),
    "lambda_request": ("AWSLambda", "Request-ARM"),
    "lambda_arm_gb_second": ("AWSLambda", "Lambda-GB-Second-ARM"),
    **{
        f"serverless_{gigabytes}gb_second": (_SAGEMAKER, f"ServerlessInf:Mem-{gigabytes}GB")
        for gigabytes in range(1, 7)
    },
}
SERVICES: Final = tuple(dict.fromkeys(service for service, _ in USAGE_TYPES.values()))
# Region prefixes look like EU-, EUC1- or USE1-; us-east-1 has some usage types without one.
_PREFIX = r"(?:[A-Z]{2,4}[0-9]?-)?"


@dataclass(frozen=True)
class PriceChange:
    """A price that differs after a refresh."""

    before: Price
    after: Price

    @property
    def ratio(self) -> float:
        """0.05 for a price that rose by 5 %; infinite for one that was free."""
        return self.after.usd / self.before.usd - 1 if self.before.usd else math.inf


@dataclass(frozen=True)
class Refreshed:
    """A new table and how it differs from the old one."""

    table: PriceTable
    kept: tuple[str, ...]
    """`REGION NAME` of prices that AWS's files do not have: the old line and its old date remain."""
    absent: tuple[str, ...]
    """`REGION UNIT` of units that neither AWS's files nor the old table have; `REGION` of a region without files."""
    changed: tuple[PriceChange, ...]
    """The largest change first."""
    added: tuple[Price, ...]
    gone: tuple[Price, ...]
    """Derived prices of types that AWS's files do not offer."""
    same: int
    """How many prices AWS's files confirm."""


def refresh(
    fetch: Fetch,
    table: PriceTable,
    regions: Sequence[str] | None,
    today: date,
    *,
    told: Callable[[str], None] = lambda _: None,
) -> Refreshed:
    """The table with every price of `regions` in AWS's files; other regions remain as they are.

    regions: None: every region that hosts models and is in all the files. told: is called with each region before it is
    read. Raises InputError with everything that is wrong with the files; then there is no new table.
    """
    problems: list[str] = []
    addresses = {service: _or_problem(problems, region_addresses, fetch, service) for service in SERVICES}
    left_out: list[str] = []
    if regions is None:
        listed = [set(by_region) for by_region in addresses.values() if by_region is not None]
        everywhere = set.intersection(*listed) if listed else set()
        regions = sorted(hosting_regions() & everywhere)
        left_out = sorted(hosting_regions() - everywhere)
    offers: dict[str, dict[str, OfferFile]] = {}
    for region in regions:
        told(region)
        for service, by_region in addresses.items():
            if by_region is None:
                continue
            if region not in by_region:
                problems.append(_no_region(region, service))
                continue
            url = by_region[region]
            offer = _or_problem(problems, read_offer_file, fetch, service, region, url)
            if offer is not None:
                offers.setdefault(region, {})[service] = offer
    hosting: dict[str, Mapping[str, Price]] = dict(table.hosting)
    units: dict[str, Mapping[str, Price]] = dict(table.units)
    kept, absent = [], []
    for region, files in offers.items():
        if len(files) < len(SERVICES):
            continue
        known = {name: price for name, price in table.hosting.get(region, {}).items() if not price.derived}
        offered = _or_problem(problems, _hosting, files[_SAGEMAKER], today)
        if offered is None:
            continue
        kept += [f"{region} {name}" for name in known.keys() - offered.keys()]
        hosting[region] = {**known, **offered}
        read = {unit: _unit(unit, files, today) for unit in USAGE_TYPES}
        old = table.units.get(region, {})
        kept += [f"{region} {unit}" for unit in old if read.get(unit) is None]
        absent += [f"{region} {unit}" for unit, price in read.items() if price is None and unit not in old]
        units[region] = {**old, **{unit: price for unit, price in read.items() if price}}
    if problems:
        raise InputError("\n".join(problems))
    rest = {region: row for region, row in table.ec2.usd_per_vcpu_hour.items() if region not in offers}
    sources = {
        price.source.name: price.source
        for by_region in (hosting, units)
        for prices in by_region.values()
        for price in prices.values()
    }
    new = replace(table, sources=sources, hosting=hosting, units=units, ec2=Ec2Prices(table.ec2.source, rest))
    return _compared(
        table, new, regions, Refreshed(new, tuple(sorted(kept)), tuple(left_out + sorted(absent)), (), (), (), 0)
    )


def _or_problem(problems: list[str], read: Callable[..., _Read], *arguments: object) -> _Read | None:
    try:
        return read(*arguments)
    except InputError as error:
        problems.append(str(error))
        return None


def _no_region(region: str, service: str) -> str:
    if region.startswith("cn-"):
        return f"{region}: China's prices are in yuan and not in AWS's price list files of {service}"
    return f"AWS's price list of {service} has no region {region}; is it a region's code?"


def _source(file: OfferFile, today: date) -> PriceSource:
    return PriceSource(
        f"{file.service}-{file.region}-{file.version}",
        today,
        f"AWS price list file {file.service}, {file.region}, version {file.version}",
        aws_url=file.url,
        sha256=file.sha256,
    )


def _hosting(file: OfferFile, today: date) -> dict[str, Price]:
    source = _source(file, today)
    prices: dict[str, Price] = {}
    for product in file.products:
        name = product.attributes.get("instanceName", "")
        usage_type = product.attributes.get("usagetype", "")
        if name in hosting_types() and re.fullmatch(rf"{_PREFIX}Host:{re.escape(name)}", usage_type):
            if name in prices and prices[name].usd != product.usd:
                both = f"${prices[name].usd:g} and ${product.usd:g}"
                raise InputError(f"{file.url} has two prices of {name}, {both}; report this to AWS")
            prices[name] = Price(name, file.region, product.usd, source, product.through, product.sku)
    if not prices:
        raise InputError(f"{file.url} has no hosting price of a type that tierfleet offers")
    return prices


def _unit(unit: str, files: Mapping[str, OfferFile], today: date) -> Price | None:
    service, usage_type = USAGE_TYPES[unit]
    file = files[service]
    product = _with_usage_type(file.products, usage_type)
    if product is None:
        return None
    return Price(unit, file.region, product.usd, _source(file, today), product.through, product.sku)


def _with_usage_type(products: Sequence[Product], usage_type: str) -> Product | None:
    pattern = re.compile(_PREFIX + re.escape(usage_type))
    return next((one for one in products if pattern.fullmatch(one.attributes.get("usagetype", ""))), None)


def _compared(old: PriceTable, new: PriceTable, regions: Sequence[str], refreshed: Refreshed) -> Refreshed:
    changed, added, gone = [], [], []
    same = 0
    for region in regions:
        for before_all, after_all in ((old.hosting, new.hosting), (old.units, new.units)):
            before, after = before_all.get(region, {}), after_all.get(region, {})
            added += [after[name] for name in sorted(after.keys() - before.keys())]
            gone += [before[name] for name in sorted(before.keys() - after.keys())]
            for name in sorted(before.keys() & after.keys()):
                if before[name].usd != after[name].usd:
                    changed.append(PriceChange(before[name], after[name]))
                elif f"{region} {name}" not in refreshed.kept:
                    same += 1
    changed.sort(key=lambda change: -abs(change.ratio))
    return replace(refreshed, changed=tuple(changed), added=tuple(added), gone=tuple(gone), same=same)
