"""The tier of each tenant, with the reason.

A dedicated endpoint costs its instances whether its tenant calls or not, so it needs a reason. There are three:

- The tenant dominates: it would make a large part of the calls of the shared tier it would join, many times the calls
  of an average tenant there, and at a rate that is felt. InvocationsPerInstance would follow this one tenant, and with
  it scaling, alarms and everybody's latency.
- It fills instances: in its busiest hour it needs the fewest instances of a dedicated endpoint by itself. The shared
  tier would need as many more for it, so a dedicated endpoint costs nothing extra.
- Its required p99 is out of reach on the shared tier: more than 1 % of its calls would wait for a load.

Tenants are assigned from the smallest up, each compared with the smaller ones that stay, so that two giants do not hide
each other. A tenant that is dedicated today goes back only when it falls below the limits by more than the band.
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
    """When a tenant is worth a dedicated endpoint."""

    dominant_share: float = 0.25
    """Of the calls of the shared tier it would join, 0 to 1."""
    dominant_multiple: float = 8.0
    """Of the calls of an average tenant there."""
    min_peak_per_second: float = 1.0
    """Calls a second in its busiest hour."""
    filling_per_second: float = float("inf")
    """Calls a second that the fewest instances of a dedicated endpoint are meant for."""
    band: float = 0.3
    """A dedicated tenant goes back only below (1 - band) of a limit, 0 to 1."""

    def __str__(self) -> str:
        back = 1 - self.band
        filling = f", or {self.filling_per_second:g} calls/s at peak" if np.isfinite(self.filling_per_second) else ""
        return (
            f"dedicated from {percent(self.dominant_share)} of the calls of the tier it would join, "
            f"{self.dominant_multiple:g} times an average tenant there and {self.min_peak_per_second:g} calls/s at "
            f"peak{filling}; back below {percent(self.dominant_share * back)}, {self.dominant_multiple * back:.2g} "
            f"times, {self.min_peak_per_second * back:.2g} calls/s (band {percent(self.band)})"
        )


@dataclass(frozen=True)
class TenantTier:
    """The tier of one tenant."""

    tenant: str
    dedicated: bool
    share: float
    """Of all calls, 0 to 1."""
    peak_per_second: float
    """Calls a second in its busiest hour."""
    reason: str


@dataclass(frozen=True)
class TailShare:
    """How the shared tier treats one tenant."""

    load_share: float
    """Share of its calls that wait for a load, 0 to 1."""
    warm_p99_seconds: float
    load_seconds: float

    @property
    def p99_seconds(self) -> float:
        """A load if more than 1 % of its calls wait for one."""
        return self.load_seconds if self.load_share > P99_MISS_SHARE else self.warm_p99_seconds


def assign_tiers(
    tenants: tuple[str, ...],
    calls_per_day: NDArray[np.float64],
    peak_per_second: NDArray[np.float64],
    rules: TieringRules,
    *,
    dedicated_today: Collection[str] = (),
    keep: Collection[str] = (),
    too_big: Mapping[str, str] | None = None,
    promised_p99_seconds: float | None = None,
) -> tuple[TenantTier, ...]:
    """The tier of every tenant by its traffic, in the order of `tenants`.

    keep: tenants that stay on their tier, whatever their traffic. too_big: tenants whose model does not fit a dedicated
    endpoint, with the reason. promised_p99_seconds: what a dedicated endpoint promises, for the reason.
    """
    share = calls_per_day / calls_per_day.sum()
    tail_calls, tail_tenants = 0.0, 0
    assigned: dict[int, TenantTier] = {}
    for index in np.argsort(calls_per_day, kind="stable").tolist():
        name, calls, peak = tenants[index], float(calls_per_day[index]), float(peak_per_second[index])
        today = name in dedicated_today
        ease = 1 - rules.band if today else 1.0
        of_tail = calls / (tail_calls + calls) if calls else 0.0
        multiple = calls / tail_calls * tail_tenants if tail_calls else 0.0
        strength = min(
            of_tail / rules.dominant_share,
            multiple / rules.dominant_multiple,
            peak / rules.min_peak_per_second,
        )
        fills = peak >= rules.filling_per_second * ease
        dedicated = today if name in keep else strength >= ease or fills
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
        assigned[index] = TenantTier(name, dedicated, float(share[index]), peak, reason)
    return tuple(assigned[index] for index in range(len(tenants)))


def promoted_for_p99(
    assigned: tuple[TenantTier, ...],
    required_p99_seconds: Mapping[str, float],
    on_tail: Mapping[str, TailShare],
    *,
    band: float,
    dedicated_today: Collection[str] = (),
    keep: Collection[str] = (),
) -> tuple[TenantTier, ...]:
    """The same, with the tenants promoted whose required p99 the shared tier misses.

    on_tail: how the shared tier treats each tenant with a requirement.
    """
    result = []
    for tier in assigned:
        required, tail = required_p99_seconds.get(tier.tenant), on_tail.get(tier.tenant)
        if required is not None and tail is not None and not tier.dedicated and tier.tenant not in keep:
            ease = 1 - band if tier.tenant in dedicated_today else 1.0
            if tail.p99_seconds > required * ease:
                reason = (
                    f"{percent(tier.share)} of calls, p99 SLA {milliseconds(required)}: on the shared tier "
                    f"{percent(tail.load_share)} of its calls wait for a load, p99 {milliseconds(tail.p99_seconds)}"
                )
                tier = TenantTier(tier.tenant, True, tier.share, tier.peak_per_second, reason)
        result.append(tier)
    return tuple(result)
