"""AWS's list prices by region, read from a TOML file. Where none is known, that is an error and never a guess.

>>> prices = load_prices()
>>> prices.hourly_price("ml.m5.xlarge", "us-east-1").usd
0.23
>>> prices.unit_price("cloudwatch_alarm_metric_month", "eu-west-1").of(20)
2.0
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeGuard

from tierfleet.cost.ec2_prices import Ec2Prices, derived_prices
from tierfleet.cost.family_prices import confirmed, family_prices
from tierfleet.cost.price import Price, PriceSource, UnknownPriceError
from tierfleet.errors import InputError
from tierfleet.instance_types import hosting_regions

# AWS's own month for hourly prices.
HOURS_PER_MONTH: Final = 730

HOSTING_INSTANCE_HOUR: Final = "hosting_instance_hour"
UNITS: Final = (
    "hosting_volume_gb_month",
    "s3_storage_gb_month",
    "s3_put_request",
    "s3_get_request",
    "cloudwatch_alarm_metric_month",
    "cloudwatch_composite_alarm_month",
    "cloudwatch_custom_metric_month",
    "cloudwatch_dashboard_month",
    "cloudwatch_logs_ingested_gb",
    "lambda_request",
    "lambda_arm_gb_second",
    "appconfig_request",
    "appconfig_configuration_received",
    "scheduler_invocation",
    "nat_gateway_hour",
    "nat_gateway_gb",
)
# Instances are nearly all of a bill. Where the table lacks a region's small units, this region's are used.
UNITS_FROM: Final = "us-east-1"

# One second of a container of 1 to 6 GB: while a call runs, kept warm, and while a call runs in a warm one.
SERVERLESS_UNITS: Final = tuple(
    f"{unit}_{gigabytes}gb_second"
    for unit in ("serverless", "serverless_provisioned", "serverless_provisioned_usage")
    for gigabytes in range(1, 7)
)


@dataclass(frozen=True)
class PriceTable:
    """Prices by region and name."""

    file: Path
    """Where they were read from, for messages."""
    sources: Mapping[str, PriceSource]
    hosting: Mapping[str, Mapping[str, Price]]
    """Instance hours by region and type, the derived ones too."""
    units: Mapping[str, Mapping[str, Price]]
    ec2: Ec2Prices = field(default_factory=Ec2Prices)
    """What hosting prices are derived from where the table has none."""

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions with at least one price."""
        return tuple(sorted(self.hosting.keys() | self.units.keys()))

    @property
    def another_region(self) -> str:
        """A region whose prices can be used where a fleet's own region has none."""
        return UNITS_FROM if UNITS_FROM in self.regions or not self.regions else self.regions[0]

    def hourly_price(self, instance_type: str, region: str) -> Price:
        """One hour of a real-time hosting instance such as `ml.m5.xlarge`. Raises UnknownPriceError."""
        price = self.hosting.get(region, {}).get(instance_type)
        if price is None:
            raise self._unknown(region, HOSTING_INSTANCE_HOUR, f'"{instance_type}"')
        return price

    def unit_price(self, unit: str, region: str) -> Price:
        """One of UNITS or SERVERLESS_UNITS. Raises UnknownPriceError, and KeyError for a name that is none of them.

        Where a region has hosting prices but not this one, it is the price of `UNITS_FROM`.
        """
        if unit not in (*UNITS, *SERVERLESS_UNITS):
            raise KeyError(unit)
        price = self.units.get(region, {}).get(unit)
        if price is None and self.hosting.get(region):
            elsewhere = self.units.get(UNITS_FROM, {}).get(unit)
            price = elsewhere and replace(elsewhere, region=region, borrowed_from=UNITS_FROM)
        if price is None:
            raise self._unknown(region, "unit", unit)
        return price

    def _unknown(self, region: str, table: str, key: str) -> UnknownPriceError:
        refresh = f"tierfleet prices refresh --region {region} reads AWS's own (no account needed)"
        if region.startswith("cn-"):
            refresh = "China's prices are in yuan, and AWS's public files do not have them: give your own with --prices"
        if region not in hosting_regions() and region not in self.regions:
            known = ", ".join(sorted(hosting_regions()))
            return UnknownPriceError(f"no price is known in {region}, which is not a region that hosts models: {known}")
        if self.regions and region not in self.regions:
            return UnknownPriceError(
                f"no price is known in {region}: {refresh}; or price it as in another region: --region "
                f"{self.another_region}. The table has {', '.join(self.regions)}"
            )
        known = ", ".join(sorted(self.hosting.get(region, {}))) if table == HOSTING_INSTANCE_HOUR else ""
        have = f"; {region} has {known}" if known else f"; regions with prices: {', '.join(self.regions)}"
        return UnknownPriceError(
            f"no price of {key.strip(chr(34))} in {region}: {refresh}, or add the line "
            f"{key} = {{ usd = ..., source = ... }} to [regions.{region}.{table}] of {self.file}{have}"
        )


def shipped_prices_file() -> Path:
    """The table that comes with tierfleet."""
    return Path(str(files("tierfleet") / "data/prices.toml"))


def load_prices(file: Path | None = None) -> PriceTable:
    """The price table of a file, or the shipped one. Raises InputError with every mistake in it."""
    path = file or shipped_prices_file()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"price table {path} cannot be read: {error}; give a TOML file") from error
    mistakes: list[str] = []
    sources = {name: _source(name, table, mistakes) for name, table in _tables(document, "sources", mistakes)}
    hosting: dict[str, dict[str, Price]] = {}
    units: dict[str, dict[str, Price]] = {}
    for region, tables in _tables(document, "regions", mistakes):
        for table, lines in tables.items():
            if not isinstance(lines, Mapping):
                mistakes.append(f"[regions.{region}] {table}: must be a table, found {lines!r}")
                continue
            if table == HOSTING_INSTANCE_HOUR:
                into = hosting.setdefault(region, {})
            elif table == "unit":
                into = units.setdefault(region, {})
                mistakes += [
                    f"[regions.{region}.unit] {key}: not a unit; known: {', '.join((*UNITS, *SERVERLESS_UNITS))}"
                    for key in lines
                    if key not in (*UNITS, *SERVERLESS_UNITS)
                ]
            else:
                mistakes.append(f"[regions.{region}.{table}]: unknown table; known: {HOSTING_INSTANCE_HOUR}, unit")
                continue
            for key, line in lines.items():
                price = _price(f"[regions.{region}.{table}] {key}", key, region, line, sources, mistakes)
                if price:
                    into[key] = price
    ec2 = _ec2(document, sources, mistakes)
    listed = family_prices(document["hosting_by_family"], sources, mistakes) if _by_family(document, mistakes) else {}
    if mistakes:
        raise InputError("\n".join(f"price table {path}: {mistake}" for mistake in mistakes))
    for region in ec2.usd_per_vcpu_hour.keys() | listed.keys():
        hosting[region] = _each_confirmed(derived_prices(ec2, region), listed.get(region, {}), hosting.get(region, {}))
    second = {
        price.second.name: price.second for prices in hosting.values() for price in prices.values() if price.second
    }
    return PriceTable(path, {**second, **sources}, hosting, units, ec2)


def _by_family(document: Mapping[str, Any], mistakes: list[str]) -> bool:
    """Whether the table lists prices by family."""
    table = document.get("hosting_by_family", {})
    if not isinstance(table, Mapping):
        mistakes.append("[hosting_by_family]: needs source and tables [hosting_by_family.usd.REGION]")
    return isinstance(table, Mapping) and bool(table)


def _each_confirmed(
    derived: Mapping[str, Price], listed: Mapping[str, Price], lines: Mapping[str, Price]
) -> dict[str, Price]:
    """The prices of one region: lines of their own before lists by family before derived ones."""
    by_family = {name: confirmed(price, derived.get(name)) for name, price in listed.items()}
    own = {name: confirmed(price, listed.get(name)) for name, price in lines.items()}
    return {**derived, **by_family, **own}


def _tables(document: Mapping[str, Any], key: str, mistakes: list[str]) -> list[tuple[str, Mapping[str, Any]]]:
    tables = document.get(key)
    if not isinstance(tables, Mapping) or not all(isinstance(value, Mapping) for value in tables.values()):
        mistakes.append(f"[{key}]: is missing or has no tables; see tierfleet/data/prices.toml for the form")
        return []
    return list(tables.items())


def _source(name: str, table: Mapping[str, Any], mistakes: list[str]) -> PriceSource:
    as_of, text = table.get("date"), table.get("text")
    if type(as_of) is not date or not isinstance(text, str) or not text:
        mistakes.append(f"[sources.{name}]: needs date = YYYY-MM-DD and text")
        as_of, text = date.min, ""
    url, sha256 = table.get("aws_url"), table.get("sha256")
    for key, value in (("aws_url", url), ("sha256", sha256)):
        if value is not None and not isinstance(value, str):
            mistakes.append(f"[sources.{name}] {key} = {value!r}; write a string")
    return PriceSource(name, as_of, text, table.get("check") is True, url, sha256, table.get("checked") is True)


def _price(
    where: str, key: str, region: str, line: Any, sources: Mapping[str, PriceSource], mistakes: list[str]
) -> Price | None:
    if not isinstance(line, Mapping):
        mistakes.append(f"{where}: must be {{ usd = ..., source = ... }}, found {line!r}")
        return None
    usd, through, second = line.get("usd"), line.get("through"), line.get("second")
    if not _is_amount(usd):
        mistakes.append(f"{where}: usd = {usd!r}; write a number from 0")
    elif through is not None and not _is_amount(through):
        mistakes.append(f"{where}: through = {through!r}; write the quantity a month up to which the price applies")
    elif line.get("source") not in sources or (second is not None and second not in sources):
        wrong = "source" if line.get("source") not in sources else "second"
        mistakes.append(f"{where}: {wrong} = {line.get(wrong)!r}; name one of [sources]: {', '.join(sources)}")
    elif second == line["source"]:
        mistakes.append(f"{where}: second = {second!r} is the first source too; name another, or leave it out")
    else:
        other = sources[second] if second is not None else None
        return Price(key, region, float(usd), sources[line["source"]], through, line.get("sku"), other)
    return None


def _ec2(document: Mapping[str, Any], sources: Mapping[str, PriceSource], mistakes: list[str]) -> Ec2Prices:
    table = document.get("ec2")
    if table is None:
        return Ec2Prices()
    by_region = table.get("usd_per_vcpu_hour") if isinstance(table, Mapping) else None
    if not isinstance(by_region, Mapping) or not all(isinstance(row, Mapping) for row in by_region.values()):
        mistakes.append("[ec2]: needs source and tables [ec2.usd_per_vcpu_hour.REGION]")
        return Ec2Prices()
    if table.get("source") not in sources:
        mistakes.append(f"[ec2] source = {table.get('source')!r}; name one of [sources]: {', '.join(sources)}")
        return Ec2Prices()
    wrong = [
        f"[ec2.usd_per_vcpu_hour.{region}] {family} = {usd!r}; write a number from 0"
        for region, row in by_region.items()
        for family, usd in row.items()
        if not _is_amount(usd)
    ]
    mistakes += wrong
    return Ec2Prices() if wrong else Ec2Prices(sources[table["source"]], by_region)


def _is_amount(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
