"""The parts of a plan that only tell: who, from where, how often, for how much, and what the figures rest on."""

from collections.abc import Mapping, Sequence

import numpy as np

from tierfleet.config import FleetConfig
from tierfleet.cost.monthly_cost import FleetCost
from tierfleet.planning.change import Target, warm_up_list
from tierfleet.planning.profiles.latency import Network
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.request import Question, other_container
from tierfleet.planning.search.fleet_model import DISK_SHARE_FOR_MODELS, FleetModel, beyond_max
from tierfleet.planning.search.plan import Decision, FleetOption, Move
from tierfleet.planning.search.proposed import dedicated_tenants
from tierfleet.planning.search.tiering import TenantTier
from tierfleet.planning.traffic.workload import Workload
from tierfleet.text import dollars, percent

# How many of those that share an endpoint are told about.
_NEARLY_DEDICATED = 3
_DAYS_PER_MONTH = 730 / 24
# A measured capacity that differs by more than this share from the profile's is worth a word.
_MEASURED_APART = 0.15


def target_of(question: Question, model: FleetModel, chosen: FleetOption) -> Target:
    """What the fleet file is to say. A capacity that was measured for the type stays."""
    config = question.config
    tail = config.multi_model_tiers[config.default_tier]
    measured = (
        tail.instance_type == chosen.instance_type
        and tail.models_per_instance is not None
        and other_container(config, model.profile) is None
    )
    each = tail.models_per_instance if measured and tail.models_per_instance else chosen.models_per_instance
    workload = model.tail(frozenset(chosen.dedicated)).workload
    size = float(workload.model_mb.mean()) if len(workload.tenants) else 1.0
    profile = model.profile
    seconds = profile.load_seconds(size) + profile.extract_seconds(size)
    seconds += profile.artefact_mb(size) / question.network.s3_megabytes_per_second
    warm_up = warm_up_list(
        tail,
        instance_type=chosen.instance_type,
        instances=chosen.instances,
        models_per_instance=each,
        calls_per_day=dict(zip(workload.tenants, workload.calls_per_day.tolist(), strict=True)),
        seconds_a_load=seconds,
    )
    return Target(
        instance_type=chosen.instance_type,
        instances=chosen.instances,
        models_per_instance=None if measured else chosen.models_per_instance,
        dedicated=frozenset(chosen.dedicated),
        warm_up=warm_up,
        pins={},
    )


def decisions(
    workload: Workload,
    assigned: Mapping[str, TenantTier],
    dedicated: frozenset[str],
    cost: FleetCost,
    joins: str,
    tail_name: str,
) -> tuple[Decision, ...]:
    """Everybody with an endpoint, then the biggest of the others; by calls."""
    places = {tenant: (tier, usd) for (tier, tenant), usd in cost.by_place().items() if tenant}
    calls = dict(zip(workload.tenants, workload.calls_per_day.tolist(), strict=True))
    # Of equals the last one first: it was judged against the others.
    by_calls = sorted(workload.tenants, key=lambda name: calls[name])[::-1]
    shared = [name for name in by_calls if name not in dedicated][:_NEARLY_DEDICATED]
    found = []
    for name in [*(name for name in by_calls if name in dedicated), *shared]:
        tier, usd = places.get(name, (tail_name, None))
        reason = assigned[name].reason
        if usd is not None and calls[name]:
            reason += f"; {dollars(usd)} a month, {dollars(usd / calls[name] / _DAYS_PER_MONTH * 1e6)} a million calls"
        found.append(Decision(name, tier or joins, assigned[name].share, calls[name], reason, usd))
    return tuple(found)


def moves(
    config: FleetConfig, assigned: Mapping[str, TenantTier], dedicated: frozenset[str], joins: str
) -> tuple[Move, ...]:
    """Promotions, then demotions, by name."""
    now = dedicated_tenants(config)
    promoted = [
        Move(name, config.default_tier, joins, assigned[name].reason) for name in sorted(dedicated - now.keys())
    ]
    demoted = [
        Move(name, now[name], config.default_tier, assigned[name].reason) for name in sorted(now.keys() - dedicated)
    ]
    return (*promoted, *demoted)


def hours_by_tier(
    workload: Workload, dedicated: frozenset[str], tail_name: str, joins: str
) -> dict[str, tuple[float, ...]]:
    """Mean calls a second in each hour of a day, UTC."""
    own = np.array([name in dedicated for name in workload.tenants], np.bool_)
    found = {}
    for name, chosen in ((tail_name, ~own), (joins, own)):
        if chosen.any():
            day = workload.calls_by_hour[chosen].sum(axis=0).reshape(7, 24).mean(axis=0) / 3600
            found[name] = tuple(day.tolist())
    return found


def cost_by_tier(cost: FleetCost) -> dict[str, float]:
    """US dollars a month, endpoints of a tier together."""
    found: dict[str, float] = {}
    for (tier, _), usd in cost.by_place().items():
        found[tier or "whole fleet"] = found.get(tier or "whole fleet", 0.0) + usd
    return found


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
        f"hit ratios: {exact}; every model lives on one instance, by a hash of its tenant (SageMaker sends a model's "
        "calls to one instance while that is not busy; which one is not documented), and every instance evicts the "
        "least recently used model (AWS documents no order)",
        f"memory and times: profile {profile.name}, {profile.title}, of {profile.measured_on}: {profile.source}",
        f"memory for models: what is left of an instance after {profile.reserve_mib:,.0f} MiB for its system and "
        f"{percent(profile.reserve_share) if profile.reserve_share else 'nothing'} kept free",
        disk,
        f"a caller is {network.overhead_p50_ms:g} ms away (p99 {network.overhead_p99_ms:g} ms); S3 gives "
        f"{network.s3_megabytes_per_second:g} MB/s after a first byte in {network.s3_first_byte_p5_ms:g} to "
        f"{network.s3_first_byte_p95_ms:g} ms",
        "loads wait for each other in the busiest hour as an M/G/c queue; that loads slow warm calls down is not in it",
        "cold is every call that waits for a load, from disk or S3; a class of less than one call in 10,000 is not "
        "judged. Deployments, scaling and lost instances bring further cold calls",
        *cost.notes,
        *(f"not in the cost: {what}" for what in cost.left_out),
    )


def price_sources(cost: FleetCost) -> tuple[str, ...]:
    """Where the prices come from, with their dates."""
    found: dict[str, list[str]] = {}
    sources = {price.source.name: price.source for price in cost.prices}
    for price in cost.prices:
        found.setdefault(price.source.name, []).append(price.name)
    return tuple(
        f"{sources[name].as_of}: {', '.join(sorted(names))} ({sources[name].text}"
        f"{'; verify' if sources[name].check else ''})"
        for name, names in sorted(found.items(), key=lambda item: sources[item[0]].as_of, reverse=True)
    )
