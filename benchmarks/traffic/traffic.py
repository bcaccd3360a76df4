"""Open-loop traffic over a fleet from several client processes; each prediction is compared with the model's own.

    plan = Plan(fleet="fraud", environment="dev", region="eu-west-1", requests_per_second=200, tenants=(...,))
    running = start(plan, clients=(this_python(), next_boto3_python(), node()), directory=..., environment=...)
    running.phase("promote m07")       # what is called from here on counts under this name too
    running.versions("m07", "v2", "v3")  # from here on a reply of either is right
    summary = running.stop()

The first phase, "start", has the clients' own first calls in it: begin one of your own once they are through. Requests
come at random moments, as from many independent callers, and never wait for a reply; a latency runs from the
moment the request was due, so that a client that falls behind shows.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal

from benchmarks.traffic.summary import Expected, Summary, Versions, summarise

ROOT: Final = Path(__file__).resolve().parents[2]
READY_SECONDS: Final = 30.0
# Beyond a call's own deadline, for the process to write its last records.
END_SECONDS: Final = 10.0
_WORKER: Final = "benchmarks.traffic.client"


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """weight: its share of the requests. bodies: `text/csv` rows to send, drawn evenly. versions: right from the start.
    expected: version to the predictions of each body."""

    name: str
    weight: float
    bodies: tuple[str, ...]
    versions: tuple[str, ...]
    expected: Mapping[str, tuple[tuple[float, ...], ...]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """account: None leaves it to the routes. call_deadline_seconds: a call that takes longer has failed.
    tolerance: of a prediction, absolute. seed: of moments and tenants; the same seed sends the same requests."""

    fleet: str
    environment: str
    region: str
    requests_per_second: float
    tenants: tuple[Tenant, ...]
    account: str | None = None
    call_deadline_seconds: float = 10.0
    tolerance: float = 1e-6
    seed: int = 1


@dataclass(frozen=True)
class Client:
    """One client process. program: the Python interpreter, or the Node caller's file."""

    name: str
    kind: Literal["python", "node"]
    program: Path


def this_python() -> Client:
    """FleetClient on the project's boto3."""
    return Client("python", "python", Path(sys.executable))


def next_boto3_python() -> Client:
    """FleetClient on the next boto3 line. Raises FileNotFoundError without its environment."""
    program = ROOT / ".build" / "boto3-next" / "bin" / "python"
    if not program.exists():
        raise FileNotFoundError(f"{program} is missing; run make test-boto3-next")
    return Client("python-boto3-next", "python", program)


def node() -> Client:
    """The caller written from docs/calling.md. Raises FileNotFoundError without Node or its packages."""
    example = ROOT / "examples" / "node"
    if shutil.which("node") is None or not (example / "node_modules").is_dir():
        raise FileNotFoundError("Node or examples/node/node_modules is missing; run make install")
    return Client("node", "node", example / "caller.mjs")


class Running:
    """Traffic under way; `stop` must be called. Use it as a context manager to be sure that no process stays."""

    def __init__(self, plan: Plan, processes: "dict[str, subprocess.Popen[str]]", directory: Path) -> None:
        self._plan = plan
        self._processes = processes
        self._directory = directory
        self._versions = [Versions(0.0, tenant.name, frozenset(tenant.versions)) for tenant in plan.tenants]
        self._phases = [(time.time(), "start")]
        self._stopped: float | None = None

    def versions(self, tenant: str, *versions: str) -> None:
        """From now on these are right for the tenant. A call is right if one of them was at any moment of it, so name
        both while they change, until callers have let go of the old one (a pointer's TTL)."""
        self._versions.append(Versions(time.time(), tenant, frozenset(versions)))

    def phase(self, name: str) -> None:
        """Calls that are due from now on belong to this phase, until the next."""
        self._phases.append((time.time(), name))

    def died(self) -> list[str]:
        """Clients whose process ended by itself."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def stop(self) -> Summary:
        """Send no more, wait for the calls under way, and sum up all records.

        Raises RuntimeError if a client's process failed: its calls are not all known.
        """
        died = self.died()
        failed = {name: code for name, code in self._end().items() if code != 0 or name in died}
        if failed:
            logs = "\n".join(f"{name} ended with {code}: {self._log(name)}" for name, code in failed.items())
            raise RuntimeError(f"the traffic is not complete: {logs}")
        expected = [Expected(tenant.name, tenant.expected) for tenant in self._plan.tenants]
        files = {name: records_file(self._directory, name) for name in self._processes}
        return summarise(
            files,
            expected=expected,
            versions=self._versions,
            phases=self._phases,
            ended=self._stopped or time.time(),
            tolerance=self._plan.tolerance,
        )

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> dict[str, int | None]:
        if self._stopped is None:
            self._stopped = time.time()
        for process in self._processes.values():
            if process.stdin is not None and not process.stdin.closed:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        give_up = time.monotonic() + self._plan.call_deadline_seconds + END_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(0.0, give_up - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        return {name: process.returncode for name, process in self._processes.items()}

    def _log(self, name: str) -> str:
        return log_file(self._directory, name).read_text()[-2000:]


def start(plan: Plan, *, clients: Sequence[Client], directory: Path, environment: Mapping[str, str]) -> Running:
    """Start the client processes, wait until all are ready, and send.

    directory: for each client's records (`<client>.jsonl`, a line per call) and log; it must exist.
    environment: credentials and AWS_ENDPOINT_URL, where the fleet is not on AWS; the caller's own AWS_ variables are
    not passed on. Raises RuntimeError if a process does not become ready.
    """
    processes: dict[str, subprocess.Popen[str]] = {}
    running = Running(plan, processes, directory)
    try:
        for number, client in enumerate(clients):
            processes[client.name] = _launch(plan, client, number, len(clients), directory, environment)
        for name, process in processes.items():
            if _line(process.stdout) != "ready":
                raise RuntimeError(f"client {name} is not ready: {log_file(directory, name).read_text()[-2000:]}")
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    except BaseException:
        running._end()
        raise
    running._phases = [(time.time(), "start")]
    return running


def records_file(directory: Path, client: str) -> Path:
    return directory / f"{client}.jsonl"


def log_file(directory: Path, client: str) -> Path:
    return directory / f"{client}.log"


def _launch(
    plan: Plan, client: Client, number: int, clients: int, directory: Path, environment: Mapping[str, str]
) -> "subprocess.Popen[str]":
    own = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    instructions: dict[str, Any] = {
        "fleet": {"fleet": plan.fleet, "environment": plan.environment, "region": plan.region, "account": plan.account},
        "requests_per_second": plan.requests_per_second / clients,
        "deadline_seconds": plan.call_deadline_seconds,
        "seed": plan.seed * 1000 + number,
        "tenants": [{k: v for k, v in asdict(t).items() if k in {"name", "weight", "bodies"}} for t in plan.tenants],
        "records": str(records_file(directory, client.name)),
        "node": str(client.program) if client.kind == "node" else None,
    }
    file = directory / f"{client.name}.json"
    file.write_text(json.dumps(instructions))
    interpreter = client.program if client.kind == "python" else Path(sys.executable)
    with log_file(directory, client.name).open("w") as log:
        return subprocess.Popen(
            [str(interpreter), "-m", _WORKER, str(file)],
            env={**own, **environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _line(stream: IO[str] | None) -> str:
    """The next line, or what came until READY_SECONDS had passed."""
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(stream.readline() if stream else ""), daemon=True)
    reader.start()
    reader.join(READY_SECONDS)
    return lines[0].strip() if lines else ""
