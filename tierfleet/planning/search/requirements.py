"""What a fleet must achieve. The defaults are the alarm limits of its own fleet file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tierfleet.config import FleetConfig
from tierfleet.errors import InputError
from tierfleet.text import dollars, milliseconds, points

# The percentile of a class of calls counts only if the class has at least this share of the calls.
MIN_EVALUATED_SHARE: Final = 1e-4


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a fleet must achieve; None: not required. Raises InputError that names every number out of range."""

    min_hit_ratio: float | None = None
    """Of the shared tier, 0 to 1; 0 requires nothing."""
    warm_p95_seconds: float | None = None
    """Of calls whose model is in memory, as callers see them; above 0."""
    cold_p95_seconds: float | None = None
    """Of calls that wait for a load, from disk or S3, as callers see them; above 0."""
    dedicated_p99_seconds: float | None = None
    """Of dedicated endpoints, in the container (ModelLatency); above 0."""
    usd: float | None = None
    """US dollars a month for the whole fleet; above 0."""
    tenant_p99_seconds: Mapping[str, float] = field(default_factory=dict)
    """Of single tenants, in the container, whatever their tier; above 0."""

    def __post_init__(self) -> None:
        named = {
            "the required warm p95 (--warm-p95-milliseconds), in seconds,": self.warm_p95_seconds,
            "the required cold p95 (--cold-p95-seconds)": self.cold_p95_seconds,
            "the required p99 of dedicated tenants, in seconds,": self.dedicated_p99_seconds,
            "the budget (--budget-usd)": self.usd,
        }
        named |= {
            f"the required p99 of {tenant} (--tenant-p99), in seconds,": seconds
            for tenant, seconds in self.tenant_p99_seconds.items()
        }
        wrong = [f"{name} is {value:g}; give a number above 0" for name, value in named.items() if not _valid(value)]
        if self.min_hit_ratio is not None and not 0 <= self.min_hit_ratio <= 1:
            wrong.append(f"the required hit ratio (--min-hit-ratio) is {self.min_hit_ratio:g}; give a ratio of 0 to 1")
        if wrong:
            raise InputError("; ".join(wrong))


def requirements_of(
    config: FleetConfig,
    *,
    min_hit_ratio: float | None = None,
    warm_p95_seconds: float | None = None,
    cold_p95_seconds: float | None = None,
    usd: float | None = None,
    tenant_p99_seconds: Mapping[str, float] | None = None,
) -> Requirements:
    """The given requirements; for the rest, the alarm limits of the fleet file. Raises InputError."""
    tail = config.multi_model_tiers[config.default_tier]
    dedicated = [tier.alarms.max_model_latency_p99_milliseconds / 1000 for tier in config.dedicated_tiers.values()]
    return Requirements(
        min_hit_ratio=tail.alarms.min_cache_hit_ratio if min_hit_ratio is None else min_hit_ratio,
        warm_p95_seconds=warm_p95_seconds,
        cold_p95_seconds=tail.alarms.max_loading_wait_seconds if cold_p95_seconds is None else cold_p95_seconds,
        dedicated_p99_seconds=min(dedicated, default=None),
        usd=usd,
        tenant_p99_seconds=tenant_p99_seconds or {},
    )


def requirements_text(requirements: Requirements) -> str:
    """In one line, such as `cold p95 3 s, hit ratio 85.0 %`."""
    parts = []
    if requirements.warm_p95_seconds is not None:
        parts.append(f"warm p95 {milliseconds(requirements.warm_p95_seconds)}")
    if requirements.cold_p95_seconds is not None:
        parts.append(f"cold p95 {milliseconds(requirements.cold_p95_seconds)}")
    if requirements.min_hit_ratio:
        parts.append(f"hit ratio {points(requirements.min_hit_ratio)}")
    if requirements.dedicated_p99_seconds is not None:
        parts.append(f"dedicated p99 {milliseconds(requirements.dedicated_p99_seconds)}")
    parts += [f"{name} p99 {milliseconds(s)}" for name, s in sorted(requirements.tenant_p99_seconds.items())]
    if requirements.usd is not None:
        parts.append(f"{dollars(requirements.usd)} a month")
    return ", ".join(parts) or "none"


def _valid(value: float | None) -> bool:
    return value is None or 0 < value < float("inf")
