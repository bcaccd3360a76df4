"""Traffic that planners get wrong: ten generated fleets, and two that are shaped like public traces.

Each is made by its own few lines of NumPy; the planner's `synthesize` is not used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Monday, 2 November 2026, 00:00 UTC.
MONDAY: Final = 1_793_577_600
DAY: Final = 86_400.0
HOUR: Final = 3600.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """Traffic, what is required for it, and a fleet to look at besides the one that the planner chooses."""

    name: str
    tenant: NDArray[np.int32]
    """One index a call, in time order."""
    seconds: Array
    """Unix seconds of each call."""
    model_mb: Array
    """MB of each tenant's model file."""
    small: tuple[str, int]
    """Instance type and count of another fleet, mostly too small."""
    profile: str = "stock"
    cold_p95_seconds: float = 15.0
    min_hit_ratio: float = 0.5


def cases() -> list[Case]:
    """In the order of the table; the same every time."""
    return [
        _nightly("nightly batch", within_seconds=2 * HOUR),
        _nightly("nightly batch within 20 s", within_seconds=20.0),
        _weekend(),
        _growth(),
        _launch(),
        _time_zones(),
        _tiny(),
        _two_gigabytes(),
        _whale_of_eight_gigabytes(),
        _everything_fits(),
        _timers(),
        _scans(),
    ]


def _case(name: str, tenant: Array | NDArray[np.int64], seconds: Array, model_mb: Array, **more: object) -> Case:
    order = np.argsort(seconds, kind="stable")
    return Case(
        name=name,
        tenant=np.asarray(tenant)[order].astype(np.int32),
        seconds=MONDAY + np.round(seconds[order], 3),
        model_mb=model_mb,
        **more,  # type: ignore[arg-type]
    )


def _zipf(count: int, exponent: float = 0.8) -> Array:
    weights = np.arange(1, count + 1) ** -exponent
    return np.asarray(weights / weights.sum())


def _drawn(random: np.random.Generator, calls: int, days: float, rate: Callable[[Array], Array]) -> Array:
    """Times of so many calls within the days, thinned to a rate of 0 to 1 at each second."""
    times: list[Array] = []
    while sum(map(len, times)) < calls:
        proposed = random.uniform(0, days * DAY, 2 * calls)
        times.append(proposed[random.random(len(proposed)) < rate(proposed)])
    return np.concatenate(times)[:calls]


def _nightly(name: str, within_seconds: float) -> Case:
    random = np.random.default_rng(21)
    tenants, days = 1200, 8
    tenant = np.concatenate([random.permutation(tenants) for _ in range(days)])
    day = np.repeat(np.arange(days), tenants)
    seconds = day * DAY + 2 * HOUR + random.uniform(0, within_seconds, len(tenant))
    return _case(name, tenant, seconds, np.full(tenants, 40.0), small=("ml.m5.large", 2))


def _weekend() -> Case:
    """Ten times as many calls on Saturday and Sunday."""
    random = np.random.default_rng(22)
    seconds = _drawn(random, 60_000, 14, lambda at: np.where(at // DAY % 7 >= 5, 1.0, 0.1))
    tenant = random.choice(400, len(seconds), p=_zipf(400))
    return _case("weekend", tenant, seconds, random.uniform(10, 80, 400), small=("ml.r5.large", 2))


def _growth() -> Case:
    """Four times the calls after four weeks, from tenants that joined on the way."""
    random = np.random.default_rng(23)
    seconds = _drawn(random, 60_000, 28, lambda at: 0.25 + 0.75 * at / (28 * DAY))
    joined = np.sort(random.uniform(-14, 24, 300)) * DAY
    random.shuffle(joined)
    tenant = random.choice(300, len(seconds), p=_zipf(300))
    here = joined[tenant] <= seconds
    return _case("growth", tenant[here], seconds[here], random.uniform(20, 60, 300), small=("ml.m5.xlarge", 2))


def _launch() -> Case:
    """From the tenth of 14 days on, a hundred new tenants; one makes nearly half of all calls."""
    random = np.random.default_rng(24)
    old = _drawn(random, 30_000, 14, np.ones_like)
    new = 10 * DAY + _drawn(random, 20_000, 4, np.ones_like)
    popularity = np.concatenate([[0.8], 0.2 * _zipf(99)])
    tenant = np.concatenate(
        [random.choice(200, len(old), p=_zipf(200)), 200 + random.choice(100, len(new), p=popularity)]
    )
    return _case("launch", tenant, np.concatenate([old, new]), np.full(300, 44.0), small=("ml.r5.large", 2))


def _time_zones() -> Case:
    """Three continents at work, one after the other."""
    random = np.random.default_rng(25)
    parts, tenants = [], []
    for zone in range(3):
        begins = 8 * zone * HOUR

        def at_work(at: Array, begins: float = begins) -> Array:
            return np.where((at - begins) % DAY < 9 * HOUR, 1.0, 0.03) * np.where(at // DAY % 7 >= 5, 0.1, 1.0)

        parts.append(_drawn(random, 20_000, 14, at_work))
        tenants.append(200 * zone + random.choice(200, 20_000, p=_zipf(200)))
    return _case(
        "time zones", np.concatenate(tenants), np.concatenate(parts), np.full(600, 44.0), small=("ml.r5.xlarge", 2)
    )


def _tiny() -> Case:
    random = np.random.default_rng(26)
    seconds = _drawn(random, 700, 14, np.ones_like)
    return _case("tiny", random.integers(0, 5, len(seconds)), seconds, np.full(5, 1.0), small=("ml.m5.large", 2))


def _two_gigabytes() -> Case:
    random = np.random.default_rng(27)
    seconds = _drawn(random, 20_000, 14, np.ones_like)
    tenant = random.choice(30, len(seconds), p=_zipf(30, 1.2))
    return _case(
        "models of 2 GB", tenant, seconds, np.full(30, 2000.0), small=("ml.r5.xlarge", 2), cold_p95_seconds=120.0
    )


def _whale_of_eight_gigabytes() -> Case:
    """One model of 8 GB among small ones; it is called three times an hour."""
    random = np.random.default_rng(28)
    small = _drawn(random, 40_000, 14, np.ones_like)
    big = _drawn(random, 1_000, 14, np.ones_like)
    tenant = np.concatenate([random.choice(200, len(small), p=_zipf(200)), np.full(len(big), 200)])
    sizes = np.append(np.full(200, 40.0), 8000.0)
    return _case(
        "one whale of 8 GB",
        tenant,
        np.concatenate([small, big]),
        sizes,
        small=("ml.r5.xlarge", 1),
        cold_p95_seconds=300.0,
        min_hit_ratio=0.8,
    )


def _everything_fits() -> Case:
    random = np.random.default_rng(29)
    seconds = _drawn(random, 60_000, 14, lambda at: 0.6 + 0.4 * np.sin(2 * np.pi * at / DAY))
    tenant = random.choice(60, len(seconds), p=_zipf(60))
    return _case("everything fits", tenant, seconds, np.full(60, 10.0), small=("ml.m5.large", 2), min_hit_ratio=0.99)


def _timers() -> Case:
    """As functions in a public cloud are called: Shahrad et al., Serverless in the Wild (USENIX ATC 2020).

    Half of the applications are called once an hour or less often, four fifths at most once a minute. Timers, of 5, 15
    or 60 minutes or a day, start at whole minutes and so at the same moments; the rest call at random, in bursts.
    """
    random = np.random.default_rng(30)
    days, parts, tenants = 4, [], []
    periods = random.choice([300.0, 900.0, HOUR, DAY], 250, p=[0.1, 0.2, 0.5, 0.2])
    for number, period in enumerate(periods):
        offset = 60 * random.integers(0, max(int(min(period, HOUR) // 300), 1)) * 5 % period
        ticks = np.arange(offset, days * DAY, period)
        parts.append(ticks + random.uniform(0, 2, len(ticks)))
        tenants.append(np.full(len(ticks), number))
    for number, an_hour in enumerate(random.lognormal(-0.5, 2.0, 550), len(periods)):
        sessions = random.uniform(0, days * DAY, random.poisson(min(an_hour, 60) * 24 * days / 4))
        calls = np.repeat(sessions, random.geometric(0.25, len(sessions)))
        parts.append(np.minimum(calls + random.exponential(30, len(calls)), days * DAY))
        tenants.append(np.full(len(calls), number))
    return _case(
        "timers and bursts, as public functions",
        np.concatenate(tenants),
        np.concatenate(parts),
        random.lognormal(3.5, 0.6, 800),
        small=("ml.m5.xlarge", 2),
    )


def _scans() -> Case:
    """As volumes of a public block trace are read: popular ones at random, and all of them in turn, twice a day."""
    random = np.random.default_rng(31)
    days, tenants = 7, 900
    popular = _drawn(random, 40_000, days, np.ones_like)
    scans = np.concatenate([begin * DAY / 2 + np.arange(tenants) * 20.0 for begin in range(2 * days)])
    tenant = np.concatenate(
        [random.choice(tenants, len(popular), p=_zipf(tenants, 1.1)), np.tile(np.arange(tenants), 2 * days)]
    )
    return _case(
        "scans, as public block traces",
        tenant,
        np.concatenate([popular, scans]),
        np.full(tenants, 44.0),
        small=("ml.r5.xlarge", 2),
    )
