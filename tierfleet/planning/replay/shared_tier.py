"""A shared tier serves its part of a trace: the caches call by call, the instance count minute by minute."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.config import MultiModelTier
from tierfleet.instance_types import describe
from tierfleet.planning.cache.load_events import LoadEvents, LoadSimulation
from tierfleet.planning.cache.lru import CacheFleet
from tierfleet.planning.profiles.latency import Network, load_steps
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.replay.scaling import Scaler, moments
from tierfleet.planning.search.fleet_model import DISK_SHARE_FOR_MODELS, MIB_PER_MB
from tierfleet.planning.traffic.requests import Progress, Requests

Array = NDArray[np.float64]

_QUARTER_MINUTES: Final = 15


@dataclass(frozen=True, kw_only=True)
class ServedTier:
    """What a shared tier made of its calls."""

    events: LoadEvents
    counts: tuple[tuple[int, int], ...]
    """(minute since 1970, instances in service from then on)."""
    calls_by_minute: NDArray[np.int64]
    """From `first_minute` on, warm-ups included."""
    first_minute: int
    never_fit: NDArray[np.bool_]
    """One a tenant: the model is bigger than an instance's memory."""


def serve(
    requests: Requests,
    model_mb: Array,
    tier: MultiModelTier,
    profile: Profile,
    *,
    network: Network,
    late_after: Array,
    counted_from_seconds: float,
    progress: Progress | None = None,
) -> ServedTier:
    """Serve a trace of the tier's tenants on instances that begin empty.

    late_after: seconds of waiting, by tenant, above which a call counts as late. A tenant's calls go to one instance;
    when instances come or go, only as many tenants move as must. Warm-ups of the file are served and not counted.
    """
    about, most = describe(tier.instance_type), tier.most_instances
    memory_mib = profile.model_memory_mib(about.memory_gib)
    resident = np.array([profile.resident_mib(size) for size in model_mb.tolist()])
    packed = np.array([profile.artefact_mb(size) for size in model_mb.tolist()])
    steps = load_steps(profile, model_mb, vcpus=about.vcpus, network=network)
    served = _with_warm_ups(requests, tier, steps.load, about.vcpus)
    simulation = LoadSimulation(
        served,
        resident,
        CacheFleet(
            memory_mib=max(memory_mib, 1e-6),
            disk_mib=(tier.volume_size_in_gb or 0) * 1024 * DISK_SHARE_FOR_MODELS,
            instances=most,
        ),
        steps,
        on_disk_mib=(model_mb + packed) * MIB_PER_MB,
        late_after=late_after,
        counted_from_seconds=counted_from_seconds,
    )
    first, last = int(served.seconds[0] // 60), int(served.seconds[-1] // 60)
    edges = np.searchsorted(served.seconds, 60.0 * np.arange(first, last + 2))
    scaler = Scaler.at_start(tier, first, last)
    homes = _Homes(len(requests.tenants), most)
    counts, owners = [(first, scaler.in_service)], homes.of(scaler.in_service)
    begin, unloads = 0, 0
    for number in range(last - first + 1):
        end = int(edges[number + 1])
        running, minute = scaler.in_service, first + number
        scaler.minute(minute, end - int(edges[number]))
        whole_quarter = tier.scale_on_cache is not None and (minute + 1) % _QUARTER_MINUTES == 0
        if whole_quarter or scaler.in_service != running or minute == last:
            simulation.serve(begin, end, owners, progress)
            begin = end
        if whole_quarter:
            scaler.quarter(minute, simulation.unloads - unloads)
            unloads = simulation.unloads
        if scaler.in_service != running:
            for instance in range(running, scaler.in_service):
                # The disk of an instance goes with it: a new one begins without a model.
                simulation.empty_instance(instance)
            owners = homes.of(scaler.in_service)
            counts.append((minute + 1, scaler.in_service))
    return ServedTier(
        events=simulation.events(),
        counts=tuple(counts),
        calls_by_minute=np.diff(edges),
        first_minute=first,
        never_fit=resident > memory_mib,
    )


class _Homes:
    """Which instance a tenant's calls go to: rendezvous hashing, so that only those move that must."""

    def __init__(self, tenants: int, most: int) -> None:
        self._scores = np.random.default_rng(0).random((tenants, most), np.float32)

    def of(self, instances: int) -> NDArray[np.int16]:
        homes: NDArray[np.int16] = self._scores[:, :instances].argmax(axis=1).astype(np.int16)
        return homes


def _with_warm_ups(requests: Requests, tier: MultiModelTier, load_seconds: Array, vcpus: int) -> Requests:
    """The trace with the loads of the file's warm-ups, each at its moment; their tenant is written as -1 - index."""
    warm_up = tier.warm_up
    if warm_up is None:
        return requests
    index = {name: number for number, name in enumerate(requests.tenants)}
    listed = np.array([index[name] for name in warm_up.tenants if name in index], np.int32)
    if not len(listed):
        return requests
    # So many loads are under way at once, and the next begins when one ends.
    at_once = warm_up.concurrency or vcpus * tier.instances.initial
    later = np.concatenate([[0.0], np.cumsum(load_seconds[listed])[:-1] / at_once])
    in_time = later < warm_up.deadline_seconds
    first, last = (datetime.fromtimestamp(float(requests.seconds[at]), UTC) for at in (0, -1))
    fires = [moment.timestamp() for moment in moments(warm_up.schedule, warm_up.timezone, first, last)]
    if not fires:
        return requests
    seconds = np.concatenate([requests.seconds, *(moment + later[in_time] for moment in fires)])
    tenant = np.concatenate([requests.tenant, *([-1 - listed[in_time]] * len(fires))])
    order = np.argsort(seconds, kind="stable")
    order = order[seconds[order] <= requests.seconds[-1]]
    return replace(requests, tenant=tenant[order], seconds=seconds[order])
