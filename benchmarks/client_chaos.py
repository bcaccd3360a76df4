"""FleetClient behind a proxy that harms replies: every call ends in a right score or a CallError, by its deadline.

    python -m benchmarks.client_chaos [--calls 200000] [--seed 1] [--share 0.1] [--json]

A truthful server on loopback answers each row with a score that names the row and the tenant, so a reply to another
call shows. The proxy of chaos_proxy.py is in between. Two processes call from many threads each, and each forks in
the middle of its calls: parent and child then go on side by side. Exits 1 if

- a score is wrong, or anything but a CallError is raised;
- a call ends more than 0.25 s after its deadline, besides the hiccups of its process after it (a thread that only
  sleeps measures how long the machine kept it from running);
- the resident memory, threads or open files of a process at its end are above the least of its second tenth of calls by
  more than the bars below.
"""

import argparse
import ctypes
import gc
import itertools
import json
import logging
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter, deque
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import boto3

from benchmarks.chaos_proxy import ChaosProxy, read_message
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.batch import percentile
from tierfleet.runtime.client.errors import CallError
from tierfleet.runtime.client.settings import ClientSettings

MOST_SECONDS_LATE: Final = 0.25
MOST_GROWTH_MIB: Final = 8.0
# Look-ups that are under way at the end have a thread each.
MOST_MORE_THREADS: Final = 8
PROCESSES: Final = 2
THREADS: Final = 4
TENANTS: Final = 50
DEADLINES_SECONDS: Final = (0.5, 1.0, 2.0)
SHARED: Final = "fraud--prod--tail--all--mme-m5-xlarge"
ROUTES: Final = {
    "version": 1,
    "fleet": "fraud",
    "environment": "prod",
    "default_tier": "tail",
    "models_bucket": "fraud--prod--models--111122223333--eu-west-1",
    "ttl_seconds": 15,
    "tiers": {"tail": {"hosting": "multi-model", "endpoint": SHARED}},
    "tenants": {},
}


def score(tenant: int, number: int) -> float:
    """Below 2 ** 53, so exact."""
    return float(number * 100 + tenant)


def serve(ready: Connection, numbered: bool) -> None:
    """AppConfig, S3 and sagemaker-runtime, all truthful. numbered: each reply has an id of its own, as AWS's do."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    numbers = itertools.count()
    ready.send(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, numbers if numbered else None), daemon=True).start()


def answer(connection: socket.socket, numbers: "itertools.count[int] | None") -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as stream:
        while request := read_message(stream):
            status, headers, content = reply(request)
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{headers}"
            if numbers is not None:
                head += f"x-amzn-RequestId: {next(numbers)}\r\n"
            connection.sendall(head.encode() + b"\r\n" + content)


def reply(request: bytes) -> tuple[str, str, bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    path = head.split(b" ", 2)[1].decode()
    if path.endswith("/invocations"):
        target = head.lower().split(b"target-model: m", 1)[1]
        return "200 OK", "", json.dumps([score(int(target[:2]), int(float(body)))]).encode()
    if path.startswith("/configurationsessions"):
        return "201 Created", "", b'{"InitialConfigurationToken": "t"}'
    if path.startswith("/configuration"):
        next_poll = "Next-Poll-Configuration-Token: t\r\nNext-Poll-Interval-In-Seconds: 15\r\n"
        return "200 OK", next_poll, json.dumps(ROUTES).encode()
    tenant = path.rsplit("/", 1)[1].removesuffix(".json")
    return "200 OK", "", json.dumps({"tenant": tenant, "version": "1", "target_model": f"{tenant}/1.tar.gz"}).encode()


def stand_between(ready: Connection, port: int, seed: int, share: float) -> None:
    proxy = ChaosProxy(("127.0.0.1", port), seed=seed, share=share)
    ready.send(proxy.port)
    ready.recv()
    ready.send(dict(proxy.done))


def resources() -> dict[str, float]:
    """Of this process: resident memory in MiB, threads, open files.

    glibc keeps what a reply without end needed until it was refused; it is given back first, since only what the
    process still holds can be a leak.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory_mib": round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
        "threads": sum(1 for _ in Path("/proc/self/task").iterdir()),
        "open_files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
    }


class Hiccups:
    """How long this process itself was kept from running: a thread that sleeps for 10 ms and sees how long it took."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, float]] = deque(maxlen=10_000)
        self.longest_seconds = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def during(self, started: float, ended: float) -> float:
        """How much of this time they took, in seconds."""
        return sum(max(0.0, min(end, ended) - max(start, started)) for start, end in list(self.seen))

    def _watch(self) -> None:
        while True:
            before = time.monotonic()
            time.sleep(0.01)
            after = time.monotonic()
            if after - before > 0.03:
                self.seen.append((before, after))
                self.longest_seconds = max(self.longest_seconds, after - before)


class Traffic:
    """The calls of one process. slot: where it counts them for whoever watches."""

    def __init__(self, client: FleetClient, calls: int, seed: int, made: Any, slot: int) -> None:
        self.client = client
        self.calls = calls
        self.seed = seed
        self.made = made
        self.slot = slot
        self.taken = itertools.count()
        self.ended = itertools.count(1)
        self.lock = threading.Lock()
        self.outcomes: Counter[str] = Counter()
        self.violations: list[str] = []
        self.seconds = array("d")
        self.latest_seconds = -1e9
        self.late = 0
        self.hiccups = Hiccups()
        self.warm: dict[str, float] = {}
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(THREADS)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def report(self) -> dict[str, Any]:
        for thread in self.threads:
            thread.join()
        end = resources()
        self.client.close()
        seconds = sorted(self.seconds)
        return {
            "outcomes": dict(self.outcomes),
            "violations": self.violations[:20],
            "violation_count": len(self.violations),
            "latest_seconds": round(self.latest_seconds, 3),
            "late": self.late,
            "longest_hiccup_seconds": round(self.hiccups.longest_seconds, 3),
            "milliseconds": [round((percentile(seconds, share) or 0) * 1000, 1) for share in (0.5, 0.99, 1)],
            "warm": self.warm,
            "end": end,
        }

    def work(self, number: int) -> None:
        rng = random.Random(f"{self.seed} {number}")  # noqa: S311 - it repeats a run
        while next(self.taken) < self.calls:
            self.call(rng)
            ended = next(self.ended)
            self.made[self.slot] = max(self.made[self.slot], ended)
            if ended % max(1, self.calls // 100) == 0 and self.calls // 10 <= ended <= self.calls // 5:
                # The least of ten: a reply without end, under way in one of them, must not hide a growth.
                self.note_warm(resources())

    def note_warm(self, now: dict[str, float]) -> None:
        with self.lock:
            self.warm = {what: min(value, self.warm.get(what, value)) for what, value in now.items()}

    def call(self, rng: random.Random) -> None:
        tenant, row, deadline_seconds = rng.randrange(TENANTS), rng.randrange(2**40), rng.choice(DEADLINES_SECONDS)
        violation = None
        started = time.monotonic()
        try:
            scores = self.client.predict(f"m{tenant:02}", [[row]], deadline_seconds=deadline_seconds)
            outcome = "answered"
        except CallError as error:
            scores, outcome = None, type(error).__name__
        except BaseException as error:
            scores, outcome = None, "not a CallError"
            violation = f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - started
        if scores is not None and scores != [score(tenant, row)]:
            outcome, violation = "wrong", f"m{tenant:02} row {row}: {scores}"
        late = seconds - deadline_seconds
        hiccup = 0.0
        if late > MOST_SECONDS_LATE:
            # The hiccup that ends now is seen when its own thread runs next.
            time.sleep(0.05)
            hiccup = self.hiccups.during(started + deadline_seconds, started + seconds)
        if late > MOST_SECONDS_LATE + hiccup:
            violation = f"{outcome} {late:.2f} s after a deadline of {deadline_seconds:g} s, hiccup {hiccup:.2f} s"
        with self.lock:
            self.late += late > MOST_SECONDS_LATE
            self.outcomes[outcome] += 1
            self.seconds.append(seconds)
            self.latest_seconds = max(self.latest_seconds, late)
            if violation:
                self.violations.append(violation)


def call(port: int, calls: int, seed: int, made: Any, slot: int, folder: str) -> None:
    """Call; after half of the calls fork, in the middle of the others; each half of the rest is one process's."""
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    # A warning per pointer that could not be read, thousands of them.
    logging.disable(logging.WARNING)
    client = FleetClient(
        "fraud",
        "prod",
        session=boto3.Session("test", "test", region_name="eu-west-1"),
        settings=ClientSettings(pointer_ttl_seconds=5, connections=THREADS, calls_per_tenant=THREADS),
        emit=lambda _line: None,
    )
    of_child = calls // 4
    traffic = Traffic(client, calls - of_child, seed, made, slot)
    traffic.start()
    while made[slot] < calls // 2:
        time.sleep(0.01)
    child = os.fork()
    if not child:
        traffic = Traffic(client, of_child, seed + 1000, made, slot + 1)
        traffic.start()
        slot += 1
    Path(folder, f"{slot}.json").write_text(json.dumps(traffic.report()))
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def measure(calls: int, seed: int, share: float, *, numbered: bool = True) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    server_here, server_there = context.Pipe()
    proxy_here, proxy_there = context.Pipe()
    server = context.Process(target=serve, args=(server_there, numbered), daemon=True)
    server.start()
    proxy = context.Process(target=stand_between, args=(proxy_there, server_here.recv(), seed, share), daemon=True)
    proxy.start()
    port = proxy_here.recv()
    made = context.RawArray("q", 2 * PROCESSES)
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            callers = [
                context.Process(target=call, args=(port, calls // PROCESSES, seed + slot, made, slot, folder))
                for slot in range(0, 2 * PROCESSES, 2)
            ]
            for caller in callers:
                caller.start()
            while any(caller.is_alive() for caller in callers):
                time.sleep(1)
                print(f"\r{sum(made):,} of {calls:,} calls", end="", file=sys.stderr)
            print(file=sys.stderr)
            reports = [json.loads(file.read_text()) for file in sorted(Path(folder).glob("*.json"))]
        proxy_here.send("what was done?")
        faults = proxy_here.recv()
    finally:
        for process in (server, proxy):
            process.terminate()
            process.join()
    return summary(reports, faults, seconds=time.monotonic() - started)


def summary(reports: list[dict[str, Any]], faults: dict[str, int], *, seconds: float) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    for report in reports:
        outcomes.update(report["outcomes"])
    violations = [violation for report in reports for violation in report["violations"]]
    if len(reports) != 2 * PROCESSES:
        violations.append(f"{len(reports)} of {2 * PROCESSES} processes reported")
    bars = {"memory_mib": MOST_GROWTH_MIB, "threads": MOST_MORE_THREADS, "open_files": THREADS + MOST_MORE_THREADS}
    for number, report in enumerate(reports):
        for what, most in bars.items():
            growth = report["end"][what] - report["warm"][what]
            if growth > most:
                violations.append(f"process {number}: {what} grew by {growth:g}, bar {most:g}")
    return {
        "calls": sum(outcomes.values()),
        "seconds": round(seconds, 1),
        "load_average": round(os.getloadavg()[0], 1),
        "outcomes": dict(outcomes.most_common()),
        "faults": faults,
        "latest_seconds": max(report["latest_seconds"] for report in reports),
        "late": sum(report["late"] for report in reports),
        "longest_hiccup_seconds": max(report["longest_hiccup_seconds"] for report in reports),
        "processes": [{name: report[name] for name in ("milliseconds", "warm", "end")} for report in reports],
        "violations": violations,
    }


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['calls']:,} calls in {result['seconds']:g} s, load average {result['load_average']}; "
        f"{sum(result['faults'].values()):,} replies harmed",
        "",
        *(f"{outcome:28} {calls:9,}" for outcome, calls in result["outcomes"].items()),
        "",
        f"latest end of a call: {result['latest_seconds']:+.3f} s after its deadline (bar {MOST_SECONDS_LATE:+}); "
        f"{result['late']} above the bar, the longest hiccup of a process was {result['longest_hiccup_seconds']:.3f} s",
        "",
        "process     p50 ms   p99 ms   max ms   MiB warm, end   threads   files",
    ]
    for number, process in enumerate(result["processes"]):
        warm, end = process["warm"], process["end"]
        lines.append(
            f"{number} {'child' if number % 2 else 'parent':8}"
            + "".join(f"{value:9.1f}" for value in process["milliseconds"])
            + f"{warm['memory_mib']:8.1f} {end['memory_mib']:7.1f}"
            + f"{warm['threads']:6} {end['threads']:3} {warm['open_files']:5} {end['open_files']:3}"
        )
    lines += ["", *(f"{fault:32} {count:7,}" for fault, count in sorted(result["faults"].items())), ""]
    lines += [f"VIOLATION: {violation}" for violation in result["violations"]] or ["no violation"]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200_000, help="in all processes together")
    parser.add_argument("--seed", type=int, default=1, help="of the traffic and the faults")
    parser.add_argument("--share", type=float, default=0.1, help="of the replies that are harmed, 0 to 1")
    parser.add_argument(
        "--unnumbered", action="store_true", help="replies without a request id, which AWS always gives"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    options = parser.parse_args()
    result = measure(options.calls, options.seed, options.share, numbered=not options.unnumbered)
    print(json.dumps(result, indent=2) if options.json else table(result))
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
