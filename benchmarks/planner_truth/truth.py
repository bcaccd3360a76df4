"""What the independent simulation says of one fleet: the figures of a plan, from calls one by one."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.planner_truth.simulation import Call, Machine, simulate
from tierfleet.planning.profiles.latency import Network
from tierfleet.planning.profiles.profile import Profile

_MIB: Final = 2**20
_MB: Final = 10**6
_Z95, _Z99 = 1.6448536269514722, 2.3263478740408408


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of the counted calls, as callers see them."""

    hit_ratio: float
    """Model in memory, or on its way there for another call."""
    warm_share: float
    """Model in memory."""
    outside_share: float
    """Slower than what is required of their class."""
    cold_p95_seconds: float | None
    """Of calls that wait for a load; None without any."""
    loads: int
    """Calls that waited for a load."""


def truth(
    calls: Sequence[tuple[int, float]],
    placement: Sequence[int],
    model_mb: Sequence[float],
    profile: Profile,
    *,
    memory_mib: float,
    disk_mib: float,
    vcpus: int,
    counted_from: float,
    warm_seconds: float,
    cold_seconds: float,
    network: Network,
    seed: int = 7,
) -> Figures:
    """Serve all calls (tenant, Unix seconds) and count those from `counted_from` on."""
    draw = random.Random(seed)  # noqa: S311
    disk_seconds = [profile.file_mb_per_model_mb * mb / network.disk_megabytes_per_second for mb in model_mb]
    load_seconds = [profile.load_seconds(mb) for mb in model_mb]

    def from_s3(tenant: int) -> float:
        low, high = network.s3_first_byte_p5_ms, network.s3_first_byte_p95_ms
        first_byte = _lognormal(draw, math.sqrt(low * high), math.log(high / low) / (2 * _Z95)) / 1000
        packed = profile.artefact_mb_per_model_mb * model_mb[tenant]
        slower = _lognormal(draw, 1.0, math.log(network.s3_slowdown_p95) / _Z95)
        whole = first_byte + packed / network.s3_megabytes_per_second * slower
        return max(whole + profile.extract_seconds(model_mb[tenant]), disk_seconds[tenant])

    machine = Machine(
        memory_bytes=int(memory_mib * _MIB),
        disk_bytes=int(disk_mib * _MIB),
        places=profile.loads_at_once(vcpus),
        load=load_seconds.__getitem__,
        from_disk=disk_seconds.__getitem__,
        from_s3=from_s3,
    )
    in_memory = [round(profile.resident_mib(mb) * _MIB) for mb in model_mb]
    on_disk = [round((mb + profile.artefact_mb(mb)) * _MB) for mb in model_mb]
    served = [
        call for call in simulate(calls, list(placement), machine, in_memory, on_disk) if call.seconds >= counted_from
    ]
    warm, loading, outside = 0, [], 0
    for call in served:
        seconds = _answer(draw, call, model_mb[call.tenant], profile, vcpus, network)
        if call.outcome == "warm":
            warm += 1
            outside += seconds > warm_seconds
        else:
            loading.append(call.wait_seconds + seconds)
            outside += loading[-1] > cold_seconds
    waiting = sum(call.outcome == "waiting" for call in served)
    return Figures(
        hit_ratio=(warm + waiting) / len(served),
        warm_share=warm / len(served),
        outside_share=outside / len(served),
        cold_p95_seconds=float(np.percentile(loading, 95)) if loading else None,
        loads=len(loading),
    )


def _answer(draw: random.Random, call: Call, model_mb: float, profile: Profile, vcpus: int, network: Network) -> float:
    """Seconds of a call whose model is loaded; a prediction shares the processors with loads that run."""
    spread = math.log(network.overhead_p99_ms / network.overhead_p50_ms) / _Z99
    times = profile.predict_ms(model_mb)
    at = draw.gauss(0, 1)
    body, tail = math.log(times.p95 / times.p50) / _Z95, math.log(times.p99 / times.p95) / (_Z99 - _Z95)
    predict = times.p50 * math.exp(body * min(at, _Z95) + tail * max(at - _Z95, 0))
    slower = max((call.loads_beside + 1) / vcpus, 1.0)
    return (_lognormal(draw, network.overhead_p50_ms, spread) + predict * slower) / 1000


def _lognormal(draw: random.Random, median: float, sigma: float) -> float:
    return median * math.exp(draw.gauss(0, sigma))
