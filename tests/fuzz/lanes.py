"""What `make fuzz` runs: each kind of hostile input against what takes it, for so many seconds.

A lane yields nothing and raises nothing: it counts cases, keeps what went wrong, and what the server held at most.
"""

import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from process_state import Memory
from running_server import Answer, Client, RunningServer
from tierfleet_server.model.archive import unpack
from tierfleet_server.model.load_limits import LOAD_FACTOR
from tierfleet_server.model.refusal import BadModel

from tests.fuzz import archives, client, fleet_files, http_streams, models, payloads

MIB = 1 << 20
# Over what admission counted; a server that passes it has a fault even if it lives.
ALLOWANCE_BYTES = 64 * MIB
RESERVE_BYTES = 256 * MIB
# No answer may take longer, whatever else this machine does: SageMaker itself waits 60 s for one.
HANG_SECONDS = 60.0
# The server may have this much, so that one that allocates without end dies and not the machine.
_LIMIT_BYTES = 3 << 30
_LIMITED = (
    f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_DATA, ({_LIMIT_BYTES}, {_LIMIT_BYTES})); "
    "os.execv(sys.executable, [sys.executable, '-m', 'tierfleet_server'])"
)
_ARCHIVE_BYTES = 16 * MIB


@dataclass
class Lane:
    """What one lane came to."""

    name: str
    cases: int = 0
    refused: int = 0
    """Cases that were turned away with a sentence; the others were served."""
    findings: list[str] = field(default_factory=list)
    """What went wrong, each with what makes it again."""
    greatest_over_bytes: int = 0
    """Memory beyond what admission had counted, at most; 0 where a lane has no server."""
    slowest_seconds: float = 0.0

    def finding(self, label: str, what: object, data: bytes | None = None) -> None:
        """Keep a finding, and the bytes that make it again."""
        kept = ""
        if data is not None:
            folder = Path(".build/fuzz")
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{self.name}-{len(self.findings)}"
            file.write_bytes(data)
            kept = f" ({file})"
        self.findings.append(f"{self.name}: {label}: {what}{kept}")


@contextmanager
def server() -> Iterator[tuple[RunningServer, Path]]:
    """A multi-model server under a memory limit, and a folder for its models."""
    with tempfile.TemporaryDirectory(prefix="tierfleet-fuzz-") as folder:
        environment = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_CONTAINER_LOG_LEVEL": "50"}
        running = RunningServer(environment, Path(folder) / "log", command=[sys.executable, "-c", _LIMITED])
        try:
            yield running, Path(folder)
        finally:
            running.close()


def hostile_models(lane: Lane, seconds: float, seed: int) -> None:
    """Mutated models of every kind are loaded and called, while callers use a good model."""
    seeds = models.seeds()
    swept = (
        (f"{kind}: {label}", data)
        for kind in seeds
        if seeds[kind][1:2] == b"L"
        for label, data in models.sweep(seeds[kind])
    )
    cases = itertools.chain(
        models.recipes().items(), _alternately(swept, models.mutations(seeds, seed)), models.mutations(seeds, seed + 1)
    )
    with server() as (running, folder), Memory(running.process.pid) as memory:
        (folder / "good").write_bytes(seeds["binary"])
        assert running.load("good", folder / "good").status == 200
        row = b"1,2,3"
        expected = running.invoke("good", row).body
        for label, data in _until(cases, seconds):
            (folder / "m").write_bytes(data)
            before = memory.restart()
            started = time.monotonic()
            try:
                answer = running.load("m", folder / "m")
                lane.cases += 1
                _check_load(lane, running, label, data, answer)
                if running.invoke("good", row).body != expected:
                    lane.finding(label, "another model's score changed", data)
            except OSError as error:
                lane.finding(label, f"no answer: {error!r}, exit code {running.process.poll()}", data)
                return
            lane.slowest_seconds = max(lane.slowest_seconds, time.monotonic() - started)
            counted = int(len(data) * LOAD_FACTOR["json" if data[1:2] == b'"' else "ubj"])
            over = memory.greatest - before - counted
            lane.greatest_over_bytes = max(lane.greatest_over_bytes, over)
            if over > ALLOWANCE_BYTES:
                lane.finding(label, f"{over / MIB:.0f} MiB more than admission counted", data)
            if time.monotonic() - started > HANG_SECONDS:
                lane.finding(label, f"took {time.monotonic() - started:.0f} s", data)


def _check_load(lane: Lane, running: RunningServer, label: str, data: bytes, answer: Answer) -> None:
    if answer.status == 200:
        # Whatever it asks for, an answer is one of these; a served model has an answer for a row of some width.
        for row in (b"1", b"1,2", b"1,2,3"):
            for accept, allowed in (("", (200, 400)), (payloads.CONTRIBS, (200, 400, 406))):
                status = running.invoke("m", row, accept=accept).status
                if status not in allowed:
                    lane.finding(label, f"a row of {row!r} -> {accept} was answered with {status}", data)
        if running.unload("m").status != 200:
            lane.finding(label, "the model cannot be unloaded", data)
        return
    lane.refused += 1
    if answer.status not in (400, 507) or len(answer.json["message"]) > 800:
        lane.finding(label, f"{answer.status}: {answer.body[:300]!r}", data)


def hostile_archives(lane: Lane, seconds: float, seed: int) -> None:
    """Archives are unpacked in this process, which may hold 64 MiB more than before."""
    with tempfile.TemporaryDirectory(prefix="tierfleet-fuzz-") as folder:
        packed, directory = Path(folder) / "packed", Path(folder) / "unpacked"
        with Memory(os.getpid()) as memory:
            for label, data in _until(itertools.chain(archives.recipes(), archives.mutations(seed)), seconds):
                packed.write_bytes(data)
                before = memory.restart()
                started = time.monotonic()
                lane.cases += 1
                try:
                    unpack(packed, directory, max_bytes=_ARCHIVE_BYTES)
                except BadModel:
                    lane.refused += 1
                    if directory.exists():
                        lane.finding(label, "something is left of a refused archive", data)
                except Exception as error:
                    lane.finding(label, repr(error), data)
                else:
                    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
                    if size > _ARCHIVE_BYTES:
                        lane.finding(label, f"{size} bytes were unpacked", data)
                for path in sorted(directory.rglob("*"), reverse=True) if directory.exists() else ():
                    path.rmdir() if path.is_dir() else path.unlink()
                if directory.exists():
                    directory.rmdir()
                lane.slowest_seconds = max(lane.slowest_seconds, time.monotonic() - started)
                over = memory.greatest - before
                lane.greatest_over_bytes = max(lane.greatest_over_bytes, over)
                if over > ALLOWANCE_BYTES:
                    lane.finding(label, f"{over / MIB:.0f} MiB to unpack it", data)


def hostile_payloads(lane: Lane, seconds: float, seed: int) -> None:
    """Bodies for models of several kinds; /ping is asked from another connection all the time."""
    seeds = models.seeds()
    names = ("binary", "multi-class", "dart", "linear", "categorical")
    with server() as (running, folder), Memory(running.process.pid) as memory:
        for name in names:
            (folder / name).write_bytes(seeds[name])
            assert running.load(name, folder / name).status == 200
        row = b"1,2,3"
        expected = running.invoke("binary", row).body
        before, stop, slowest_ping = memory.restart(), threading.Event(), [0.0]
        pinging = threading.Thread(target=_ping, args=(running.port, stop, slowest_ping), daemon=True)
        pinging.start()
        bodies = {
            name: payloads.payloads(seed + at, 2 if name == "categorical" else 3) for at, name in enumerate(names)
        }
        cases = ((name, *next(bodies[name])) for name in itertools.cycle(names))
        for name, content_type, accept, body in _until(cases, seconds):
            label = f"{name} {content_type} -> {accept or 'no Accept'}"
            started = time.monotonic()
            lane.cases += 1
            try:
                answer = running.invoke(name, body, content_type, accept)
                if lane.cases % 50 == 0 and running.invoke("binary", row).body != expected:
                    lane.finding(label, "another model's score changed", body)
            except OSError as error:
                lane.finding(label, f"no answer: {error!r}, exit code {running.process.poll()}", body)
                break
            lane.slowest_seconds = max(lane.slowest_seconds, time.monotonic() - started)
            if answer.status != 200:
                lane.refused += 1
                if answer.status not in (400, 406, 413, 415, 503) or len(answer.json["message"]) > 800:
                    lane.finding(label, f"{answer.status}: {answer.body[:300]!r}", body)
        stop.set()
        pinging.join(HANG_SECONDS)
        over = memory.greatest - before - RESERVE_BYTES
        lane.greatest_over_bytes = max(0, over)
        if over > ALLOWANCE_BYTES:
            lane.finding("memory", f"{over / MIB:.0f} MiB more than the reserve")
        if pinging.is_alive() or slowest_ping[0] > HANG_SECONDS / 10:
            lane.finding("ping", f"took {slowest_ping[0]:.1f} s")


def _ping(port: int, stop: threading.Event, slowest: list[float]) -> None:
    asking = Client(port)
    while not stop.wait(0.05):
        started = time.monotonic()
        asking.ask("GET", "/ping")
        slowest[0] = max(slowest[0], time.monotonic() - started)
    asking.close()


def http(lane: Lane, seconds: float, seed: int) -> None:
    """Streams of requests, well-formed and not; each answer is the one that belongs to its request."""
    with server() as (running, folder), Memory(running.process.pid) as memory:
        (folder / "m").write_bytes(models.of_features(8))
        assert running.load(http_streams.MODEL.decode(), folder / "m").status == 200
        before = memory.restart()
        for number in _until(itertools.count(seed), seconds):
            started = time.monotonic()
            lane.cases += 1
            stream = http_streams.make(number)
            try:
                http_streams.check(running.port, stream)
            except (AssertionError, OSError) as error:
                lane.finding(f"seed {number}", repr(error), b"".join(stream.pieces))
                if running.process.poll() is not None:
                    return
            lane.slowest_seconds = max(lane.slowest_seconds, time.monotonic() - started)
        over = memory.greatest - before
        lane.greatest_over_bytes = over
        if over > RESERVE_BYTES + ALLOWANCE_BYTES:
            lane.finding("memory", f"{over / MIB:.0f} MiB")


def callers(lane: Lane, seconds: float, seed: int) -> None:
    """Pointers, routes, error bodies and replies for FleetClient: each ends in an answer or a CallError."""
    for label, case in _until(client.cases(seed), seconds):
        started = time.monotonic()
        lane.cases += 1
        try:
            client.check(case)
        except Exception as error:
            lane.finding(label, repr(error), case.content)
        lane.slowest_seconds = max(lane.slowest_seconds, time.monotonic() - started)


def fleets(lane: Lane, seconds: float, seed: int) -> None:
    """Fleet files: each is accepted, or refused with every problem at once; never a traceback."""
    end = time.monotonic() + seconds
    for batch in itertools.count(seed):
        if time.monotonic() > end:
            return
        summary = fleet_files.fuzz(200, batch)
        lane.cases += summary.accepted + summary.refused
        lane.refused += summary.refused
        lane.slowest_seconds = max(lane.slowest_seconds, summary.slowest_seconds)
        lane.findings += [f"fleet files: {fault}" for fault in summary.faults]


# The two halves run in parallel. The numbers are each lane's share of the time.
HALVES: tuple[tuple[tuple[str, Callable[[Lane, float, int], None], float], ...], ...] = (
    (("models", hostile_models, 0.75), ("archives", hostile_archives, 0.25)),
    (
        ("payloads", hostile_payloads, 0.4),
        ("http", http, 0.25),
        ("callers", callers, 0.15),
        ("fleet files", fleets, 0.2),
    ),
)


def run_half(half: int, seconds: float, seed: int, results: "Queue[dict[str, Any]]") -> None:
    """Run the lanes of one half, one after the other; each result is put as JSON-ready data."""
    for name, lane_function, share in HALVES[half]:
        lane = Lane(name)
        try:
            lane_function(lane, share * seconds, seed)
        except Exception as error:
            lane.finding("the lane itself", repr(error))
        results.put(asdict(lane))


def _until(cases: Iterator[Any], seconds: float) -> Iterator[Any]:
    end = time.monotonic() + seconds
    for case in cases:
        if time.monotonic() > end:
            return
        yield case


def _alternately(*many: Iterator[Any]) -> Iterator[Any]:
    """One of each in turn, until the first ends."""
    for cases in zip(*many, strict=False):
        yield from cases
