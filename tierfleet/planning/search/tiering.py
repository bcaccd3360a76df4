"""Who is a whale: the tier of each tenant, with the reason.

A dedicated endpoint costs its instances whether its tenant calls or not, so it needs a reason. There are three:

- The tenant dominates: it would make a large part of the calls of the shared tier it would join, many times what an
  average tenant there makes, and often enough to be felt. InvocationsPerInstance of that tier would follow this one
  tenant, and so would its scaling, its alarms and everybody's latency.
- It fills instances: in its busiest hour it needs the fewest instances of a dedicated endpoint by itself. The shared
  tier would need as many more for it, so its own cost nothing extra.
- A p99 is required of it that the shared tier cannot hold: more than 1 % of its calls would wait for a load.

Tenants are judged from the smallest up, each against the smaller ones that stay: two giants do not hide each other.
A tenant that is dedicated today goes back only when it falls below the limits by more than the band.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.text import a_second, milliseconds, percent

P99_MISS_SHARE: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class TieringRules:
    """When a tenant is worth its own endpoint.

    dominant_share: of the calls of the shared tier it would join. dominant_multiple: of the calls of an average tenant
    there. least_peak_per_second: calls a second in its busiest hour.
    filling_per_second: calls a second that the fewest instances of a dedicated endpoint are meant for.
    band: a dedicated tenant goes back only below (1 - band) of a limit.
    """

    dominant_share: float = 0.25
    dominant_multiple: float = 8.0
    least_peak_per_second: float = 1.0
    filling_per_second: float = float("inf")
    band: float = 0.3

    def __str__(self) -> str:
        back = 1 - self.band
        filling = f", or {self.filling_per_second:g} calls/s at peak" if np.isfinite(self.filling_per_second) else ""
        return (
            f"dedicated from {percent(self.dominant_share)} of the calls of the tier it would join, "
            f"{self.dominant_multiple:g} times an average tenant there and {self.least_peak_per_second:g} calls/s at "
            f"peak{filling}; back below {percent(self.dominant_share * back)}, {self.dominant_multiple * back:.2g} "
            f"times, {self.least_peak_per_second * back:.2g} calls/s (band {percent(self.band)})"
        )


@dataclass(frozen=True)
class TenantTier:
    """Where a tenant belongs. share: of all calls, 0 to 1. peak_per_second: in its busiest hour."""

    tenant: str
    dedicated: bool
    share: float
    peak_per_second: float
    reason: str


@dataclass(frozen=True)
class TailShare:
    """How the shared tier would treat one tenant: the share of its calls that wait for a load, and what they take."""

    load_share: float
    warm_p99_seconds: float
    load_seconds: float

    @property
    def p99_seconds(self) -> float:
        return self.load_seconds if self.load_share > P99_MISS_SHARE else self.warm_p99_seconds


def assign_tiers(
    tenants: tuple[str, ...],
    calls_per_day: NDArray[np.float64],
    peak_per_second: NDArray[np.float64],
    rules: TieringRules,
    *,
    dedicated_now: Collection[str] = (),
    keep: Collection[str] = (),
    too_big: Mapping[str, str] | None = None,
    promised_p99_seconds: float | None = None,
) -> tuple[TenantTier, ...]:
    """The tier of every tenant by its traffic, in the order of `tenants`.

    dedicated_now: who has an endpoint today. keep: who stays where it is, whatever its traffic. too_big: who has no
    room on a dedicated endpoint, with the reason.
    promised_p99_seconds: what a dedicated endpoint is held to, for the reason.
    """
    share = calls_per_day / calls_per_day.sum()
    tail_calls, tail_tenants = 0.0, 0
    found: dict[int, TenantTier] = {}
    for index in np.argsort(calls_per_day, kind="stable").tolist():
        name, calls, peak = tenants[index], float(calls_per_day[index]), float(peak_per_second[index])
        now = name in dedicated_now
        ease = 1 - rules.band if now else 1.0
        of_tail = calls / (tail_calls + calls) if calls else 0.0
        multiple = calls / tail_calls * tail_tenants if tail_calls else 0.0
        strength = min(
            of_tail / rules.dominant_share,
            multiple / rules.dominant_multiple,
            peak / rules.least_peak_per_second,
        )
        fills = peak >= rules.filling_per_second * ease
        dedicated = now if name in keep else strength >= ease or fills
        no_room = None if name in keep or too_big is None else too_big.get(name)
        if dedicated and no_room is not None:
            dedicated = False
            reason = f"{percent(share[index])} of calls, worth an endpoint of its own, but {no_room}"
        elif name in keep:
            reason = f"{percent(share[index])} of calls; kept where it is, as asked"
        elif dedicated:
            reason = f"{percent(share[index])} of calls, {percent(of_tail)} of the tier it would join"
            reason += f", {a_second(peak)} at peak"
            if fills:
                reason += ": fills a dedicated endpoint's fewest instances by itself"
            if max(strength, 0.0) < 1 and not peak >= rules.filling_per_second:
                reason += f"; below the limits, but within the band of {percent(rules.band)}"
            if promised_p99_seconds is not None:
                reason += f"; p99 SLA {milliseconds(promised_p99_seconds)}"
        else:
            reason = f"{percent(share[index])} of calls, {percent(of_tail)} of those of the tenants up to its size"
            reason += f", {a_second(peak)} at peak"
        if not dedicated:
            tail_calls, tail_tenants = tail_calls + calls, tail_tenants + 1
        found[index] = TenantTier(name, dedicated, float(share[index]), peak, reason)
    return tuple(found[index] for index in range(len(tenants)))


def promoted_for_p99(
    assigned: tuple[TenantTier, ...],
    required_p99_seconds: Mapping[str, float],
    on_tail: Mapping[str, TailShare],
    *,
    band: float,
    dedicated_now: Collection[str] = (),
    keep: Collection[str] = (),
) -> tuple[TenantTier, ...]:
    """The same, with those tenants promoted whose required p99 the shared tier breaks.

    on_tail: how it would treat those with a requirement.
    """
    result = []
    for tier in assigned:
        required, tail = required_p99_seconds.get(tier.tenant), on_tail.get(tier.tenant)
        if required is not None and tail is not None and not tier.dedicated and tier.tenant not in keep:
            ease = 1 - band if tier.tenant in dedicated_now else 1.0
            if tail.p99_seconds > required * ease:
                reason = (
                    f"{percent(tier.share)} of calls, p99 SLA {milliseconds(required)}: on the shared tier "
                    f"{percent(tail.load_share)} of its calls wait for a load, p99 {milliseconds(tail.p99_seconds)}"
                )
                tier = TenantTier(tier.tenant, True, tier.share, tier.peak_per_second, reason)
        result.append(tier)
    return tuple(result)
