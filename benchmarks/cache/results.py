"""What benchmarks/cache finds: the rows of its tables, and the bars."""

from collections.abc import Callable
from dataclasses import dataclass

MOST_POINTS = 2.0
# Of the metric against the instances' own counters; in points.
MOST_METRIC_POINTS = 0.01
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Measured:
    """One endpoint's run. Ratios and shares are 0 to 1, of the counted requests.

    models: what its memory is nominally worth. capacity_models: what a plain LRU cache would hold in it.
    simulated_*: by the exact simulation of the same requests. long_run_*: of many more of their kind.
    plain_lru_hit_ratio: the same requests, one cache of that capacity. predicted_*: by the planner, from rates.
    same_outcomes: hits, fetches and loaded models at the end are exactly the simulation's.
    """

    models: int
    instances: int
    burstiness: str
    injected: bool
    requests: int
    wrong: int
    seconds: float
    hit_ratio: float
    metric_hit_ratio: float
    s3_share: float
    simulated_hit_ratio: float
    simulated_s3_share: float
    plain_lru_hit_ratio: float
    predicted_hit_ratio: float
    predicted_s3_share: float
    long_run_hit_ratio: float
    long_run_s3_share: float
    capacity_models: float
    loaded_models: int
    memory_mib: float
    same_outcomes: bool

    @property
    def hit_ratio_without_luck(self) -> float:
        """Less by how much these requests hit more than many of their kind, in the exact simulation."""
        return self.hit_ratio - (self.simulated_hit_ratio - self.long_run_hit_ratio)

    @property
    def s3_share_without_luck(self) -> float:
        return self.s3_share - (self.simulated_s3_share - self.long_run_s3_share)

    @property
    def name(self) -> str:
        return f"{self.models:,} models, {self.instances} instance{'s' * (self.instances > 1)}, {self.burstiness}"

    def line(self) -> str:
        """Of the table under HEAD."""
        shares = (
            self.hit_ratio, self.metric_hit_ratio, self.simulated_hit_ratio, self.plain_lru_hit_ratio,
            self.hit_ratio_without_luck, self.predicted_hit_ratio,
            self.s3_share, self.simulated_s3_share, self.s3_share_without_luck, self.predicted_s3_share,
        )  # fmt: skip
        cells = "".join(f"{100 * share:9.1f}" for share in shares)
        kind = f"{self.models:>6,} {self.instances:>5}  {self.burstiness:<14}{'injected' if self.injected else '':<9}"
        return f"{kind}{cells}{self.loaded_models:>8,}{self.requests / self.seconds:>8.0f}/s"


_COLUMNS = ("hits %", "metric", "exact", "LRU", "no luck", "planner", "S3 %", "exact", "no luck", "planner")
HEAD = f"{'models':>6} {'inst.':>5}  {'requests':<23}{''.join(f'{c:>9}' for c in _COLUMNS)}{'loaded':>8}{'rate':>10}"


@dataclass(frozen=True)
class Latency:
    """Milliseconds, seen by the client, of requests one after the other on an endpoint that no other client uses."""

    injected: bool
    found: str
    requests: int
    percentiles: tuple[float, ...]

    def line(self) -> str:
        values = "".join(f"{value:>9.2f}" for value in self.percentiles)
        return f"{self.found + (', injected' if self.injected else ''):<26}{self.requests:>9}{values}"


@dataclass(frozen=True)
class Density:
    """How many models one instance of the stock stack held, and how long a cold call took."""

    budget_mib: float
    models: int
    cold_p50_milliseconds: float

    @property
    def models_per_gib(self) -> float:
        return 1024 * self.models / self.budget_mib


@dataclass(frozen=True)
class Bar:
    """`worst` is in points and of the run called `who`."""

    name: str
    limit: float
    worst: float
    who: str

    @property
    def met(self) -> bool:
        return abs(self.worst) <= self.limit

    def line(self) -> str:
        return (
            f"{'met   ' if self.met else 'MISSED'} {self.name}: {self.worst:+.2f} of {self.limit:g} points ({self.who})"
        )


_DIFFERENCES: dict[str, Callable[[Measured], float]] = {
    "hit ratio, measured - exact simulation": lambda row: row.hit_ratio - row.simulated_hit_ratio,
    "hit ratio, measured - textbook LRU": lambda row: row.hit_ratio - row.plain_lru_hit_ratio,
    "hit ratio, measured without luck - planner": lambda row: row.hit_ratio_without_luck - row.predicted_hit_ratio,
    "S3 share, measured without luck - planner": lambda row: row.s3_share_without_luck - row.predicted_s3_share,
}


def compared(rows: list[Measured]) -> list[Bar]:
    """The worst run of each kind."""
    bars = []
    for injected in (False, True):
        some = [row for row in rows if row.injected == injected]
        if not some:
            continue
        where = ", injected latencies" if injected else ""
        limits = {name: (MOST_POINTS, difference) for name, difference in _DIFFERENCES.items()}
        limits["ModelCacheHit in CloudWatch - counters"] = (
            MOST_METRIC_POINTS,
            lambda row: row.metric_hit_ratio - row.hit_ratio,
        )
        for name, (limit, difference) in limits.items():
            row = max(some, key=lambda row: abs(difference(row)))
            bars.append(Bar(name + where, limit, 100 * difference(row), row.name))
    return bars
