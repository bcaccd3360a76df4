"""AWS's list prices, each with its source and date. A price that is not in the table is an error, never a guess."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeGuard

from tierfleet.errors import InputError

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

# One second of a container of 1 to 6 GB: while a call runs, kept warm, and while a call runs in a warm one.
SERVERLESS_UNITS: Final = tuple(
    f"{unit}_{gigabytes}gb_second"
    for unit in ("serverless", "serverless_provisioned", "serverless_provisioned_usage")
    for gigabytes in range(1, 7)
)


class UnknownPriceError(InputError):
    """The table has no such price; the message names the line to add."""


@dataclass(frozen=True)
class PriceSource:
    """Where prices were read and when. check: the source is indirect or undated, so the price should be verified."""

    name: str
    as_of: date
    text: str
    check: bool = False


@dataclass(frozen=True)
class Price:
    """US dollars for one unit, or for one hour of an instance type, in one region.

    through: the quantity a month up to which the price holds; None: any. sku: AWS's own id, where it was refreshed.
    """

    name: str
    region: str
    usd: float
    source: PriceSource
    through: float | None = None
    sku: str | None = None

    def of(self, quantity: float) -> float:
        """US dollars for `quantity` units a month. Raises UnknownPriceError beyond `through`."""
        if self.through is not None and quantity > self.through:
            raise UnknownPriceError(
                f"{self.name} in {self.region}: the price is known up to {self.through:,.0f} units a month, asked for "
                f"{quantity:,.0f}; AWS's next tier is not in the table"
            )
        return quantity * self.usd


@dataclass(frozen=True)
class PriceTable:
    """Prices by region. file: where they were read from, for messages."""

    file: Path
    sources: Mapping[str, PriceSource]
    hosting: Mapping[str, Mapping[str, Price]]
    units: Mapping[str, Mapping[str, Price]]

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions with at least one price."""
        return tuple(sorted(self.hosting.keys() | self.units.keys()))

    def hourly_price(self, instance_type: str, region: str) -> Price:
        """One hour of a real-time hosting instance such as `ml.m5.xlarge`. Raises UnknownPriceError."""
        price = self.hosting.get(region, {}).get(instance_type)
        if price is None:
            raise self._unknown(region, HOSTING_INSTANCE_HOUR, f'"{instance_type}"')
        return price

    def unit_price(self, unit: str, region: str) -> Price:
        """One of UNITS or SERVERLESS_UNITS. Raises UnknownPriceError, and KeyError for a name that is none of them."""
        if unit not in (*UNITS, *SERVERLESS_UNITS):
            raise KeyError(unit)
        price = self.units.get(region, {}).get(unit)
        if price is None:
            raise self._unknown(region, "unit", unit)
        return price

    def _unknown(self, region: str, table: str, key: str) -> UnknownPriceError:
        if self.regions and region not in self.regions:
            return UnknownPriceError(
                f"no price is known in {region}, only in {', '.join(self.regions)}: run tierfleet prices refresh "
                f"--region {region}, or price it as elsewhere: --region {self.regions[0]}"
            )
        known = ", ".join(sorted(self.hosting.get(region, {}))) if table == HOSTING_INSTANCE_HOUR else ""
        have = f"; {region} has {known}" if known else f"; regions with prices: {', '.join(self.regions)}"
        return UnknownPriceError(
            f"no price of {key.strip(chr(34))} in {region}: add the line {key} = {{ usd = ..., source = ... }} to "
            f"[regions.{region}.{table}] of {self.file}, or run tierfleet prices refresh --region {region}{have}"
        )


def shipped_prices_file() -> Path:
    """The table that comes with tierfleet."""
    return Path(str(files("tierfleet") / "data/prices.toml"))


def load_prices(file: Path | None = None) -> PriceTable:
    """The price table of a file, or the shipped one. Raises InputError with every mistake in it."""
    path = file or shipped_prices_file()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"price table {path} cannot be read: {error}; give a TOML file") from error
    mistakes: list[str] = []
    sources = {name: _source(name, found, mistakes) for name, found in _tables(document, "sources", mistakes)}
    hosting: dict[str, dict[str, Price]] = {}
    units: dict[str, dict[str, Price]] = {}
    for region, tables in _tables(document, "regions", mistakes):
        for table, lines in tables.items():
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
    if mistakes:
        raise InputError("\n".join(f"price table {path}: {mistake}" for mistake in mistakes))
    return PriceTable(path, sources, hosting, units)


def _tables(document: Mapping[str, Any], key: str, mistakes: list[str]) -> list[tuple[str, Mapping[str, Any]]]:
    found = document.get(key)
    if not isinstance(found, Mapping) or not all(isinstance(value, Mapping) for value in found.values()):
        mistakes.append(f"[{key}]: is missing or holds no tables; see tierfleet/data/prices.toml for the form")
        return []
    return list(found.items())


def _source(name: str, found: Mapping[str, Any], mistakes: list[str]) -> PriceSource:
    as_of, text = found.get("date"), found.get("text")
    if type(as_of) is not date or not isinstance(text, str) or not text:
        mistakes.append(f"[sources.{name}]: needs date = YYYY-MM-DD and text")
        as_of, text = date.min, ""
    return PriceSource(name, as_of, text, found.get("check") is True)


def _price(
    where: str, key: str, region: str, line: Any, sources: Mapping[str, PriceSource], mistakes: list[str]
) -> Price | None:
    if not isinstance(line, Mapping):
        mistakes.append(f"{where}: must be {{ usd = ..., source = ... }}, found {line!r}")
        return None
    usd, through = line.get("usd"), line.get("through")
    if not _is_amount(usd):
        mistakes.append(f"{where}: usd = {usd!r}; write a number from 0")
    elif through is not None and not _is_amount(through):
        mistakes.append(f"{where}: through = {through!r}; write the quantity a month up to which the price holds")
    elif line.get("source") not in sources:
        mistakes.append(f"{where}: source = {line.get('source')!r}; name one of [sources]: {', '.join(sources)}")
    else:
        return Price(key, region, float(usd), sources[line["source"]], through, line.get("sku"))
    return None


def _is_amount(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
