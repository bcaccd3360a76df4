"""One-row calls of a small model during other tenants' costliest requests and loads, in one run on loopback.

`python -m benchmarks.neighbours [--quick] [--json FILE] [--markdown] [--only WORD] [--without-peer]`; needs Java 17 for
the peer, multi-model-server 1.1.11. Rest and neighbour alternate, and each ratio is that of two measurements in a row.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Semaphore
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from benchmarks.model_server import processes
from benchmarks.neighbours.models import NEIGHBOURS, Neighbour, generate, small_row

P50_TIMES, P99_TIMES, PING_MS = 2.0, 5.0, 100.0
_PAUSE_SECONDS = 0.001
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Sample:
    """What one-row calls and health checks took, in milliseconds."""

    calls: int
    p50: float
    p99: float
    ping_max: float


@dataclass(frozen=True)
class Finding:
    """One neighbour on one server: medians over the rounds; `answers` counts the neighbour's replies by status."""

    server: str
    neighbour: str
    rest_p50_ms: float
    rest_p99_ms: float
    p50_ms: float
    p99_ms: float
    p50_times: float
    p99_times: float
    ping_max_ms: float
    answers: dict[str, int]

    @property
    def met(self) -> bool:
        """Whether the bars are met."""
        return self.p50_times <= P50_TIMES and self.p99_times <= P99_TIMES and self.ping_max_ms <= PING_MS


def measure(server: processes.Process, seconds: float) -> Sample:
    """One-row calls and health checks in turn, on one kept connection."""
    calls, pings = list[float](), list[float]()
    row = small_row()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for path, body, times in (("/models/small/invoke", row, calls), ("/ping", None, pings)):
                started = time.perf_counter()
                headers = {"content-type": server.content_type} if body else {}
                connection.request("POST" if body else "GET", path, body, headers)
                reply = connection.getresponse()
                reply.read()
                times.append(1000 * (time.perf_counter() - started))
                assert reply.status == 200, (path, reply.status)
                time.sleep(_PAUSE_SECONDS)
    calls.sort()
    return Sample(len(calls), calls[len(calls) // 2], calls[int(len(calls) * 0.99)], max(pings))


def send(
    port: int, neighbour: Neighbour, number: int, content_type: str, ready: Semaphore, answers: "Queue[str]"
) -> None:
    """Runs in a process of its own until it is ended: the neighbour's requests, one after the other."""
    name = f"{neighbour.model}-{number}" if neighbour.loads else neighbour.model
    load = json.dumps({"model_name": name, "url": str(neighbour.directory)}).encode()
    body = neighbour.body(content_type)
    ready.release()
    while True:
        try:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
                if neighbour.loads:
                    connection.request("POST", "/models", load, {"content-type": "application/json"})
                else:
                    headers = {"content-type": content_type or neighbour.content_type}
                    if neighbour.accept:
                        headers["accept"] = neighbour.accept
                    connection.request("POST", f"/models/{name}/invoke", body, headers)
                reply = connection.getresponse()
                reply.read()
                answers.put(str(reply.status))
                if neighbour.loads and reply.status in (200, 409):
                    connection.request("DELETE", f"/models/{name}")
                    connection.getresponse().read()
        except OSError as error:
            answers.put(type(error).__name__)


@contextlib.contextmanager
def busy(server: processes.Process, neighbour: Neighbour) -> Iterator[dict[str, int]]:
    """The neighbour's senders; gives their replies by status, complete at the end."""
    counted: dict[str, int] = {}
    ready, answers = _spawn.Semaphore(0), _spawn.Queue()
    content_type = "" if server.content_type == "text/csv" else server.content_type
    senders = [
        _spawn.Process(target=send, args=(server.port, neighbour, number, content_type, ready, answers))
        for number in range(neighbour.senders)
    ]
    for sender in senders:
        sender.start()
    for _ in senders:
        assert ready.acquire(timeout=120)
    time.sleep(0.3)  # the first requests are on their way
    try:
        yield counted
    finally:
        for _ in range(answers.qsize()):
            status = answers.get()
            counted[status] = counted.get(status, 0) + 1
        for sender in senders:  # their clients are gone, and the server notices
            sender.terminate()
            sender.join()


def compare(who: str, server: processes.Process, neighbour: Neighbour, rounds: int, seconds: float) -> Finding:
    """Rest and neighbour in turn."""
    rest, beside = list[Sample](), list[Sample]()
    answers: dict[str, int] = {}
    for _ in range(rounds):
        wait_until_idle(server)
        rest.append(measure(server, seconds))
        with busy(server, neighbour) as counted:
            beside.append(measure(server, seconds))
        for status, count in counted.items():
            answers[status] = answers.get(status, 0) + count
    pairs = list(zip(rest, beside, strict=True))
    finding = Finding(
        who, neighbour.title,
        statistics.median(sample.p50 for sample in rest), statistics.median(sample.p99 for sample in rest),
        statistics.median(sample.p50 for sample in beside), statistics.median(sample.p99 for sample in beside),
        statistics.median(much.p50 / little.p50 for little, much in pairs),
        statistics.median(much.p99 / little.p99 for little, much in pairs),
        max(sample.ping_max for sample in beside), answers,
    )  # fmt: skip
    print(f"  {line(finding)}", flush=True)
    return finding


def wait_until_idle(server: processes.Process) -> None:
    """Until the server uses next to no processor time."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        used = server.cpu_seconds()
        time.sleep(0.5)
        if server.cpu_seconds() - used < 0.1:
            return


def line(finding: Finding) -> str:
    """A finding in words."""
    answers = ", ".join(f"{count} x {status}" for status, count in sorted(finding.answers.items())) or "none yet"
    mark = "met   " if finding.met else "MISSED"
    return (
        f"{mark} {finding.server}, {finding.neighbour}: p50 {finding.p50_ms:.2f} ms = {finding.p50_times:.1f} x, "
        f"p99 {finding.p99_ms:.2f} ms = {finding.p99_times:.1f} x, /ping at most {finding.ping_max_ms:.0f} ms "
        f"(at rest {finding.rest_p50_ms:.2f}, {finding.rest_p99_ms:.2f}; the neighbour's replies: {answers})"
    )


def markdown(findings: list[Finding]) -> str:
    """The results as a Markdown table."""
    by_server: dict[str, dict[str, Finding]] = {}
    for finding in findings:
        by_server.setdefault(finding.neighbour, {})[finding.server] = finding
    rows = ["| during | p50 | p99 | `/ping` | | multi-model-server: p50 | p99 | `/ping` |", "|---" * 8 + "|"]
    for neighbour, servers in by_server.items():
        mine, theirs = servers.get("ours"), servers.get("multi-model-server")
        rows.append(
            f"| {neighbour} | {_cells(mine)} | {'' if mine is None or mine.met else '**missed**'} | {_cells(theirs)} |"
        )
    return "\n".join(rows)


def _cells(finding: Finding | None) -> str:
    if finding is None:
        return "- | - | -"
    return (
        f"{finding.p50_ms:.2f} ms = {finding.p50_times:.1f} x | {finding.p99_ms:.2f} ms = {finding.p99_times:.1f} x "
        f"| {finding.ping_max_ms:.0f} ms"
    )


def main() -> int:
    """Run everything, print the table; the exit code is 1 if a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two short rounds: about three minutes")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table at the end")
    parser.add_argument("--only", default="", help="neighbours whose title holds this")
    parser.add_argument("--without-peer", action="store_true", help="leave multi-model-server out")
    options = parser.parse_args()
    with contextlib.suppress(OSError):
        # As if it ran on another machine: what is measured is when the server replies, not when this process wakes up.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    real_time = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    print(f"{platform.platform()}, {os.cpu_count()} processors, the measuring client real-time: {real_time}")
    directories = generate(processes.BUILD / "neighbours", processes.BUILD / "models")
    rounds, seconds = (2, 2.0) if options.quick else (7, 5.0)
    findings = []
    servers = {"ours": processes.ours} | ({} if options.without_peer else {"multi-model-server": processes.peer})
    for who, start in servers.items():
        print(f"{who} (load average {os.getloadavg()[0]:.1f})", flush=True)
        with processes.running(start()) as server:
            for name, directory in directories.items():
                if name in ("small", "batches", "narrow", "wide", "chains", "large"):
                    server.load(name, directory)
            for neighbour in NEIGHBOURS:
                if options.only in neighbour.title and (who == "ours" or neighbour.for_peer):
                    findings.append(compare(who, server, neighbour.at(directories), rounds, seconds))
    if options.json:
        report = {"load_average": os.getloadavg(), "findings": [asdict(finding) for finding in findings]}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.markdown:
        print("\n" + markdown(findings))
    return int(any(not finding.met for finding in findings if finding.server == "ours"))


if __name__ == "__main__":
    sys.exit(main())
