"""How many instances an endpoint runs, minute by minute, as Application Auto Scaling would have had it.

Target tracking scales out when InvocationsPerInstance is above its target for 3 minutes, and in when it is below 90 %
of it for 15 (docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html).
Schedules move the bounds. `scale_on_cache` adds instances after two quarter hours of too many unloads and takes one
back after a calm hour, as constructs_lib/variant_scaling.py deploys it. A new instance serves after `BOOT_MINUTES`.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from tierfleet.config import MultiModelTier, Tier
from tierfleet.config.schedule import At, fire_times, parse_schedule

# From the request for an instance until it serves; AWS says "minutes". An assumption.
BOOT_MINUTES: Final = 5
_HIGH_MINUTES: Final = 3
_LOW_MINUTES: Final = 15
_LOW_SHARE: Final = 0.9
_QUARTER_MINUTES: Final = 15
_CALM_QUARTERS: Final = 4


@dataclass(frozen=True)
class Bounds:
    """Bounds of the instance count from a minute (since 1970) on."""

    from_minute: int
    least: int
    most: int


def bounds_over(tier: Tier, first_minute: int, last_minute: int) -> list[Bounds]:
    """The bounds that hold in these minutes, in order; the first one holds at `first_minute`."""
    first, last = (datetime.fromtimestamp(60 * minute, UTC) for minute in (first_minute, last_minute))
    changes = [Bounds(0, tier.instances.min, tier.instances.max)]
    for _, scheduled in sorted(tier.scaling.schedules.items()):
        # A weekly schedule that fired before the trace still holds at its start.
        for moment in moments(scheduled.schedule, scheduled.timezone, first - timedelta(days=8), last):
            changes.append(Bounds(int(moment.timestamp() // 60), scheduled.min, scheduled.max))
    changes.sort(key=lambda bounds: bounds.from_minute)
    begun = [bounds for bounds in changes if bounds.from_minute <= first_minute]
    return [begun[-1], *(bounds for bounds in changes if bounds.from_minute > first_minute)]


def moments(schedule: str, timezone: str, first: datetime, last: datetime) -> list[datetime]:
    """When a schedule fires between two moments, in UTC."""
    parsed = parse_schedule(schedule)
    if isinstance(parsed, At):
        from zoneinfo import ZoneInfo

        once = parsed.moment.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)
        return [once] if first <= once <= last else []
    years = range(first.year - 1, last.year + 2)
    fires = (moment for year in years for moment in fire_times(schedule, timezone, year))
    return sorted({moment for moment in fires if first <= moment <= last})


@dataclass
class Scaler:
    """The state of one endpoint's scaling. Begin with `Scaler.at_start`, then tell it each minute's calls."""

    tier: Tier
    bounds: Sequence[Bounds]
    in_service: int
    """Instances that serve."""
    desired: int
    """Instances that were asked for."""
    booting: deque[tuple[int, int]] = field(default_factory=deque)
    """(minute, count): so many serve from that minute on."""
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=_LOW_MINUTES))
    """InvocationsPerInstance of the last minutes."""
    quarters: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_CALM_QUARTERS))
    """Of the last quarter hours: the sum of InvocationsPerInstance, and the models unloaded."""
    out_until: int = 0
    """No further scale-out on the cache before this minute."""
    in_until: int = 0
    """No further scale-in before this minute."""

    @classmethod
    def at_start(cls, tier: Tier, first_minute: int, last_minute: int) -> "Scaler":
        """An endpoint that runs with `instances.initial`, as far as the bounds of that moment allow."""
        bounds = bounds_over(tier, first_minute, last_minute)
        count = min(max(tier.instances.initial, bounds[0].least), bounds[0].most)
        return cls(tier, bounds, count, count)

    def minute(self, minute: int, calls: int) -> int:
        """The calls of a minute that is over. Returns the instances that serve from now on."""
        self.rates.append(calls / self.in_service)
        while len(self.bounds) > 1 and self.bounds[1].from_minute <= minute + 1:
            self.bounds = self.bounds[1:]
        self._track(minute)
        self._ask_for(minute, self.desired)
        while self.booting and self.booting[0][0] <= minute + 1:
            self.in_service = self.booting.popleft()[1]
        return self.in_service

    def quarter(self, minute: int, unloads: int) -> None:
        """The models that were unloaded in a quarter hour that ends with this minute; only for `scale_on_cache`."""
        policy = self.tier.scale_on_cache if isinstance(self.tier, MultiModelTier) else None
        if policy is None:
            return
        self.quarters.append((sum(self.rates), unloads))
        tolerated = policy.max_unloads_per_hour / 4
        target = self.tier.scaling.target_invocations_per_minute
        cooldown = math.ceil(policy.cooldown_seconds / 60)
        if len(self.quarters) > 1 and all(count > tolerated for _, count in list(self.quarters)[-2:]):
            if minute >= self.out_until:
                self._ask_for(minute, self.desired + policy.add_instances)
                self.out_until = minute + cooldown
            return
        calm = all(rate < target * _QUARTER_MINUTES / 2 and count <= tolerated / 10 for rate, count in self.quarters)
        if calm and len(self.quarters) == _CALM_QUARTERS and minute >= self.in_until:
            self._ask_for(minute, self.desired - 1)
            self.in_until = minute + cooldown

    def _track(self, minute: int) -> None:
        scaling, target = self.tier.scaling, self.tier.scaling.target_invocations_per_minute
        recent = list(self.rates)
        if len(recent) >= _HIGH_MINUTES and min(recent[-_HIGH_MINUTES:]) > target:
            # Rounded up: with one instance less the rate would be above the target again.
            wanted = math.ceil(self.in_service * recent[-1] / target - 1e-9)
            if wanted > self.desired:
                self._ask_for(minute, wanted)
                self.in_until = minute + math.ceil(scaling.scale_out_cooldown_seconds / 60)
            return
        if isinstance(self.tier, MultiModelTier) and self.tier.scale_on_cache is not None:
            return
        if len(recent) == _LOW_MINUTES and max(recent) < _LOW_SHARE * target and minute >= self.in_until:
            # By the busiest minute: removing too many would scale out again at once.
            wanted = math.ceil(self.in_service * max(recent) / target - 1e-9)
            if max(wanted, self.bounds[0].least) < self.desired:
                self._ask_for(minute, wanted)
                self.in_until = minute + math.ceil(scaling.scale_in_cooldown_seconds / 60)

    def _ask_for(self, minute: int, count: int) -> None:
        count = min(max(count, self.bounds[0].least), self.bounds[0].most)
        if count > self.desired:
            self.booting.append((minute + 1 + BOOT_MINUTES, count))
        elif count < self.desired:
            # The newest go first; what still boots is never needed.
            self.booting = deque((ready, min(wanted, count)) for ready, wanted in self.booting)
            self.in_service = min(self.in_service, count)
        self.desired = count


def instance_minutes(counts: Sequence[tuple[int, int]], end_minute: int) -> int:
    """Instances times minutes, of (minute, count) changes in order up to `end_minute`."""
    following = [*counts, (end_minute, 0)]
    return sum(count * (later - minute) for (minute, count), (later, _) in pairwise(following))
