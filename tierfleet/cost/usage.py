"""How a fleet is used, as far as its cost depends on it: calls by tenant and hour, sizes, callers."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from tierfleet.cost.instance_hours import HOURS_OF_DAY
from tierfleet.cost.rate_rows import read_rows
from tierfleet.errors import InputError
from tierfleet.runtime.names import WORD_PATTERN

_MAX_NAMES_SHOWN: Final = 10
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "artefact_megabytes": (1e-6, 1e6),
    "tail_tenants": (0, 1e9),
    "versions_kept": (1, 1e6),
    "cold_share": (0, 1),
    "callers": (0, 1e9),
    "restarts_per_month": (0, 1e9),
    "named_tenants": (0, 1000),
    "log_bytes_per_call": (0, 1e9),
    "milliseconds_per_call": (0.001, 60_000),
    "nat_gateways": (0, 1000),
}


@dataclass(frozen=True)
class Traffic:
    """Calls in each hour of a usual day (24 numbers, UTC) by tenant."""

    calls_per_hour: Mapping[str, tuple[float, ...]]

    @cached_property
    def _calls_per_day(self) -> dict[str, float]:
        return {tenant: math.fsum(calls) for tenant, calls in self.calls_per_hour.items()}

    @cached_property
    def _together(self) -> dict[tuple[str, ...], tuple[float, ...]]:
        """What was asked before: a search asks for the same tenants thousands of times."""
        return {}

    def calls_per_day(self, tenant: str) -> float:
        """0 for a tenant without traffic."""
        return self._calls_per_day.get(tenant, 0.0)

    def together(self, tenants: Sequence[str]) -> tuple[float, ...]:
        """Calls per hour of several tenants."""
        key = tuple(tenants)
        if key not in self._together:
            rows = [self.calls_per_hour[tenant] for tenant in key if tenant in self.calls_per_hour]
            self._together[key] = tuple(map(math.fsum, zip(*rows, strict=True))) if rows else (0.0,) * HOURS_OF_DAY
        return self._together[key]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a fleet file does not say. None: not known, and then nothing is made up: the line is left out and named.

    artefact_megabytes: of one packed model (tar.gz), 10**6 bytes. tail_tenants: tenants of the default tier; known
    from the traffic too. versions_kept: published versions of a model that lie in the bucket.
    cold_share: of the calls to shared tiers, the ones that fetch the model from S3, 0 to 1.
    callers: processes that hold a FleetClient, all the time; each starts again restarts_per_month times.
    client_metrics: whether callers publish metrics; named_tenants: as ClientSettings has it.
    log_bytes_per_call: what the container logs to CloudWatch. milliseconds_per_call: how long a call to a serverless
    endpoint runs. nat_gateways: where a VPC has no S3 gateway endpoint.
    """

    traffic: Traffic | None = None
    artefact_megabytes: float | None = None
    tail_tenants: int | None = None
    versions_kept: int = 1
    cold_share: float | None = None
    callers: int = 1
    restarts_per_month: float = 30.0
    client_metrics: bool = False
    named_tenants: int = 20
    log_bytes_per_call: float = 0.0
    milliseconds_per_call: float | None = None
    nat_gateways: int = 0

    def __post_init__(self) -> None:
        """Raises InputError that names every number out of its range."""
        wrong = [
            f"{name} is {getattr(self, name)!r}, allowed: {low:g} to {high:g}"
            for name, (low, high) in _RANGES.items()
            if getattr(self, name) is not None and not low <= getattr(self, name) <= high
        ]
        if wrong:
            raise InputError("; ".join(wrong))


def read_traffic(file: Path) -> Traffic:
    """A CSV with the columns `tenant` and `requests_per_day`, spread evenly over the day; or the rates table that
    planning/traffic/sql/rates.sql makes of a trace, whose working days and weekends become one usual day.

    Other columns are left alone. Raises InputError with every mistake (the first ten of many).
    """
    table = read_rows(file)
    names = dict.fromkeys(row.tenant for row in table.rows)
    if wrong := [name for name in names if not re.fullmatch(WORD_PATTERN, name)]:
        shown = ", ".join(map(repr, wrong[:_MAX_NAMES_SHOWN])) + (", ..." if len(wrong) > _MAX_NAMES_SHOWN else "")
        raise InputError(f"{file}: tenant {shown} must match {WORD_PATTERN}, as tenants of a fleet do")
    hours: dict[str, list[float]] = {name: [0.0] * HOURS_OF_DAY for name in names}
    for row in table.rows:
        numbers, of_tenant = row.numbers, hours[row.tenant]
        if table.by_hour:
            days = (numbers["last_seconds"] - numbers["first_seconds"]) / 86_400
            of_tenant[int(numbers["hour_of_day"])] += numbers["requests"] / days
        else:
            of_tenant[:] = [numbers["requests_per_day"] / HOURS_OF_DAY] * HOURS_OF_DAY
    return Traffic({tenant: tuple(calls) for tenant, calls in hours.items()})
