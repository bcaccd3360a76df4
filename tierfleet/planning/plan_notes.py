"""What a reader of a plan must know: notices about this run, and the assumptions every figure rests on."""

from collections.abc import Sequence

from tierfleet.config import FleetConfig
from tierfleet.cost.monthly_cost import FleetCost
from tierfleet.cost.price import PriceSource
from tierfleet.planning.profiles.latency import Network
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.request import other_container
from tierfleet.planning.search.fleet_model import DISK_SHARE_FOR_MODELS, FleetModel
from tierfleet.planning.search.instance_need import beyond_max
from tierfleet.planning.search.plan import FleetOption
from tierfleet.planning.search.tail_cache import PLACEMENTS
from tierfleet.planning.traffic.workload import Workload
from tierfleet.text import duration, percent

# A measured capacity that differs by more than this share from the profile's is worth a word.
_MEASURED_APART = 0.15


def notices(
    config: FleetConfig, model: FleetModel, shown: FleetOption, without_price: Sequence[str]
) -> tuple[str, ...]:
    """About this fleet and this run."""
    tail = config.multi_model_tiers[config.default_tier]
    found = []
    if without_price:
        some = ", ".join(without_price[:3])
        found.append(
            f"{len(without_price)} instance types offered in {config.region} were not considered, since the price "
            f"table has no price of them ({some}, ...): tierfleet prices refresh --region {config.region}"
        )
    if tail.models_per_instance is not None and other_container(config, model.profile) is None:
        today = model.option(tail.instance_type, tail.instances.min, frozenset(shown.dedicated))
        apart = today.models_per_instance / tail.models_per_instance - 1
        if abs(apart) > _MEASURED_APART:
            found.append(
                f"the file says {tail.models_per_instance} models an instance of {tail.instance_type}, the profile "
                f"{model.profile.name} gives {today.models_per_instance}: if the file's number was measured, "
                "calibrate the profile with your models (tierfleet plan calibrate)"
            )
    found += [f"{text}: raise instances.max" for text in beyond_max(model, shown)]
    tenants = len(model.tail(frozenset(shown.dedicated)).workload.tenants)
    if model.workload.requests is None and tenants > 1:
        found.append(
            f"rates hide bursts: if all {tenants:,} tenants of the shared tier call at the same moment and no model is "
            f"in memory, the last call waits up to {duration(model.burst_seconds(shown))} (an upper bound); a trace "
            "shows what your bursts do"
        )
    if tail.scaling.schedules:
        found.append("the bounds that scaling.schedules set by the clock are priced, but not planned")
    if tail.instance_type != shown.instance_type:
        found.append(
            f"requests a second for {shown.instance_type} follow from its vCPUs, not from a load test; and a comment "
            "beside models_per_instance may be about the old type"
        )
    elif tail.instances.initial < shown.instances:
        found.append("raising instances.initial updates the endpoint, which empties its cache once")
    return tuple(found)


def assumptions(
    profile: Profile, network: Network, workload: Workload, cost: FleetCost, config: FleetConfig
) -> tuple[str, ...]:
    """What the figures rest on."""
    exact = "exactly, request by request, by LRU" if workload.requests is not None else "by Che's approximation"
    volume = config.multi_model_tiers[config.default_tier].volume_size_in_gb
    disk = (
        f"the volume holds models in {percent(DISK_SHARE_FOR_MODELS)} of its {volume} GB, packed and unpacked"
        if volume
        else "volume_size_in_gb is not set, so every load counts as a fetch from S3"
    )
    return (
        f"hit ratios: {exact}; every model lives on one instance (SageMaker sends a model's calls to one while "
        f"it is not busy; which one is not documented, so {PLACEMENTS} placements at random are looked at, whatever "
        "the tenants' names, and the worst is planned for), and every instance evicts the least recently used model "
        "(AWS documents no order)",
        f"memory and times: profile {profile.name}, {profile.title}, of {profile.measured_on}: {profile.source}",
        f"memory for models: what is left of an instance after {profile.reserve_mib:,.0f} MiB for its system and "
        f"{percent(profile.reserve_share) if profile.reserve_share else 'nothing'} kept free",
        disk,
        f"a caller is {network.overhead_p50_ms:g} ms away (p99 {network.overhead_p99_ms:g} ms); S3 gives "
        f"{network.s3_megabytes_per_second:g} MB/s after a first byte in {network.s3_first_byte_p5_ms:g} to "
        f"{network.s3_first_byte_p95_ms:g} ms",
        (
            "loads wait for each other as in the trace, call by call"
            if workload.requests is not None
            else "loads wait for each other in the busiest hour as an M/G/c queue"
        )
        + "; that loads slow warm calls down is not in it",
        "cold is every call that waits for a load, its own or, from a trace, one that runs already; a class of less "
        "than one call in 10,000 is not judged. Deployments, scaling and lost instances bring further cold calls",
        *cost.notes,
        *(f"not in the cost: {what}" for what in cost.left_out),
    )


def price_sources(cost: FleetCost) -> tuple[str, ...]:
    """Where the prices come from, with their dates, the newest first."""
    names: dict[tuple[PriceSource, bool], list[str]] = {}
    for price in cost.prices:
        names.setdefault((price.source, price.unchecked), []).append(price.name)
    return tuple(
        f"{source.as_of}: {', '.join(sorted(group))} ({source.text}{'; unchecked' if unchecked else ''})"
        for (source, unchecked), group in sorted(names.items(), key=lambda item: item[0][0].as_of, reverse=True)
    )
