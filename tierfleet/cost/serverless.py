"""What a serverless endpoint costs: the seconds in which calls run, and containers that are kept warm."""

from tierfleet.config import FleetConfig
from tierfleet.config.hosting.serverless import ServerlessTier
from tierfleet.cost.bill import Bill, Place
from tierfleet.cost.items import DAYS_PER_MONTH, alarms
from tierfleet.cost.prices import HOURS_PER_MONTH
from tierfleet.cost.resource_counts import endpoint_alarms
from tierfleet.cost.usage import Usage

_SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600


def endpoint(bill: Bill, place: Place, tier: ServerlessTier, usage: Usage) -> None:
    """Calls, warm containers and alarms of one tenant's endpoint.

    10 calls a day of 200 ms in 3 GB are 61 seconds a month.
    """
    size = f"{tier.memory_size_in_mb // 1024}gb_second"
    warm = tier.provisioned_concurrency or 0
    second = bill.unit(f"serverless_{size}" if not warm else f"serverless_provisioned_usage_{size}")
    if second.borrowed_from is not None:
        note = (
            f"the price list has no serverless price in {second.region}, so serverless inference may not be offered "
            f"there: {second.borrowed_from}'s price is used"
        )
        bill.notes += [note] if note not in bill.notes else []
    each = seconds_per_call(tier, usage)
    per_day = usage.traffic.calls_per_day(str(place[1])) if usage.traffic else 0.0
    calls = per_day * DAYS_PER_MONTH
    most = tier.max_concurrency * _SECONDS_PER_MONTH
    seconds = min(calls * each, most)
    detail = f"{calls:,.0f} calls x {each * 1000:g} ms in {tier.memory_size_in_mb} MB at ${second.usd:g} a second"
    bill.add(place, "calls", detail, second.of(seconds), (0.0, second.of(most)))
    if warm:
        kept = bill.unit(f"serverless_provisioned_{size}")
        detail = f"{warm} kept warm at ${kept.usd:g} a second"
        bill.add(place, "provisioned concurrency", detail, kept.of(warm * _SECONDS_PER_MONTH))
    alarms(bill, place, endpoint_alarms(tier, place[1]))


def seconds_per_call(tier: ServerlessTier, usage: Usage) -> float:
    """How long a call runs: as given, else the latency that the tier's alarm allows, which is the most."""
    milliseconds = usage.milliseconds_per_call
    if milliseconds is None:
        milliseconds = tier.alarms.max_model_latency_p99_milliseconds
    return milliseconds / 1000


def add_notes(bill: Bill, config: FleetConfig, usage: Usage) -> None:
    """Says what the serverless lines assume."""
    if not config.serverless_tiers:
        return
    if usage.milliseconds_per_call is None:
        bill.notes.append(
            "a serverless call runs as long as its tier's max_model_latency_p99_milliseconds, which is the most the "
            "alarm allows (--call-milliseconds)"
        )
    bill.notes.append("a serverless endpoint at max has max_concurrency calls under way all month, at min none")
    if usage.traffic is None:
        bill.left_out.append("calls to serverless endpoints: give --traffic")
    bill.left_out.append("the start of serverless containers, and data in and out of serverless endpoints")
