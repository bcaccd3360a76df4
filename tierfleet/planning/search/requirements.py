"""What a fleet has to achieve. The defaults are what its own file promises in its alarm limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tierfleet.config import FleetConfig
from tierfleet.errors import InputError
from tierfleet.text import dollars, milliseconds, points

# A class of calls is judged by its percentile from this share of the calls on.
LEAST_JUDGED_SHARE: Final = 1e-4


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """None: not required.

    min_hit_ratio: of the shared tier, 0 to 1; 0 requires nothing.
    warm_p95_seconds: of calls whose model is in memory, as callers see it.
    cold_p95_seconds: of calls that wait for a load, from disk or S3, as callers see it.
    whale_p99_seconds: of a dedicated endpoint, in the container (ModelLatency). usd: a month, for everything.
    tenant_p99_seconds: of single tenants, in the container, wherever they are.
    """

    min_hit_ratio: float | None = None
    warm_p95_seconds: float | None = None
    cold_p95_seconds: float | None = None
    whale_p99_seconds: float | None = None
    usd: float | None = None
    tenant_p99_seconds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises InputError that names every number out of its range."""
        named = {
            "the required warm p95 (--warm-p95-milliseconds), in seconds,": self.warm_p95_seconds,
            "the required cold p95 (--cold-p95-seconds)": self.cold_p95_seconds,
            "the required p99 of dedicated tenants, in seconds,": self.whale_p99_seconds,
            "the budget (--budget-usd)": self.usd,
        }
        named |= {
            f"the required p99 of {tenant} (--tenant-p99), in seconds,": seconds
            for tenant, seconds in self.tenant_p99_seconds.items()
        }
        wrong = [f"{name} is {value:g}; give a number above 0" for name, value in named.items() if not _sound(value)]
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
    """What is given; for the rest, what the alarms of the fleet file hold the tiers to."""
    tail = config.multi_model_tiers[config.default_tier]
    whales = [tier.alarms.max_model_latency_p99_milliseconds / 1000 for tier in config.dedicated_tiers.values()]
    return Requirements(
        min_hit_ratio=tail.alarms.min_cache_hit_ratio if min_hit_ratio is None else min_hit_ratio,
        warm_p95_seconds=warm_p95_seconds,
        cold_p95_seconds=tail.alarms.max_loading_wait_seconds if cold_p95_seconds is None else cold_p95_seconds,
        whale_p99_seconds=min(whales, default=None),
        usd=usd,
        tenant_p99_seconds=tenant_p99_seconds or {},
    )


def requirements_text(requirements: Requirements) -> str:
    """In one line."""
    parts = []
    if requirements.warm_p95_seconds is not None:
        parts.append(f"warm p95 {milliseconds(requirements.warm_p95_seconds)}")
    if requirements.cold_p95_seconds is not None:
        parts.append(f"cold p95 {milliseconds(requirements.cold_p95_seconds)}")
    if requirements.min_hit_ratio:
        parts.append(f"hit ratio {points(requirements.min_hit_ratio)}")
    if requirements.whale_p99_seconds is not None:
        parts.append(f"dedicated p99 {milliseconds(requirements.whale_p99_seconds)}")
    parts += [f"{name} p99 {milliseconds(s)}" for name, s in sorted(requirements.tenant_p99_seconds.items())]
    if requirements.usd is not None:
        parts.append(f"{dollars(requirements.usd)} a month")
    return ", ".join(parts) or "none"


def _sound(value: float | None) -> bool:
    return value is None or 0 < value < float("inf")
