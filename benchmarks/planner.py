"""How fast the cache model is compared with libCacheSim, whether both agree, and what a trace of 100 M requests needs.

    python -m benchmarks.planner [--quick] [--json]

libCacheSim simulates one LRU size; ours computes every size. Both run in this process on the same requests, in turns,
so that a noisy machine harms both alike; each figure is the best CPU time of its runs (both use one thread).
libCacheSim reads its binary format from the page cache, ours reads arrays; compilation (kept on disk by numba) is
measured apart. The big trace is written as Parquet, then read, sorted and simulated by a process of its own, whose
peak memory is taken. Exits 1 if a bar is missed or the two disagree.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import libcachesim
import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache.miss_ratio_curve import MissRatioCurve, miss_ratio_curve
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.shapes import zipf_shape
from tierfleet.planning.traffic.synthesize import write_trace

MOST_TIMES_EQUAL: Final = 1.0
MOST_TIMES_SIZED: Final = 3.0
MOST_DIFFERENCE: Final = 1e-9
MOST_GIB: Final = 4.0
ZIPF: Final = 0.81
TENANTS: Final = 100_000
RUNS: Final = 3
CAPACITIES: Final = (1, 10, 100, 1_000, 10_000, 30_000, 60_000, 100_000)
MIB: Final = 2**20

_BIG_TRACE: Final = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from tierfleet.planning.cache.miss_ratio_curve import miss_ratio_curve
from tierfleet.planning.traffic.trace import read_trace

times, start = {}, time.perf_counter()
trace = read_trace(sys.argv[1], Path(sys.argv[2]))
times["read_seconds"] = time.perf_counter() - start
sizes = np.random.default_rng(0).lognormal(4.5, 0.5, len(trace.requests.tenants))
for name, resident in (("equal_seconds", np.full(len(sizes), 100.0)), ("sized_seconds", sizes)):
    start = time.perf_counter()
    curve = miss_ratio_curve(trace.requests, resident)
    times[name] = time.perf_counter() - start
    times[name.replace("seconds", "hit_ratio")] = curve.hit_ratio(float(resident.sum()) / 10)
times["requests"] = len(trace.requests)
times["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps(times))
"""

_COMPILE: Final = """
import time
import numpy as np
start = time.perf_counter()
from tierfleet.planning.cache.miss_ratio_curve import miss_ratio_curve
from tierfleet.planning.traffic.requests import Requests
requests = Requests(("a", "b"), np.array([0, 1], np.int32), np.array([0.0, 1.0]), np.ones(2))
miss_ratio_curve(requests, np.ones(2))
miss_ratio_curve(requests, np.array([1.0, 2.0]))
print(time.perf_counter() - start)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    count = 1_000_000 if arguments.quick else 10_000_000
    with tempfile.TemporaryDirectory(prefix="planner-bench-") as name:
        folder = Path(name)
        result: dict[str, Any] = {"machine": f"{platform.processor()}, {os.cpu_count()} CPUs", "requests": count}
        result |= {"compile": compile_seconds(folder)} | beside_libcachesim(folder, count)
        result["big_trace"] = big_trace(folder, 10 * count)
    missed = misses(result)
    print(json.dumps(result | {"missed": missed}) if arguments.json else text(result, missed))
    sys.exit(1 if missed else 0)


def beside_libcachesim(folder: Path, count: int) -> dict[str, Any]:
    random = np.random.default_rng(1)
    popularity = np.arange(1, TENANTS + 1) ** -ZIPF
    drawn = np.searchsorted(np.cumsum(popularity / popularity.sum())[:-1], random.random(count))
    tenant = random.permutation(TENANTS).astype(np.int32)[drawn]
    names = tuple(map(str, range(TENANTS)))
    requests = Requests(names, tenant, np.arange(count, dtype=np.float64), np.full(TENANTS, np.nan))
    size_bytes = np.maximum(random.lognormal(4.5, 0.5, TENANTS) * MIB // 4096 * 4096, 4096).astype(np.int64)
    trace = folder / "trace.oracleGeneral"
    records = np.zeros(count, [("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
    # Their sizes are 32 bits, so they count in pages of 4 KiB.
    records["id"], records["size"], records["next"] = tenant + 1, size_bytes[tenant] // 4096, -2
    records.tofile(trace)
    del records
    one_size, sizes = np.full(TENANTS, 1 / MIB), size_bytes / MIB
    tenth, tenth_pages = TENANTS // 10, int(size_bytes.sum()) // 10 // 4096
    equal_seconds, equal = in_turns(
        lambda: miss_ratio_curve(requests, one_size), lambda: simulated(trace, tenth, sized=False)
    )
    sized_seconds, sized = in_turns(
        lambda: miss_ratio_curve(requests, sizes), lambda: simulated(trace, tenth_pages, sized=True)
    )
    return {
        "equal": {"ours_seconds": equal_seconds[0], "libcachesim_seconds": equal_seconds[1]},
        "sized": {"ours_seconds": sized_seconds[0], "libcachesim_seconds": sized_seconds[1]},
        "greatest_difference": max(
            abs(1 - equal.hit_ratio(models / MIB) - simulated(trace, models, sized=False)) for models in CAPACITIES
        ),
        "sized_difference": sized_difference(sized, trace, size_bytes),
    }


def sized_difference(curve: MissRatioCurve, trace: Path, size_bytes: NDArray[np.int64]) -> float:
    step = max(curve.granule_bytes, 4096)
    greatest = 0.0
    for share in (0.01, 0.1, 0.5):
        capacity = int(size_bytes.sum() * share) // step * step
        greatest = max(
            greatest, abs(1 - curve.hit_ratio(capacity / MIB) - simulated(trace, capacity // 4096, sized=True))
        )
    return greatest


def simulated(trace: Path, capacity: int, *, sized: bool) -> float:
    """libCacheSim's miss ratio of one LRU cache. Its table is sized to the tenants: its default is slower here."""
    settings = libcachesim.ReaderInitParam(ignore_obj_size=not sized)
    reader = libcachesim.TraceReader(str(trace), libcachesim.TraceType.ORACLE_GENERAL_TRACE, settings)
    hashpower = int(np.ceil(np.log2(TENANTS)))
    return float(libcachesim.LRU(capacity, hashpower=hashpower).process_trace(reader)[0])


def in_turns(ours: Callable[[], MissRatioCurve], theirs: Callable[[], float]) -> tuple[list[float], MissRatioCurve]:
    best = [float("inf")] * 2
    for _ in range(RUNS):
        start = time.process_time()
        curve = ours()
        middle = time.process_time()
        theirs()
        best = [min(best[0], middle - start), min(best[1], time.process_time() - middle)]
    return best, curve


def compile_seconds(folder: Path) -> dict[str, float]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "numba")}
    runs = [
        float(subprocess.run([sys.executable, "-c", _COMPILE], check=True, capture_output=True, env=environment).stdout)
        for _ in range(2)
    ]
    return {"first_seconds": runs[0], "kept_seconds": runs[1]}


def big_trace(folder: Path, count: int) -> dict[str, float]:
    file, days = folder / "big.parquet", 30
    start = time.perf_counter()
    write_trace(zipf_shape(TENANTS, count / days, ZIPF), file, days=days, seed=1)
    written = time.perf_counter() - start
    child = subprocess.run(
        [sys.executable, "-c", _BIG_TRACE, str(file), str(folder / "work")], check=True, capture_output=True
    )
    return {"write_seconds": written, "file_mib": file.stat().st_size / MIB, **json.loads(child.stdout)}


def misses(result: dict[str, Any]) -> list[str]:
    bars = [
        ("equal sizes, times libCacheSim", _times(result["equal"]), MOST_TIMES_EQUAL),
        ("unequal sizes, times libCacheSim", _times(result["sized"]), MOST_TIMES_SIZED),
        ("greatest difference, equal sizes", result["greatest_difference"], MOST_DIFFERENCE),
        ("greatest difference, unequal sizes", result["sized_difference"], MOST_DIFFERENCE),
        ("peak GiB of the big trace", result["big_trace"]["peak_gib"], MOST_GIB),
    ]
    return [f"{what} is {value:.3g}, bar {bar:g}" for what, value, bar in bars if value > bar]


def _times(pair: dict[str, float]) -> float:
    return pair["ours_seconds"] / pair["libcachesim_seconds"]


def text(result: dict[str, Any], missed: list[str]) -> str:
    lines = [f"{result['machine']}; {result['requests']:,} requests, {TENANTS:,} tenants, Zipf {ZIPF}"]
    for name, what in (("equal", "equal sizes"), ("sized", "unequal sizes")):
        ours, theirs = result[name]["ours_seconds"], result[name]["libcachesim_seconds"]
        lines.append(
            f"{what}: the whole curve {ours:.2f} s ({result['requests'] / ours / 1e6:.1f} M/s), libCacheSim one size "
            f"{theirs:.2f} s, {ours / theirs:.2f} x"
        )
    lines.append(
        f"greatest difference of a miss ratio: {result['greatest_difference']:.1e} at {len(CAPACITIES)} equal-size "
        f"capacities, {result['sized_difference']:.1e} with unequal sizes"
    )
    first, kept = result["compile"]["first_seconds"], result["compile"]["kept_seconds"]
    lines.append(f"start of a process: {first:.1f} s when numba compiles, {kept:.1f} s afterwards")
    big = result["big_trace"]
    lines.append(
        f"{big['requests']:,} requests from {big['file_mib']:,.0f} MiB of Parquet: "
        f"written in {big['write_seconds']:.0f} s, read and sorted in {big['read_seconds']:.0f} s, "
        f"curve {big['equal_seconds']:.1f} s (unequal sizes {big['sized_seconds']:.1f} s), "
        f"peak {big['peak_gib']:.2f} GiB"
    )
    return "\n".join([*lines, *(f"MISSED: {line}" for line in missed)])


if __name__ == "__main__":
    main()
