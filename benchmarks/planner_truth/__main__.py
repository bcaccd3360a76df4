"""Whether a plan tells the truth: its figures against an independent simulation of the same calls, event by event.

    python -m benchmarks.planner_truth [--only launch] [--json]
    python -m benchmarks.planner_truth --emulator [--only launch] [--json]     # real processes, three fleets

For each fleet of `fleets` two sizes are looked at: what the planner's search chooses (or comes nearest with), and
another, mostly too small. The planner says hit ratio, share outside the SLA and cold p95; `simulation`, plain Python
with a heap, serves every call on the same placement with draws of its own. Exits 1 if a bar is missed.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.planner_truth import emulator
from benchmarks.planner_truth.fleets import Case, cases
from benchmarks.planner_truth.plans import WARM_P95_SECONDS, planned
from benchmarks.planner_truth.truth import Figures, truth
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.fleet_option import FleetOption
from tierfleet.planning.search.requirements import MIN_EVALUATED_SHARE
from tierfleet.planning.search.service_levels import latencies

MOST_HIT_RATIO: Final = 0.01
MOST_OUTSIDE: Final = 0.02
MOST_COLD_P95: Final = 0.15


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fleet, as planned and as simulated."""

    case: str
    fleet: str
    calls: int
    loads: int
    hit_ratio: tuple[float, float]
    warm_share: tuple[float, float]
    outside_share: tuple[float, float]
    cold_p95_seconds: tuple[float | None, float | None]

    @property
    def misses(self) -> list[str]:
        """Bars that this row misses."""
        wrong = []
        for name, bar in (
            ("hit_ratio", MOST_HIT_RATIO),
            ("warm_share", MOST_HIT_RATIO),
            ("outside_share", MOST_OUTSIDE),
        ):
            planned, simulated = getattr(self, name)
            if abs(planned - simulated) > bar:
                wrong.append(f"{name} {planned:.2%}, simulated {simulated:.2%}")
        planned_p95, simulated_p95 = self.cold_p95_seconds
        if planned_p95 is None or simulated_p95 is None:
            if self.loads > MIN_EVALUATED_SHARE * self.calls:
                wrong.append("cold p95 of the one is missing")
        elif abs(planned_p95 / simulated_p95 - 1) > MOST_COLD_P95:
            wrong.append(f"cold p95 {planned_p95:.3g} s, simulated {simulated_p95:.3g} s")
        return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--emulator", action="store_true", help="compare with endpoints of the local emulator instead")
    arguments = parser.parse_args()
    if arguments.emulator:
        sys.exit(emulator.main(arguments.only, as_json=arguments.json))
    rows, began = [], time.perf_counter()
    for case in cases():
        if arguments.only is None or arguments.only in case.name:
            rows += list(compared(case))
    missed = [f"{row.case}, {row.fleet}: {text}" for row in rows for text in row.misses]
    if arguments.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "missed": missed}))
    else:
        print(table(rows))
        print(f"\n{len(rows)} fleets in {time.perf_counter() - began:.0f} s")
        for text in missed:
            print(f"MISSED: {text}")
    sys.exit(1 if missed else 0)


def compared(case: Case) -> Iterator[Row]:
    """What the search chooses, then the other fleet."""
    model, options = planned(case)
    for option in options:
        yield _row(case, model, option)


def _row(case: Case, model: FleetModel, option: FleetOption) -> Row:
    times = latencies(model, option, "whale")[0]
    simulated = _simulated(case, model, option)
    outside = times.outside_share
    return Row(
        case=case.name,
        fleet=option.name,
        calls=len(case.seconds),
        loads=simulated.loads,
        hit_ratio=(option.hit_ratio, simulated.hit_ratio),
        warm_share=(times.warm.share, simulated.warm_share),
        outside_share=(0.0 if outside is None else outside, simulated.outside_share),
        cold_p95_seconds=(None if times.loads is None else times.loads.p95, simulated.cold_p95_seconds),
    )


def _simulated(case: Case, model: FleetModel, option: FleetOption) -> Figures:
    """Of the shared tier alone, on the placement that the option was looked at in."""
    tail = model.tail(frozenset(option.dedicated))
    shared = tail.workload.requests
    if shared is None:
        raise ValueError(f"{case.name}: no tenant is left on the shared tier")
    about = option.instance_type
    volume_gib = model.config.multi_model_tiers[model.config.default_tier].volume_size_in_gb or 0
    return truth(
        list(zip(shared.tenant.tolist(), shared.seconds.tolist(), strict=True)),
        tail.instance_of(option.instances, option.placement).tolist(),
        tail.workload.model_mb.tolist(),
        model.profile,
        memory_mib=model.profile.model_memory_mib(about.memory_gib),
        disk_mib=volume_gib * 1024 * 0.9,
        vcpus=about.vcpus,
        counted_from=tail.workload.counted_from_seconds,
        warm_seconds=WARM_P95_SECONDS,
        cold_seconds=case.cold_p95_seconds,
        network=model.network,
    )


def table(rows: list[Row]) -> str:
    """For docs/cache.md: planned / simulated."""
    lines = [
        "| traffic | fleet | loads | hit ratio, % | in memory, % | outside the SLA, % | cold p95, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = [
            f"{100 * planned:.1f} / {100 * simulated:.1f}"
            for planned, simulated in (row.hit_ratio, row.warm_share, row.outside_share)
        ]
        p95 = " / ".join("none" if seconds is None else f"{seconds:.3g}" for seconds in row.cold_p95_seconds)
        lines.append(f"| {row.case} | {row.fleet} | {row.loads:,} | {' | '.join(shares)} | {p95} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
