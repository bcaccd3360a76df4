"""Loads a whole fleet into one server: `python -m benchmarks.forest_fleet [--tenants 4000]`.

4,000 tenants need 19 GiB of memory. Needs wrk. Every tenant has a different, real model: 650 trees chosen at random
from the 660 of one of eight trained models of 44 MB. As UBJ it would have 43.5 MB. Each file is written, loaded by the
server and deleted. Then every tenant is called twice and each reply is compared with this process's own score. Zipf
traffic follows.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "container"))
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import tierfleet_forest
from tierfleet_forest.layout import ALIGNMENT, COLUMN_BYTES, FORM_A, HEAD_BYTES, Parts, assemble, head
from tierfleet_forest.model_document import read_document
from tierfleet_forest.writer import write_forest
from tierfleet_forest.xgboost_model import tree_model

from benchmarks.model_server import processes
from benchmarks.model_server.models import generate, row
from benchmarks.model_server.traffic import traffic

ROW = row()
TREES_LEFT_OUT = 10
ZIPF_EXPONENT = 1.1
ZIPF_CALLS = 50_000  # wrk repeats this list


@dataclass(frozen=True)
class Trained:
    """A trained model as the parts of a forest, with each tree's words."""

    parts: Parts
    roots: Any
    words: list[Any]

    def without(self, left_out: set[int]) -> bytes:
        """The forest without these trees."""
        kept = [tree for tree in range(len(self.roots)) if tree not in left_out]
        sizes = np.array([len(self.words[tree]) for tree in kept])
        return assemble(
            Parts(
                node_bytes=FORM_A, features=self.parts.features, outputs=1, base=self.parts.base,
                columns=self.parts.columns, thresholds=self.parts.thresholds, transform=self.parts.transform,
                roots=self.roots[kept].tobytes(), first=(np.cumsum(sizes) - sizes).astype("<u4").tobytes(),
                words=np.concatenate([self.words[tree] for tree in kept]).tobytes(),
            )
        )  # fmt: skip


def _trained(file: Path) -> Trained:
    parts = _parts(write_forest(tree_model(read_document(file.read_bytes())), node_bytes=FORM_A, probes=0))
    words, first = np.frombuffer(parts.words, "<u4"), np.frombuffer(parts.first, "<u4")
    return Trained(parts, np.frombuffer(parts.roots, "<u4"), np.split(words, first[1:].tolist()))


def _parts(data: bytes) -> Parts:
    """The sections of a forest that has one output and leaves in its words."""
    counts = head(data)
    at, sections = HEAD_BYTES, []
    for size in (
        4, COLUMN_BYTES * counts["columns"], 4 * counts["thresholds"], 4 * counts["trees"], 4 * counts["trees"],
        4 * counts["words"],
    ):  # fmt: skip
        sections.append(data[at : at + int(size)])
        at += -(-int(size) // ALIGNMENT) * ALIGNMENT
    base, columns, thresholds, roots, first, words = sections
    return Parts(
        node_bytes=FORM_A, features=int(counts["features"]), outputs=1, base=base, columns=columns,
        thresholds=thresholds, roots=roots, first=first, words=words, transform=int(counts["transform"]),
    )  # fmt: skip


def forests(tenants: int) -> Iterator[bytes]:
    """One forest per tenant. All are different."""
    random = np.random.default_rng(1)
    trained = [_trained(directory / "model.ubj") for directory in generate(processes.BUILD / "models")["large"]]
    seen: set[tuple[int, frozenset[int]]] = set()
    while len(seen) < tenants:
        which = len(seen) % len(trained)
        left_out = random.choice(len(trained[which].roots), TREES_LEFT_OUT, replace=False).tolist()
        if (which, frozenset(left_out)) not in seen:
            seen.add((which, frozenset(left_out)))
            yield trained[which].without(set(left_out))


def percentiles(milliseconds: list[float]) -> str:
    """p50, p95 and p99 as text."""
    values = np.percentile(milliseconds, [50, 95, 99])
    return "p50 {:.2f}, p95 {:.2f}, p99 {:.2f} ms".format(*values)


def load_all(server: processes.Process, tenants: int, scratch: Path) -> list[bytes]:
    """Load every tenant's model. Returns the expected reply of each."""
    replies, seconds = [], []
    before, counted = server.memory_mib(), server.metric("memory_used_bytes")
    started = time.monotonic()
    for number, data in enumerate(forests(tenants)):
        directory = scratch / str(number)
        directory.mkdir()
        (directory / "model.forest").write_bytes(data)
        seconds.append(server.load(f"t{number:04d}", directory))
        (directory / "model.forest").unlink()
        reply = tierfleet_forest.loads(data).predict_csv(ROW)
        assert reply is not None
        replies.append(reply)
        if (number + 1) % 500 == 0:
            print(f"  {number + 1} loaded, {server.memory_mib() / 1024:.1f} GiB", flush=True)
    mib, counted = (server.memory_mib() - before) / tenants, (server.metric("memory_used_bytes") - counted) / tenants
    print(
        f"{tenants} distinct models made and loaded in {time.monotonic() - started:.0f} s; {len(set(replies))} scores"
    )
    print(f"memory of a model: {mib:.2f} MiB (PSS), {counted / 2**20:.2f} MiB counted")
    print(f"LOAD over a new connection: {percentiles([1000 * value for value in seconds])}", flush=True)
    return replies


def first_calls(server: processes.Process, replies: list[bytes]) -> int:
    """Call every tenant twice. Returns the number of wrong replies."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    wrong = 0
    for which in ("first", "second"):
        milliseconds = []
        for number, reply in enumerate(replies):
            started = time.perf_counter()
            connection.request("POST", f"/models/t{number:04d}/invoke", ROW, {"content-type": "text/csv"})
            answer = connection.getresponse()
            body = answer.read()
            milliseconds.append(1000 * (time.perf_counter() - started))
            wrong += answer.status != 200 or body != reply
        print(f"{which} call of each tenant, one connection from Python: {percentiles(milliseconds)}", flush=True)
    return wrong


def zipf(server: processes.Process, tenants: int, seconds: float, scratch: Path) -> int:
    """Send Zipf traffic at 1 and 8 connections. Returns the number of failed requests."""
    random = np.random.default_rng(2)
    weights = np.arange(1, tenants + 1) ** -ZIPF_EXPONENT
    asked = random.permutation(tenants)[random.choice(tenants, ZIPF_CALLS, p=weights / weights.sum())]
    paths = [f"/models/t{number:04d}/invoke" for number in asked.tolist()]
    failed = 0
    for connections in (1, 8):
        sent = traffic(
            server.port, paths, ROW, content_type="text/csv", connections=connections, seconds=seconds,
            script=scratch / "wrk.lua",
        )  # fmt: skip
        failed += sent.errors
        hits = 1 - sent.errors / max(1, sent.requests)
        print(
            f"Zipf {ZIPF_EXPONENT}, {connections} connections: {sent.per_second:,.0f}/s, p50 {sent.p50:.2f}, "
            f"p95 {sent.p95:.2f}, p99 {sent.p99:.2f} ms, answered from memory {100 * hits:.3f} %",
            flush=True,
        )
    return failed


def _available_mib() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:"))


def main() -> int:
    """Run. The exit code is 1 if a reply was wrong or missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tenants", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=20, help="duration of each traffic phase (default: 20)")
    options = parser.parse_args()
    budget_mib = round(5.2 * options.tenants + 64)
    available_mib = _available_mib()
    if available_mib < budget_mib + 512:
        raise SystemExit(f"{available_mib} MiB are available and {budget_mib + 512} needed; take fewer --tenants")
    print(
        f"{platform.platform()}, {os.cpu_count()} processors, {available_mib / 1024:.1f} GiB available, "
        f"load average {os.getloadavg()[0]:.1f}, budget {budget_mib / 1024:.1f} GiB",
        flush=True,
    )
    with processes.scratch() as scratch, contextlib.ExitStack() as stack:
        started = processes.ours(TIERFLEET_MEMORY_BUDGET_MIB=str(budget_mib))
        server = stack.enter_context(processes.running(started))
        replies = load_all(server, options.tenants, Path(scratch))
        listed = json.loads(server.ask("GET", "/models?limit=10000")[1])["models"]
        wrong = first_calls(server, replies) + (len(listed) != options.tenants)
        wrong += zipf(server, options.tenants, options.seconds, Path(scratch))
        print(f"{wrong} wrong or missing replies; loaded at the end: {server.metric('models'):.0f}")
        print(f"memory: {server.memory_mib() / 1024:.2f} GiB PSS", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
