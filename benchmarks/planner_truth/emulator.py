"""Plans next to endpoints of the local emulator: real model servers, real models, InvokeEndpoint over HTTP.

Three of the fleets, scaled: every n-th tenant with its calls, models of 53 to 192 kB in the proportions of the fleet's,
and instances of the planned type and count whose memory holds the same share of the models. The planner gets the sizes
and the memory of these servers, and the same calls. What came before the counted calls is sent in short: each tenant
once, by its last use. The counted calls go over one connection, in order. Every answer is compared.
"""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Final

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from benchmarks.cache.fleet import ACCOUNT, MODELS_SHARE_OF_MEMORY, Stand, stand
from benchmarks.cache.models import Models, budget_bytes, train_and_measure, usable_bytes
from benchmarks.cache.simulation import FROM_S3, HIT, outcomes, shares
from benchmarks.cache.traffic import Client
from benchmarks.planner_truth.fleets import cases
from benchmarks.planner_truth.plans import planned
from tierfleet.instance_types import describe
from tierfleet.planning.cache.load_events import simulate_loads
from tierfleet.planning.cache.lru import CacheFleet
from tierfleet.planning.profiles.latency import Network, load_steps
from tierfleet.planning.profiles.profile_files import load_profiles
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.fleet_option import FleetOption
from tierfleet.planning.search.tail_cache import PLACEMENTS, TailCache
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.workload import Workload

FLEETS: Final = ("nightly batch", "growth", "launch")
# As in docs/cache.md, in points.
MOST_POINTS: Final = 2.0
MOST_TENANTS: Final = 300
MOST_COUNTED: Final = 2500


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fleet. Shares of the counted calls, 0 to 1."""

    case: str
    fleet: str
    tenants: int
    calls: int
    hit_ratio: float
    """Measured, by the instances' own counters."""
    s3_share: float
    planned_hit_ratio: float
    """In the worst placement."""
    planned_hit_ratio_range: tuple[float, float]
    planned_s3_share_range: tuple[float, float]
    rules_hit_ratio: float
    """Of the same calls under the server's and the emulator's own rules (benchmarks/cache/simulation.py)."""
    rules_s3_share: float
    wrong: int
    """Answers that were not the tenant's own model's."""
    seconds: float

    @property
    def misses(self) -> list[str]:
        """Bars that this row misses."""
        wrong = [f"{self.wrong} wrong answers"] if self.wrong else []
        for name, measured, (low, high) in (
            ("hit ratio", self.hit_ratio, self.planned_hit_ratio_range),
            ("S3 share", self.s3_share, self.planned_s3_share_range),
        ):
            if not low - MOST_POINTS / 100 <= measured <= high + MOST_POINTS / 100:
                wrong.append(f"{name} {measured:.1%} measured, {low:.1%} to {high:.1%} planned")
        return wrong


def main(only: str | None, *, as_json: bool) -> int:
    """Run the three fleets; the exit code is 1 if a bar was missed."""
    began, load = time.monotonic(), os.getloadavg()[0]
    models = train_and_measure()
    rows = list(_rows(models, only))
    missed = [f"{row.case}, {row.fleet}: {text}" for row in rows for text in row.misses]
    if as_json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "missed": missed}))
    else:
        print(table(rows))
        print(f"\n{len(rows)} fleets in {time.monotonic() - began:.0f} s, load average {load:.1f} before")
        for text in missed:
            print(f"MISSED: {text}")
    return int(bool(missed))


def _rows(models: Models, only: str | None) -> Iterator[Row]:
    for case in cases():
        if case.name in FLEETS and (only is None or only in case.name):
            model, options = planned(case)
            for option in options:
                yield asyncio.run(measured(case.name, model, option, models))


async def measured(name: str, model: FleetModel, option: FleetOption, models: Models) -> Row:
    """Send the scaled calls to an endpoint of the planned type and count."""
    tail = model.tail(frozenset(option.dedicated)).workload
    sample = _sample(tail)
    sized = _sized(models, sample)
    # A type with its own disk is not given a volume; its sibling has the same memory.
    instance_type = describe(option.instance_type.name.replace("d.", "."))
    resident, _ = model.sizes(frozenset(option.dedicated))
    held = model.memory_mib(option.instance_type) / float(resident.sum())
    wanted = held * sum(sized.of(tenant).sizes.resident_bytes for tenant in sample.tenants)
    scale = budget_bytes(sized, wanted) / (instance_type.memory_gib * 2**30 * MODELS_SHARE_OF_MEMORY)
    requests = sample.requests
    if requests is None:
        raise ValueError(f"{name}: the planner has no trace")
    called = np.array(requests.tenants)[requests.tenant].tolist()
    start = max(requests.index_at(sample.counted_from_seconds), len(called) - MOST_COUNTED)
    before, counted = list(dict.fromkeys(reversed(called[:start])))[::-1], called[start:]
    with stand(sized, sorted(set(called)), scale=scale) as running:
        running.create("truth", instance_type.name, option.instances)
        running.wait("truth")
        client = Client(running.port, ACCOUNT, sized)
        filled = await client.send("truth", before)
        at_start = await asyncio.to_thread(running.counted, "truth", len(before))
        began = time.monotonic()
        sent = await client.send("truth", counted)
        seconds = time.monotonic() - began
        run = (await asyncio.to_thread(running.counted, "truth", len(before) + len(counted))).since(at_start)
        ruled = shares(_by_the_rules(running, sized, before, counted))
        row = running.rows("truth")[0]
        budget, disk = row["memory_budget_mib"] * 2**20, row["disk_budget_bytes"]
    hits, s3 = _planned(sample, sized, usable_bytes(sized, budget), disk, option.instances, requests.seconds[start])
    return Row(
        case=name,
        fleet=f"{option.instances} x {option.instance_type.name}",
        tenants=len(sample.tenants),
        calls=len(counted),
        hit_ratio=run.hits / run.requests,
        s3_share=run.from_s3 / run.requests,
        planned_hit_ratio=min(hits),
        planned_hit_ratio_range=(min(hits), max(hits)),
        planned_s3_share_range=(min(s3), max(s3)),
        rules_hit_ratio=ruled[HIT],
        rules_s3_share=ruled[FROM_S3],
        wrong=len(filled.wrong) + len(sent.wrong),
        seconds=seconds,
    )


def _by_the_rules(running: Stand, sized: Models, before: list[str], counted: list[str]) -> list[str]:
    instances, sizes = running.simulated("truth"), sized.sizes(sorted({*before, *counted}))
    outcomes(instances, before, sizes)
    return outcomes(instances, counted, sizes)


def _sample(tail: Workload) -> Workload:
    """Every n-th tenant by calls, so that the popular and the rare ones keep their shares."""
    step = -(-len(tail.tenants) // MOST_TENANTS)
    by_calls = np.argsort(-tail.calls_per_day, kind="stable")
    chosen = np.zeros(len(tail.tenants), np.bool_)
    chosen[by_calls[step // 2 :: step]] = True
    return tail.only(chosen)


def _sized(models: Models, sample: Workload) -> Models:
    """The models with one for each tenant, of a size in proportion to the tenant's."""
    by_size = sorted(range(len(models.kinds)), key=lambda number: models.kinds[number].sizes.file_bytes)
    file_bytes = np.array([models.kinds[number].sizes.file_bytes for number in by_size], float)
    if (sample.model_mb == sample.model_mb[0]).all():
        kinds = [by_size[len(by_size) // 2]] * len(sample.tenants)
    else:
        wanted = sample.model_mb / sample.model_mb.max() * file_bytes[-1]
        kinds = [by_size[int(np.abs(file_bytes - size).argmin())] for size in wanted.tolist()]
    used = sorted(set(kinds))
    kind_of = {tenant: used.index(kind) for tenant, kind in zip(sample.tenants, kinds, strict=True)}
    return replace(models, kinds=tuple(models.kinds[number] for number in used), kind_of=kind_of)


def _planned(
    sample: Workload, sized: Models, memory_bytes: float, disk_bytes: float, instances: int, counted_from: float
) -> tuple[list[float], list[float]]:
    """Hit ratio and S3 share in each placement, by the planner's engine."""
    cache, requests = TailCache(sample), _trace(sample)
    sizes = [sized.of(tenant).sizes for tenant in sample.tenants]
    resident = np.array([size.resident_bytes for size in sizes]) / 2**20
    file = np.array([size.file_bytes for size in sizes]) / 2**20
    steps = load_steps(load_profiles()["booster"], file * 2**20 / 1e6, vcpus=2, network=Network())
    hits, s3 = [], []
    for placement in range(PLACEMENTS if instances > 1 else 1):
        met = simulate_loads(
            requests,
            resident,
            CacheFleet(memory_mib=memory_bytes / 2**20, disk_mib=disk_bytes / 2**20, instances=instances),
            steps,
            on_disk_mib=file,
            instance_of=cache.instance_of(instances, placement),
            counted_from_seconds=counted_from,
        ).shares
        hits.append(met.warm + met.waiting)
        s3.append(met.cold)
    return hits, s3


def _trace(sample: Workload) -> Requests:
    if sample.requests is None:
        raise ValueError("the planner has no trace")
    return sample.requests


def table(rows: list[Row]) -> str:
    """For docs/cache.md."""
    lines = [
        "| traffic | fleet | tenants | calls | hits, %: measured | planned | from S3, %: measured | planned |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        hits = f"{100 * row.hit_ratio:.1f} | {_span(row.planned_hit_ratio_range)}"
        s3 = f"{100 * row.s3_share:.1f} | {_span(row.planned_s3_share_range)}"
        lines.append(f"| {row.case} | {row.fleet} | {row.tenants} | {row.calls:,} | {hits} | {s3} |")
    return "\n".join(lines)


def _span(ends: tuple[float, float]) -> str:
    low, high = (f"{100 * end:.1f}" for end in ends)
    return low if low == high else f"{low} to {high}"
