"""What an asynchronous endpoint costs: its instances while there is work, and none while the queue is empty."""

import math
from collections.abc import Sequence
from typing import Final

from tierfleet.config import FleetConfig
from tierfleet.config.hosting.asynchronous import AsyncTier
from tierfleet.cost import items
from tierfleet.cost.bill import Bill, Place
from tierfleet.cost.instance_hours import MeanInstances
from tierfleet.cost.usage import Usage

_SECONDS_PER_HOUR: Final = 3600


def endpoint(bill: Bill, place: Place, tier: AsyncTier, usage: Usage) -> None:
    """Instances, volumes and alarms of one tenant's endpoint."""
    calls = usage.traffic.together([str(place[1])]) if usage.traffic else None
    items.endpoint(bill, place, tier, mean_instances(tier, calls, usage))


def mean_instances(tier: AsyncTier, calls_per_hour: Sequence[float] | None, usage: Usage) -> MeanInstances:
    """The mean of one endpoint. calls_per_hour: of a usual day, 24 numbers; None: not known, then the lower bound.

    An hour with a call has an instance for the whole hour: it starts in minutes, and scaling in takes a quarter of an
    hour. It has as many as finish the hour's requests within it, where the time of a request is known.
    """
    least, most = tier.instances.min, tier.instances.max
    if calls_per_hour is None:
        return MeanInstances(least, least, most)
    seconds = (usage.milliseconds_per_call or 0.0) / 1000 / (tier.max_concurrent_invocations_per_instance or 1)
    wanted = [max(calls > 0, math.ceil(calls * seconds / _SECONDS_PER_HOUR - 1e-9)) for calls in calls_per_hour]
    bounded = [min(max(count, least), most) for count in wanted]
    short = sum(count > most for count in wanted) / len(wanted)
    return MeanInstances(least, sum(bounded) / len(bounded), most, short)


def add_notes(bill: Bill, config: FleetConfig, usage: Usage) -> None:
    """Says what the asynchronous lines assume."""
    if not config.async_tiers:
        return
    bill.notes.append("asynchronous instances are priced as real-time ones; AWS lists them separately (AsyncInf)")
    if usage.traffic is not None and usage.milliseconds_per_call is None:
        bill.notes.append(
            "an hour with asynchronous requests has one instance, since their time is not known (--call-milliseconds)"
        )
    bill.left_out.append("requests, results and notifications of asynchronous endpoints in S3 and SNS")
