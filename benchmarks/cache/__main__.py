"""Hit ratios and call times of real multi-model endpoints, of an exact simulation and of the planner's prediction.

    python -m benchmarks.cache [--quick] [--requests N] [--no-stock] [--forests] [--json FILE]

4,000 tenants call as the churn fleet does, one by one and in sessions of 3, through the emulator's InvokeEndpoint:
endpoints of five sizes on one and two instances, with and without injected latencies. Every answer is compared with
the tenant's own model. docs/cache.md says how to read it. Exits 1 if a bar is missed.
`--forests` sends the same requests to flat forests of the same models in the same memory, and prints both.
"""

import argparse
import asyncio
import json
import math
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.cache import fleet, forests
from benchmarks.cache.density import stock_density
from benchmarks.cache.models import Models, train_and_measure
from benchmarks.cache.results import HEAD, PERCENTILES, Bar, Density, compared
from benchmarks.cache.runs import Bench
from benchmarks.cache.traffic import BURSTINESS, SHAPE
from tierfleet.planning.cache.che import che
from tierfleet.planning.traffic.rates import steady_rates


def main() -> int:
    """Run everything; the exit code is 1 if a bar was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes and few requests: about two minutes")
    parser.add_argument("--requests", type=int, help="counted requests an endpoint (default 2500; quick 500)")
    parser.add_argument("--no-stock", action="store_true", help="leave the stock stack out, which needs Java 17")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--forests", action="store_true", help="flat forests and Boosters in the same memory, alone")
    options = parser.parse_args()
    quick, started, load_before = options.quick, time.monotonic(), os.getloadavg()[0]
    print(f"{platform.platform()}, {os.cpu_count()} processors, load average {load_before:.1f}")
    models = train_and_measure()
    if options.forests:
        return forests.compare(models, requests=options.requests or (500 if quick else 2500), file=options.json)
    sizes = [125, 500] if quick else [size.models for size in fleet.SIZES]
    bench = Bench(
        models,
        requests=options.requests or (500 if quick else 2500),
        latency_requests=200 if quick else 1000,
        sizes=sizes,
    )
    describe_models(models)
    density = None if options.no_stock else asyncio.run(stock_density(models, 256 if quick else 768))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as progress:
        progress.print(HEAD, soft_wrap=True, highlight=False)
        asyncio.run(bench.run(sizes, (1, 2), progress, injected=False))
        asyncio.run(bench.run([500] if quick else [250, 500, 1000], (1,), progress, injected=True))
    bars = compared(bench.measured)
    report(bench, density, bars)
    wrong = sum(row.wrong for row in bench.measured)
    seconds = time.monotonic() - started
    print(f"\n{seconds:.0f} s, load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after")
    if options.json:
        figures = {
            "measured": [asdict(row) for row in bench.measured],
            "latencies": [asdict(latency) for latency in bench.latencies],
            "density": density and asdict(density),
            "bars": [{**asdict(bar), "met": bar.met} for bar in bars],
            "wrong": wrong,
            "seconds": seconds,
            "load_average": [load_before, os.getloadavg()[0]],
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return int(wrong > 0 or not all(bar.met for bar in bars))


def describe_models(models: Models) -> None:
    files = [kind.sizes.file_bytes / 1e3 for kind in models.kinds]
    resident, file = fleet.mean_resident_bytes(models), fleet.mean_file_bytes(models)
    print(
        f"{len(SHAPE.tenants):,} tenants, {len(files)} boosters of {min(files):.0f} to {max(files):.0f} kB; in memory "
        f"{resident / 1e3:.0f} kB on average, {resident / file:.2f} x the file; besides models the server counts "
        f"{models.fixed_bytes / 1e3:.0f} kB"
    )


def report(bench: Bench, density: Density | None, bars: list[Bar]) -> None:
    """Print everything."""
    print(f"\n{HEAD}")
    rows = sorted(bench.measured, key=lambda row: (row.injected, row.instances, row.burstiness, row.models))
    for row in rows:
        print(row.line())
    in_order = [row for row in rows if not row.injected]
    wrong, requests = sum(row.wrong for row in rows), sum(row.requests for row in rows)
    print(
        f"{wrong} of {requests:,} answers were not the tenant's own model's. All outcomes are exactly the simulation's "
        f"in {sum(row.same_outcomes for row in in_order)} of {len(in_order)} runs in order."
    )
    scatter = [100 * abs(row.hit_ratio - row.predicted_hit_ratio) for row in rows]
    print(
        f"With the luck of {bench.requests:,} requests (one sigma: {50 / math.sqrt(bench.requests):.1f} points) "
        f"{sum(points <= 2 for points in scatter)} of {len(rows)} hit ratios are within 2 points of the planner's, "
        f"the worst {max(scatter):.1f} off.\n"
    )
    print(f"{'milliseconds, one caller':<26}{'requests':>9}" + "".join(f"{f'p{p}':>9}" for p in PERCENTILES))
    for latency in bench.latencies:
        print(latency.line())
    if density is not None:
        report_density(bench, density)
    print()
    for bar in bars:
        print(bar.line())


def report_density(bench: Bench, density: Density) -> None:
    """The stock stack's figures, and what it could hold in the memory of our biggest instance."""
    ours = max((row for row in bench.measured if row.instances == 1), key=lambda row: row.models)
    per_gib = 1024 * ours.loaded_models / ours.memory_mib
    print(
        f"\nmodels per GiB: dense server {per_gib:,.0f} ({ours.loaded_models:,} in {ours.memory_mib:.0f} MiB), stock "
        f"stack {density.models_per_gib:.0f} ({density.models} in {density.budget_mib:.0f} MiB, "
        f"{density.cold_p50_milliseconds:,.0f} ms a cold call)"
    )
    held = ours.memory_mib / 1024 * density.models_per_gib
    daily = SHAPE.requests_per_day * SHAPE.tenant_shares()
    for name, sessions in BURSTINESS.items():
        rates = steady_rates(SHAPE.tenants, daily, sessions=sessions)
        stock = che(rates, np.ones(len(SHAPE.tenants)), held).hit_ratio
        measured = next(r for r in bench.measured if (r.models, r.instances, r.burstiness) == (ours.models, 1, name))
        print(
            f"  hit ratio in {ours.memory_mib:.0f} MiB, {name}: dense server {100 * measured.hit_ratio:.1f} %, "
            f"stock stack {100 * stock:.1f} % by the planner ({held:.0f} models)"
        )


if __name__ == "__main__":
    sys.exit(main())
