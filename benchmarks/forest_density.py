"""Compares servers with equal memory: `python -m benchmarks.forest_density [--tenants 400] [--memory-mib 3072]`.

The tenants of one multi-model endpoint are held in three ways: as many Boosters as the stock container has room for, as
many Boosters as the dense server has room for, and flat forests. The models have 44 MB as UBJ. One client calls tenants
by Zipf's law and does what SageMaker's front does: it LOADs a missing model, and UNLOADs the least recently used one if
the server answers 507. Each server gets the same calls. The first third of them fills the cache and is not counted.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "container"))
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import tierfleet_forest

from benchmarks.model_server import processes
from benchmarks.model_server.models import generate, row

ROW = row()
ZIPF_EXPONENT = 1.1
STOCK_MIB = 247  # a model of 44 MB in the stock container: two processes each (README, Limits)


@dataclass
class Front:
    """A client of one server that loads missing models. `most` limits the number of loaded models; 0 is no limit."""

    server: processes.Process
    directories: list[Path]
    most: int = 0
    loaded: OrderedDict[int, None] = field(default_factory=OrderedDict)
    loads: int = 0
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)

    def call(self, tenant: int) -> None:
        """Score one row of a tenant. Loads its model first if it is missing."""
        started = time.perf_counter()
        if tenant in self.loaded:
            self.loaded.move_to_end(tenant)
        else:
            self._load(tenant)
        status, reply = self._ask("POST", f"/models/t{tenant}/invoke", ROW, "text/csv")
        if status != 200:
            raise RuntimeError(f"invoke of t{tenant}: {status} {reply[:200]!r}")
        self.seconds.append(time.perf_counter() - started)

    def _load(self, tenant: int) -> None:
        self.loads += 1
        url = str(self.directories[tenant % len(self.directories)])
        body = json.dumps({"model_name": f"t{tenant}", "url": url}).encode()
        while self.most and len(self.loaded) >= self.most:
            self._unload()
        while True:
            status, reply = self._ask("POST", "/models", body, "application/json")
            if status == 200:
                self.loaded[tenant] = None
                return
            if status != 507 or not self.loaded:
                raise RuntimeError(f"load of t{tenant}: {status} {reply[:200]!r}")
            self._unload()

    def _unload(self) -> None:
        oldest, _ = self.loaded.popitem(last=False)
        self._ask("DELETE", f"/models/t{oldest}", b"", "")

    def _ask(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        self._connection.request(method, path, body, {"content-type": content_type} if content_type else {})
        reply = self._connection.getresponse()
        return reply.status, reply.read()


def asked(tenants: int, calls: int) -> list[int]:
    """The tenant of each call."""
    random = np.random.default_rng(2)
    weights = np.arange(1, tenants + 1) ** -ZIPF_EXPONENT
    names: list[int] = random.permutation(tenants)[random.choice(tenants, calls, p=weights / weights.sum())].tolist()
    return names


def measure(name: str, directories: list[Path], calls: list[int], memory_mib: int, most: int) -> str:
    """One line of the table."""
    fill, counted = calls[: len(calls) // 3], calls[len(calls) // 3 :]
    # The number of models is the limit here, so the server may not evict earlier.
    budget = 1 << 20 if most else memory_mib
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(processes.running(processes.ours(TIERFLEET_MEMORY_BUDGET_MIB=str(budget))))
        front = Front(server, directories, most)
        for tenant in fill:
            front.call(tenant)
        front.loads, front.seconds = 0, []
        for tenant in counted:
            front.call(tenant)
        held, mib = len(front.loaded), server.memory_mib()
    hit = 1 - front.loads / len(counted)
    p50, p95, p99 = np.percentile(np.array(front.seconds) * 1000, [50, 95, 99])
    rate = len(counted) / sum(front.seconds)
    line = (
        f"| {name} | {held} | {mib:.0f} | {100 * hit:.1f} % | {front.loads / len(counted):.1%} | {rate:,.0f} "
        f"| {p50:.2f} / {p95:.1f} / {p99:.1f} |"
    )
    print(line, flush=True)
    return line


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tenants", type=int, default=400)
    parser.add_argument("--memory-mib", type=int, default=3072, help="for models, of each (default: 3072)")
    parser.add_argument("--calls", type=int, default=1800, help="a third of them fill the cache (default: 1800)")
    options = parser.parse_args()
    directories = generate(processes.BUILD / "models")["large"]
    calls = asked(options.tenants, options.calls)
    print(f"{platform.platform()}, {os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}")
    print(f"{options.tenants} tenants, {options.memory_mib} MiB for models, Zipf {ZIPF_EXPONENT}, one connection\n")
    print("| | models held | server MiB | hit ratio | cold calls | calls a second | ms p50 / p95 / p99 |")
    print("|---|---|---|---|---|---|---|")
    with processes.scratch() as scratch:
        forests = []
        for number, directory in enumerate(directories):
            forests.append(Path(scratch) / str(number))
            forests[-1].mkdir()
            (forests[-1] / "model.forest").write_bytes(tierfleet_forest.convert(directory / "model.ubj"))
        stock = max(1, options.memory_mib // STOCK_MIB)
        measure(f"Boosters at the stock density ({STOCK_MIB} MiB each)", directories, calls, options.memory_mib, stock)
        measure("Boosters in the dense server", directories, calls, options.memory_mib, 0)
        measure("flat forests in the dense server", forests, calls, options.memory_mib, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
