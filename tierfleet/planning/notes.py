"""What a reader of a plan must know: notices about this run, and the assumptions that every figure rests on."""

from collections.abc import Iterator
from datetime import UTC, datetime

from tierfleet.config import FleetConfig
from tierfleet.cost.monthly_cost import FleetCost
from tierfleet.instance_types import describe
from tierfleet.planning.answer import Choice
from tierfleet.planning.plan import Notes
from tierfleet.planning.profiles.latency import Network
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.request import ResolvedRequest
from tierfleet.planning.search.fleet_model import DISK_SHARE_FOR_MODELS
from tierfleet.planning.search.fleet_option import cold_p95_depends
from tierfleet.planning.search.service_levels import beyond_max, burst_seconds
from tierfleet.planning.search.tail_cache import PLACEMENTS
from tierfleet.planning.traffic.workload import Workload
from tierfleet.text import duration, milliseconds, percent

# A notice says so if a measured capacity differs from the profile's by more than this share.
_MEASURED_APART = 0.15
# Up to this factor beyond the measured sizes the straight line of a profile is taken as measured.
_FAR_OUTSIDE = 1.25


def notes(resolved: ResolvedRequest, choice: Choice) -> Notes:
    """Notices and assumptions of one plan."""
    request = resolved.request
    return Notes(
        notices=(
            *request.notices,
            *resolved.notices,
            *_about_container(resolved),
            *_about_prices(resolved),
            *_about_profile(choice.model.profile, request.workload),
            *_about_fleet(resolved, choice),
        ),
        assumptions=_assumptions(choice.model.profile, request.network, request.workload, choice.cost, request.config),
    )


def _about_container(resolved: ResolvedRequest) -> Iterator[str]:
    if resolved.container_change:
        yield f"{resolved.container_change}: change [container] before you change sizes"


def _about_prices(resolved: ResolvedRequest) -> Iterator[str]:
    if resolved.without_price:
        region = resolved.request.config.region
        some = ", ".join(instance_type.name for instance_type in resolved.without_price[:3])
        yield (
            f"{len(resolved.without_price)} instance types offered in {region} were not considered, since the price "
            f"table has no price of them ({some}, ...): tierfleet prices refresh --region {region}"
        )


def _about_profile(profile: Profile, workload: Workload) -> Iterator[str]:
    """Models far outside the sizes that the profile was measured with."""
    measured = [size for size, _ in (*profile.resident, *profile.load)]
    low, high = min(measured), max(measured)
    sizes = workload.model_mb
    outside = (sizes > high * _FAR_OUTSIDE) | (sizes < low / _FAR_OUTSIDE)
    if outside.any():
        extreme = float(sizes.max() if sizes.max() > high * _FAR_OUTSIDE else sizes.min())
        yield (
            f"profile {profile.name} was measured with models of {low:g} to {high:g} MB; {int(outside.sum()):,} of "
            f"{len(sizes):,} models are outside, such as one of {extreme:,.{0 if extreme >= 10 else 2}f} MB: their "
            "memory and times are extrapolated; measure models of that size (tierfleet plan calibrate)"
        )


def _about_fleet(resolved: ResolvedRequest, choice: Choice) -> Iterator[str]:
    config, model, shown = resolved.request.config, choice.model, choice.shown
    tail = config.multi_model_tiers[config.default_tier]
    today = describe(tail.instance_type)
    if tail.models_per_instance is not None and resolved.container_change is None:
        option = model.option(today, tail.instances.min, choice.dedicated)
        apart = option.models_per_instance / tail.models_per_instance - 1
        if abs(apart) > _MEASURED_APART:
            yield (
                f"the file says {tail.models_per_instance} models an instance of {tail.instance_type}, the profile "
                f"{model.profile.name} gives {option.models_per_instance}: if the file's number was measured, "
                "calibrate the profile with your models (tierfleet plan calibrate)"
            )
    yield from (f"{text}: raise instances.max" for text in beyond_max(model, shown))
    if shown.instances == 1:
        yield (
            "the shared tier has one instance: if it is lost, its calls fail until SageMaker has replaced it; "
            "--min-instances 2 plans with a second one"
        )
    tenants = len(choice.tail.tenants)
    if model.workload.requests is None and tenants > 1:
        yield (
            f"rates hide bursts: if all {tenants:,} tenants of the shared tier call at the same moment and no model is "
            f"in memory, the last call waits up to {duration(burst_seconds(model, shown))} (an upper bound); a trace "
            "shows what your bursts do"
        )
    if shown.cold_p95_range is not None and cold_p95_depends(shown):
        low, high = (milliseconds(seconds) for seconds in shown.cold_p95_range)
        yield (
            f"cold p95 is {low} to {high} by placement: when many tenants call at once, the instance with the most of "
            f"them decides how long loads wait, and AWS does not document which instance loads a model; {high} is what "
            "counts"
        )
    yield from _about_stretch(choice.tail)
    if tail.scaling.schedules:
        yield "the bounds that scaling.schedules set by the clock are priced, but not planned"
    if shown.instance_type != today:
        yield (
            f"requests a second for {shown.instance_type.name} follow from its vCPUs, not from a load test; and a "
            "comment next to models_per_instance may be about the old type"
        )
    elif tail.instances.initial < shown.instances:
        yield "raising instances.initial updates the endpoint, which empties its cache once"


def _about_stretch(tail: Workload) -> Iterator[str]:
    """Of a long trace, only a stretch is simulated call by call."""
    if tail.requests is None or tail.followed is None or len(tail.followed[0]) == len(tail.requests):
        return
    part, counted_from = tail.followed
    since, until = (datetime.fromtimestamp(at, UTC).date() for at in (counted_from, float(part.seconds[-1])))
    yield (
        f"call times come from {len(part):,} calls in a row, counted from {since} to {until}: they have the hour in "
        "which the most tenants call; hit ratios come from all calls, and plan replay follows every call"
    )


def _assumptions(
    profile: Profile, network: Network, workload: Workload, cost: FleetCost, config: FleetConfig
) -> tuple[str, ...]:
    exact = "exactly, request by request, by LRU" if workload.requests is not None else "by Che's approximation"
    volume = config.multi_model_tiers[config.default_tier].volume_size_in_gb
    disk = (
        f"the volume holds models in {percent(DISK_SHARE_FOR_MODELS)} of its {volume} GB, packed and unpacked"
        if volume
        else "volume_size_in_gb is not set, so every load counts as a fetch from S3"
    )
    return (
        f"hit ratios: {exact}; every model is on one instance (SageMaker sends a model's calls to one instance while "
        f"it is not busy; which one is not documented, so {PLACEMENTS} random placements are evaluated, independent of "
        "the tenants' names, and the worst one counts), and every instance evicts the least recently used model "
        "(AWS documents no order)",
        f"memory and times: profile {profile.name}, {profile.title}, of {profile.measured_on}: {profile.source}",
        f"memory for models: an instance's memory less {profile.reserve_mib:,.0f} MiB for its system, less "
        f"{percent(profile.reserve_share) if profile.reserve_share else 'nothing'} kept free",
        disk,
        f"a caller is {network.overhead_p50_ms:g} ms away (p99 {network.overhead_p99_ms:g} ms); S3 gives "
        f"{network.s3_megabytes_per_second:g} MB/s after a first byte in {network.s3_first_byte_p5_ms:g} to "
        f"{network.s3_first_byte_p95_ms:g} ms",
        (
            "loads wait for each other, and slow warm calls down, as in the trace, call by call"
            if workload.requests is not None
            else "loads wait for each other in the busiest hour as an M/G/c queue; they do not slow warm calls down"
        ),
        "a cold call is one that waits for a load, its own or, from a trace, a running one; the percentile of a class "
        "with less than one call in 10,000 does not count. Deployments, scaling and lost instances cause further cold "
        "calls",
        *cost.notes,
        *(f"not in the cost: {what}" for what in cost.left_out),
    )
