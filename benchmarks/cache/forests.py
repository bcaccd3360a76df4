"""The same tenants, requests and memory, once with Boosters in it and once with their flat forests."""

import asyncio
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.progress import Progress

from benchmarks.cache import fleet
from benchmarks.cache.models import Models, train_and_measure
from benchmarks.cache.results import PERCENTILES, Latency, Measured
from benchmarks.cache.runs import LATENCY_SIZE, Bench
from benchmarks.cache.traffic import BURSTINESS, SHAPE

SIZES: Final = (125, LATENCY_SIZE)
"""How many Boosters fit into the memory of the instance that both get."""


def compare(boosters: Models, *, requests: int, file: Path | None) -> int:
    """Run both and print them side by side; the exit code is 1 if an answer was not the tenant's own model's."""
    started, load_before = time.monotonic(), os.getloadavg()[0]
    flat = train_and_measure(forests=True)
    print(
        f"{len(SHAPE.tenants):,} tenants; a Booster takes {fleet.mean_resident_bytes(boosters) / 1e3:.0f} kB in memory "
        f"on average, its forest {fleet.mean_resident_bytes(flat) / 1e3:.0f} kB; files {_kilobytes(boosters)} and "
        f"{_kilobytes(flat)} kB"
    )
    benches = {
        name: Bench(models, requests=requests, latency_requests=200, sizes=list(SIZES), memory_of=boosters)
        for name, models in (("Boosters", boosters), ("forests", flat))
    }
    for bench in benches.values():
        with Progress(transient=True) as progress:
            asyncio.run(bench.run(list(SIZES), (1,), progress, injected=False))
    print(table({name: bench.measured for name, bench in benches.items()}))
    print(f"\n{'milliseconds, one caller':<36}{'requests':>9}" + "".join(f"{f'p{p}':>9}" for p in PERCENTILES))
    for name, bench in benches.items():
        for latency in bench.latencies:
            print(f"{name:<10}{latency.line()}")
    print(
        f"\n{time.monotonic() - started:.0f} s, load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after"
    )
    if file:
        file.write_text(json.dumps({name: _figures(bench) for name, bench in benches.items()}, indent=1) + "\n")
    return int(any(row.wrong for bench in benches.values() for row in bench.measured))


def table(measured: dict[str, list[Measured]]) -> str:
    """A line for each memory and kind of requests, with both forms in it."""
    lines = [
        f"{'MiB':>6}  {'requests':<16}{'':<10}{'hits %':>8}{'cold %':>8}{'S3 %':>7}{'loaded':>8}{'requests/s':>12}"
    ]
    rows = {(name, row.models, row.burstiness): row for name, some in measured.items() for row in some}
    for models in SIZES:
        for burstiness in BURSTINESS:
            for name in measured:
                row = rows[name, models, burstiness]
                lines.append(
                    f"{row.memory_mib:>6.1f}  {burstiness:<16}{name:<10}{100 * row.hit_ratio:>8.1f}"
                    f"{100 - 100 * row.hit_ratio:>8.1f}{100 * row.s3_share:>7.1f}{row.loaded_models:>8,}"
                    f"{row.requests / row.seconds:>12.0f}"
                )
    return "\n".join(lines)


def _kilobytes(models: Models) -> str:
    return f"{fleet.mean_file_bytes(models) / 1e3:.0f}"


def _figures(bench: Bench) -> dict[str, object]:
    latencies: list[Latency] = bench.latencies
    return {"measured": [asdict(row) for row in bench.measured], "latencies": [asdict(row) for row in latencies]}
