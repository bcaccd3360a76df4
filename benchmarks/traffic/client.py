"""One client process of `traffic`: sends at random moments, by FleetClient or the Node caller, and writes records.

Started by `traffic` with a file of instructions. It says "ready", sends from the first line of standard input to
its end, waits for the calls under way, and ends. Needs boto3, tierfleet.runtime and the standard library.
"""

import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Protocol

from tierfleet.runtime import metrics
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.settings import ClientSettings

# Calls under way at once, far above what an open loop at these rates needs.
MOST_CALLS = 64

Done = Callable[[dict[str, Any]], None]


class Caller(Protocol):
    def send(self, tenant: str, body: str, done: Done) -> None:
        """Return at once; `done` is called with what is known of the reply, from any thread."""

    def end(self) -> dict[str, int]:
        """Wait for the calls under way; how many route errors and fallbacks there were."""


class PythonCaller:
    def __init__(self, fleet: dict[str, Any], deadline_seconds: float) -> None:
        self._counts = {metrics.ROUTE_ERRORS: 0, metrics.ROUTE_FALLBACK: 0}
        self._client = FleetClient(
            fleet["fleet"],
            fleet["environment"],
            region=fleet["region"],
            account=fleet["account"],
            settings=ClientSettings(
                deadline_seconds=deadline_seconds, connections=MOST_CALLS, calls_per_tenant=MOST_CALLS
            ),
            emit=self._count,
        )
        self._pool = ThreadPoolExecutor(MOST_CALLS)

    def send(self, tenant: str, body: str, done: Done) -> None:
        self._pool.submit(self._call, tenant, body.encode(), done)

    def end(self) -> dict[str, int]:
        self._pool.shutdown()
        self._client.close()
        return self._counts

    def _call(self, tenant: str, body: bytes, done: Done) -> None:
        try:
            reply = self._client.invoke(tenant, body)
            done(
                {
                    "predictions": reply.predictions,
                    "tier": reply.tier,
                    "endpoint": reply.endpoint,
                    "version": reply.model_version,
                    "attempts": reply.attempts,
                }
            )
        except Exception as error:
            # Whatever it is, the call was not answered, and no record may be missing.
            done({"error": f"{type(error).__name__}: {error}"})

    def _count(self, line: str) -> None:
        values = json.loads(line)
        for name in self._counts:
            self._counts[name] += int(values.get(name, 0))


class NodeCaller:
    def __init__(self, program: str, fleet: dict[str, Any], deadline_seconds: float) -> None:
        options = {key: value for key, value in fleet.items() if value is not None}
        self._process = subprocess.Popen(
            ["node", program, json.dumps({**options, "deadlineSeconds": deadline_seconds})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        self._next_id = 0
        self._under_way: dict[int, Done] = {}
        self._counts = {metrics.ROUTE_ERRORS: 0, metrics.ROUTE_FALLBACK: 0}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, tenant: str, body: str, done: Done) -> None:
        with self._lock:
            self._next_id += 1
            self._under_way[self._next_id] = done
            question = {"id": self._next_id, "tenant": tenant, "body": body}
        _pipe(self._process.stdin).write(json.dumps(question) + "\n")
        _pipe(self._process.stdin).flush()

    def end(self) -> dict[str, int]:
        _pipe(self._process.stdin).close()
        self._reader.join()
        if self._process.wait() != 0 or self._under_way:
            raise RuntimeError(f"node ended with {self._process.returncode}, {len(self._under_way)} calls unanswered")
        return self._counts

    def _read(self) -> None:
        for line in _pipe(self._process.stdout):
            answer = json.loads(line)
            with self._lock:
                done = self._under_way.pop(answer["id"])
            # Running totals of the process; replies come in any order.
            for name, field in ((metrics.ROUTE_ERRORS, "routeErrors"), (metrics.ROUTE_FALLBACK, "routeFallback")):
                self._counts[name] = max(self._counts[name], answer.get(field, 0))
            if "error" in answer:
                done({"error": answer["error"]})
            else:
                done({name: answer[name] for name in ("predictions", "tier", "endpoint", "version")})


class Records:
    """A line of JSON per call, in the order the calls ended."""

    def __init__(self, file: Path) -> None:
        self._stream = file.open("w", buffering=1 << 16)
        self._lock = threading.Lock()

    def write(self, record: dict[str, Any]) -> None:
        line = json.dumps(record) + "\n"
        with self._lock:
            self._stream.write(line)

    def flush(self) -> None:
        with self._lock:
            self._stream.flush()

    def close(self) -> None:
        self._stream.close()


def drive(instructions: dict[str, Any], caller: Caller, records: Records, stopped: threading.Event) -> int:
    """Send at exponentially spaced moments until stopped; how many calls were sent."""
    draw = random.Random(instructions["seed"])  # noqa: S311 - traffic, no secret
    tenants = instructions["tenants"]
    weights = [tenant["weight"] for tenant in tenants]
    due, flushed = time.perf_counter(), time.perf_counter()
    wall_offset = time.time() - time.perf_counter()
    for sent in itertools.count():
        due += draw.expovariate(instructions["requests_per_second"])
        if stopped.wait(max(0.0, due - time.perf_counter())):
            return sent
        tenant = draw.choices(tenants, weights)[0]
        body = draw.randrange(len(tenant["bodies"]))
        late_seconds = time.perf_counter() - due
        call = {
            "due": due + wall_offset,
            "tenant": tenant["name"],
            "body": body,
            "late_seconds": round(late_seconds, 6),
        }
        caller.send(tenant["name"], tenant["bodies"][body], _recorder(call, due, records))
        if time.perf_counter() - flushed > 1:
            records.flush()
            flushed = time.perf_counter()
    raise AssertionError


def _recorder(call: dict[str, Any], due: float, records: Records) -> Done:
    def done(outcome: dict[str, Any]) -> None:
        records.write({**call, "latency_seconds": round(time.perf_counter() - due, 6), **outcome})

    return done


def _pipe(stream: "IO[str] | None") -> "IO[str]":
    assert stream is not None
    return stream


def main() -> int:
    instructions = json.loads(Path(sys.argv[1]).read_text())
    fleet, deadline_seconds = instructions["fleet"], instructions["deadline_seconds"]
    caller: Caller
    if instructions["node"]:
        caller = NodeCaller(instructions["node"], fleet, deadline_seconds)
    else:
        caller = PythonCaller(fleet, deadline_seconds)
    records = Records(Path(instructions["records"]))
    print("ready", flush=True)
    stopped = threading.Event()
    sent = 0
    if sys.stdin.readline():

        def wait_for_the_end() -> None:
            # The end of standard input stops it, also when whoever started it is gone.
            sys.stdin.read()
            stopped.set()

        threading.Thread(target=wait_for_the_end, daemon=True).start()
        sent = drive(instructions, caller, records, stopped)
    counts = caller.end()
    records.write({"counts": counts, "sent": sent})
    records.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
