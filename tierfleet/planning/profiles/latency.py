"""How long calls take: warm ones, those whose model is on disk, and cold ones that fetch it from S3.

The model, call by call:
    warm = overhead + predict
    disk = warm + wait for a load + read from disk + load
    cold = warm + wait for a load + S3's first byte + fetch + extract + load
A cold call is one of a model that is loaded, which need not be of the size of the called models.
From a trace, `load_events` says how long each load takes with its wait, and which calls wait for a load that runs
already. From rates, `load_queue` says how long loads wait for each other; a wait that happens is taken as exponential.
Distributions are evaluated on fixed low-discrepancy points: the same input gives the same output.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.errors import InputError
from tierfleet.planning.cache.load_events import LoadEvents, LoadSteps
from tierfleet.planning.profiles.draws import (
    FETCH,
    FIRST_BYTE,
    OVERHEAD,
    POINTS,
    PREDICT,
    WAIT,
    Z95,
    Z99,
    lognormal,
    lognormal_between,
    normal,
    sampled,
    uniform,
)
from tierfleet.planning.profiles.load_queue import LoadWait, load_wait
from tierfleet.planning.profiles.profile import Profile

Array = NDArray[np.float64]

# From a trace, what is drawn for fetches is in the waits already.
_RUNNING: Final = FETCH


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network between caller, container and S3. Milliseconds, and MB (10**6 bytes) a second.

    overhead: caller to container and back without the container's own time; an assumption: read OverheadLatency and
    your callers' network, and set it. s3_first_byte: "roughly 100-200 milliseconds", taken as the 5th and 95th
    percentile (docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html). s3_megabytes_per_second:
    one stream; its 95th percentile of slowness is s3_slowdown_p95 times longer (an assumption).
    disk_megabytes_per_second: a gp2 volume of up to 170 GiB, 128 MiB/s
    (docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html).
    """

    overhead_p50_ms: float = 5.0
    overhead_p99_ms: float = 20.0
    s3_first_byte_p5_ms: float = 100.0
    s3_first_byte_p95_ms: float = 200.0
    s3_megabytes_per_second: float = 75.0
    s3_slowdown_p95: float = 1.3
    disk_megabytes_per_second: float = 134.2


@dataclass(frozen=True)
class Shares:
    """Which part of the calls is warm, finds its model on disk, is cold, waits for a running load. Together 1.

    waiting: known from a trace only; from rates such calls count as warm.
    """

    warm: float
    disk: float
    cold: float
    waiting: float = 0.0

    def __post_init__(self) -> None:
        """Raises InputError."""
        parts = (self.warm, self.disk, self.cold, self.waiting)
        # What was subtracted from 1 may miss 0 by a rounding.
        if not all(-1e-9 <= part <= 1 + 1e-9 for part in parts) or not math.isclose(sum(parts), 1, abs_tol=1e-9):
            raise InputError(f"shares of calls are {parts}, each must be 0 to 1 and all together 1")


@dataclass(frozen=True)
class Latency:
    """Call times in seconds by class, each at equally likely points, and how the classes are mixed."""

    warm: Array
    disk: Array
    cold: Array
    shares: Shares
    load_wait: LoadWait
    waiting: Array

    @property
    def loads(self) -> tuple[tuple[Array, float], ...]:
        """Of the calls that wait for a load: the times of each class, and its share of all calls."""
        return (
            (self.disk, self.shares.disk),
            (self.cold, self.shares.cold),
            (self.waiting, self.shares.waiting),
        )

    def percentile(self, percent: float) -> float:
        """Seconds that `percent` (0 to 100) of all calls do not exceed."""
        parts = ((self.warm, self.shares.warm), *self.loads)
        times = np.concatenate([times for times, _ in parts])
        weights = np.concatenate([np.full(len(times), max(share, 0.0) / len(times)) for times, share in parts])
        order = np.argsort(times)
        reached = np.cumsum(weights[order])
        index = int(np.searchsorted(reached, percent / 100 - 1e-12))
        # The last points may have no weight: an absent class says nothing.
        return float(times[order][min(index, int(np.searchsorted(reached, reached[-1] - 1e-12)))])

    def outside(self, *, warm_seconds: float, cold_seconds: float) -> float:
        """Share of calls outside the SLA: above warm_seconds if warm, above cold_seconds if they wait for a load."""
        warm = self.shares.warm * float(np.mean(self.warm > warm_seconds))
        return warm + sum(share * float(np.mean(times > cold_seconds)) for times, share in self.loads)


def latency(
    profile: Profile,
    model_mb: Sequence[float] | Array,
    shares: Shares,
    *,
    vcpus: int,
    loads_per_second: float,
    network: Network | None = None,
    weights: Sequence[float] | Array | None = None,
    load_weights: Sequence[float] | Array | None = None,
) -> Latency:
    """Call times of one tier.

    model_mb: sizes of the model files; weights: how often each is called (equally, if left out). load_weights: how
    often each is loaded; as often as it is called, if left out. In a cache it is the rarely called that load.
    loads_per_second: models loaded on one instance, from disk or S3; vcpus: of one instance.
    Raises InputError for an empty or impossible size, weight or rate.
    """
    network = network or Network()
    warm = (_overhead(network) + _predict(profile, sampled(model_mb, weights))) / 1000
    sizes = sampled(model_mb, weights if load_weights is None else load_weights)
    answer = (_overhead(network) + _predict(profile, sizes)) / 1000
    load = np.maximum(_along(profile.load, sizes), 0.0)
    wait = load_wait(load, loads_per_second, profile.loads_at_once(vcpus))
    waiting = waiting_seconds(wait)
    first_byte = _first_byte_seconds(network)
    fetch = profile.artefact_mb_per_model_mb * sizes / network.s3_megabytes_per_second * _slowdown(network)
    extract = profile.extract_seconds_per_model_mb * sizes
    from_disk = answer + waiting + profile.file_mb_per_model_mb * sizes / network.disk_megabytes_per_second + load
    # A cold call writes what it extracts, so the page cache still holds it when it is loaded; but it is never
    # quicker than finding the model on disk.
    cold = answer + waiting + first_byte + fetch + extract + load
    return Latency(warm, from_disk, np.maximum(cold, from_disk), shares, wait, np.zeros(POINTS))


def load_steps(profile: Profile, model_mb: Array, *, vcpus: int, network: Network) -> LoadSteps:
    """How long each tenant's load takes on an instance with so many vCPUs, for `load_events.simulate_loads`."""
    return LoadSteps(
        load=np.maximum(_along(profile.load, model_mb), 0.0),
        from_disk=profile.file_mb_per_model_mb * model_mb / network.disk_megabytes_per_second,
        fetch=profile.artefact_mb_per_model_mb * model_mb / network.s3_megabytes_per_second,
        extract=profile.extract_seconds_per_model_mb * model_mb,
        loads_at_once=profile.loads_at_once(vcpus),
        first_byte=_first_byte_seconds(network),
        slowdown=_slowdown(network),
    )


def latency_of_events(
    profile: Profile,
    model_mb: Array,
    events: LoadEvents,
    *,
    vcpus: int,
    network: Network,
    weights: Array | None = None,
) -> Latency:
    """Call times of one tier from what its calls met in a trace; arguments as in `latency`.

    A load that runs takes a processor: where it leaves less than one for each, a call takes as much longer.
    """
    sizes = sampled(model_mb, weights)
    overhead, predict = _overhead(network) / 1000, _predict(profile, sizes) / 1000
    warm = overhead + predict * _slowed(events.beside, vcpus)
    shares = events.shares
    at = uniform()[:, WAIT]
    answer = overhead + predict
    return Latency(
        warm,
        answer + events.disk(at),
        answer + events.cold(at),
        Shares(shares.warm, shares.disk, shares.cold, shares.waiting),
        LoadWait(events.busy, 1.0, 0.0),
        answer + events.waiting(at),
    )


def _slowed(beside: Array, vcpus: int) -> Array:
    """How many times as long a prediction takes, by the loads that run on its instance (shares of 0, 1, 2, ...)."""
    running = np.searchsorted(np.cumsum(beside), uniform()[:, _RUNNING] * (1 - 1e-12), side="right")
    slowed: Array = np.maximum((np.minimum(running, len(beside) - 1) + 1) / vcpus, 1.0)
    return slowed


def _first_byte_seconds(network: Network) -> Array:
    return lognormal(FIRST_BYTE, *lognormal_between(network.s3_first_byte_p5_ms, network.s3_first_byte_p95_ms)) / 1000


def _slowdown(network: Network) -> Array:
    return lognormal(FETCH, 1.0, math.log(network.s3_slowdown_p95) / Z95)


def _overhead(network: Network) -> Array:
    sigma = math.log(network.overhead_p99_ms / network.overhead_p50_ms) / Z99
    return lognormal(OVERHEAD, network.overhead_p50_ms, sigma)


def _predict(profile: Profile, sizes: Array) -> Array:
    """Milliseconds: through the measured 50th, 95th and 99th percentile, lognormal between and beyond them."""
    z = normal()[:, PREDICT]
    p50, p95, p99 = (
        np.maximum(_along([(mb, getattr(times, name)) for mb, times in profile.predict], sizes), 1e-6)
        for name in ("p50", "p95", "p99")
    )
    body, tail = np.log(p95 / p50) / Z95, np.log(p99 / p95) / (Z99 - Z95)
    return p50 * np.exp(body * np.minimum(z, Z95) + tail * np.maximum(z - Z95, 0))


def _along(points: Sequence[tuple[float, float]], at: Array) -> Array:
    """`profiles.interpolate` for many sizes at once."""
    if len(points) == 1:
        return np.full(len(at), points[0][1])
    x, y = (np.array(values) for values in zip(*points, strict=True))
    right = np.clip(np.searchsorted(x, at), 1, len(x) - 1)
    slope = (y[right] - y[right - 1]) / (x[right] - x[right - 1])
    line: Array = y[right - 1] + slope * (at - x[right - 1])
    return line


def waiting_seconds(wait: LoadWait) -> Array:
    """Seconds: no wait with probability 1 - p, else exponentially distributed."""
    if wait.probability == 0:
        return np.zeros(POINTS)
    if math.isinf(wait.mean_seconds_if_waiting):
        return np.full(POINTS, np.inf)
    draws = uniform()[:, WAIT]
    return np.where(
        draws < 1 - wait.probability,
        0.0,
        -np.log(np.minimum(1 - draws, wait.probability) / wait.probability) * wait.mean_seconds_if_waiting,
    )
