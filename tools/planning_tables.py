"""make planning-tables: compute the tables of docs/planning.md and docs/planning-model.md, and write them there.

A test of `make test-long` compares the pages with the tables (two minutes).
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from tierfleet.config import load
from tierfleet.cost.prices import load_prices
from tierfleet.planning.cache.bounds import belady
from tierfleet.planning.cache.lru import instance_by_hash
from tierfleet.planning.cache.miss_ratio_curve import MissRatioCurve, miss_ratio_curve
from tierfleet.planning.planner import make_plan
from tierfleet.planning.profiles.profile_files import load_profiles
from tierfleet.planning.request import PlanRequest
from tierfleet.planning.search.fleet_option import Comparison
from tierfleet.planning.search.requirements import requirements_of
from tierfleet.planning.traffic.sessions import INDEPENDENT, Sessions
from tierfleet.planning.traffic.shapes import SHAPES, Shape
from tierfleet.planning.traffic.synthesize import synthesize, write_trace
from tierfleet.planning.traffic.trace import read_trace
from tierfleet.planning.traffic.workload import filling_days, workload_from_trace
from tierfleet.text import dollars, gibibytes, milliseconds

ROOT: Final = Path(__file__).resolve().parent.parent
CAPACITIES: Final = (100, 500, 700, 1000, 2000)
PUBLISHED: Final = {100: 42, 500: 80, 700: 91}
HIT_RATIOS: Final = (0.6, 0.8, 0.91)
CONTAINERS: Final = ("stock", "booster", "tierfleet")
DAYS, FILLED_DAYS, SEED = 30, 10, 1


def main() -> int:
    """Write the tables; with --check only compare: the exit code is 1 if a page is stale."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale = [page for page, lines in tables().items() if not _written(page, lines, check=check)]
    for page in stale:
        print(f"{page} is stale: make planning-tables")
    return int(bool(stale))


def tables() -> dict[str, list[str]]:
    """The lines between the markers, by page."""
    return {"docs/planning-model.md": list(curve_lines()), "docs/planning.md": list(container_lines())}


def _written(page: str, lines: list[str], *, check: bool) -> bool:
    """Whether the page has these lines between its markers, once this has run."""
    file, begin, end = ROOT / page, "<!-- tables: make planning-tables -->\n", "<!-- end of tables -->"
    text = file.read_text(encoding="utf-8")
    head, opened, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not opened or not closed:
        raise SystemExit(f"{page} has no markers {begin.strip()} and {end}")
    new = f"{head}{begin}\n{chr(10).join(lines)}\n\n{end}{tail}"
    if not check:
        file.write_text(new, encoding="utf-8")
    return new == text or not check


def curve_lines() -> Iterator[str]:
    """Hit ratios of the churn fleet's traffic, in percent, next to the published ones."""
    churn = SHAPES["churn"].without_rhythm()
    yield _row("Capacity in models", {count: f"{count:,}" for count in CAPACITIES})
    yield "|---" * (len(CAPACITIES) + 1) + "|"
    yield _row("**published**", {count: str(PUBLISHED.get(count, "")) for count in CAPACITIES})
    curve = _curve(churn, INDEPENDENT)
    requests, start = curve.requests, curve.counted_from
    yield _row("LRU, independent calls; Che from rates gives the same", _lru(curve))
    yield _row("Belady", {count: _percent(belady(requests, count, counted_from=start)) for count in CAPACITIES})
    yield _row("LRU, sessions of 3 calls, mean gap 240 s", _lru(_curve(churn, Sessions(3.0, 240.0))))
    yield _row("LRU, sessions of 10 calls, mean gap 125 s", _lru(_curve(churn, Sessions(10.0, 125.0))))
    yield _row("LRU, 2 instances of that capacity, affinity by hash", _lru(_curve(churn, INDEPENDENT, instances=2)))


def _curve(shape: Shape, sessions: Sessions, instances: int = 1) -> MissRatioCurve:
    requests = synthesize(shape, days=DAYS, seed=SEED, sessions=sessions)
    return miss_ratio_curve(
        requests,
        np.ones(len(requests.tenants)),
        counted_from_seconds=float(requests.seconds[0]) + FILLED_DAYS * 86_400,
        instance_of=instance_by_hash(requests.tenants, instances),
    )


def _lru(curve: MissRatioCurve) -> dict[int, str]:
    return {count: _percent(curve.hit_ratio(float(count))) for count in CAPACITIES}


def _percent(ratio: float) -> str:
    return "100" if ratio > 0.9995 else f"{100 * ratio:.1f}"


def _row(name: str, cells: Mapping[int, str]) -> str:
    return f"| {name} | {' | '.join(cells[count] for count in CAPACITIES)} |"


def container_lines() -> Iterator[str]:
    """The cheapest fleets of the churn fleet by required hit ratio and container."""
    config, profiles = load(ROOT / "config/churn-prod.toml"), load_profiles()
    with tempfile.TemporaryDirectory(prefix="tierfleet-") as folder:
        source = Path(folder) / "churn.parquet"
        write_trace(SHAPES["churn"], source, days=DAYS, seed=SEED)
        trace = read_trace(str(source), Path(folder))
        sizes = trace.requests.model_bytes / 1e6
        days = trace.requests.duration_seconds / 86_400
        workload = workload_from_trace(trace.requests, sizes, skip_days=filling_days(days))
        by_ratio: dict[float, dict[str, Comparison]] = {}
        for ratio in HIT_RATIOS:
            required = requirements_of(
                config, min_hit_ratio=ratio, usd=3000.0, warm_p95_seconds=0.3, cold_p95_seconds=3.0
            )
            plan, _ = make_plan(
                PlanRequest(
                    config=config,
                    workload=workload,
                    source="churn.parquet",
                    days=days,
                    requirements=required,
                    prices=load_prices(),
                    profiles=profiles,
                    profile="tierfleet",
                )
            )
            by_ratio[ratio] = {container.name: container for container in plan.search.containers}
    yield "| Hit ratio | stock | booster | tierfleet (flat forests) |"
    yield "|---|---|---|---|"
    for ratio, containers in by_ratio.items():
        yield f"| {100 * ratio:.0f} % | {' | '.join(_cheapest(containers[name]) for name in CONTAINERS)} |"
    shown = [_option_times(by_ratio[HIT_RATIOS[0]][name]) for name in CONTAINERS]
    yield f"| warm p95 / cold p95 | {' | '.join(shown)} |"
    memory = [gibibytes(4000 * profiles[name].resident_mib(float(sizes.mean()))) for name in CONTAINERS]
    yield f"| 4,000 models in memory | {' | '.join(memory)} |"


def _cheapest(container: Comparison) -> str:
    best = container.best
    if best is None:
        missed = [failure.split(",")[0] for failure in container.nearest.failures] if container.nearest else []
        return f"none{': ' if missed else ''}{'; '.join(missed)}"
    return f"{best.name}, {dollars(best.usd)} ({_percent(best.hit_ratio)} %)"


def _option_times(container: Comparison) -> str:
    option = container.best or container.nearest
    if option is None:
        return ""
    warm, cold = option.warm_p95_seconds, option.cold_p95_seconds
    return " / ".join("none" if seconds is None else milliseconds(seconds) for seconds in (warm, cold))


if __name__ == "__main__":
    sys.exit(main())
