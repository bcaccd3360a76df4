"""The server that calibration measures: a process of its own on loopback, its client, and its memory."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tierfleet.errors import InputError

START_SECONDS = 60.0


class CalibrationServer:
    """A running server. ask, load and answer_row raise InputError with its sentence where it refuses."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.pid = process.pid
        self._process = process
        self._port = port
        self._connection: http.client.HTTPConnection | None = None
        self._row: dict[str, bytes] = {}

    def ask(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> tuple[int, bytes]:
        """One request on the kept connection."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            self._connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
            reply = self._connection.getresponse()
            return reply.status, reply.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def load(self, name: str, directory: Path) -> float:
        """Seconds of a LOAD."""
        body = json.dumps({"model_name": name, "url": str(directory)}).encode()
        started = time.perf_counter()
        status, reply = self.ask("POST", "/models", body, "application/json")
        seconds = time.perf_counter() - started
        if status != 200:
            raise InputError(f"the server does not load {directory}: {_sentence(reply)}")
        features = json.loads(self.ask("GET", f"/models/{name}")[1])["features"]
        self._row[name] = b",".join([b"0"] * features)
        return seconds

    def answer_row(self, name: str) -> float:
        """Seconds of one row of zeros."""
        started = time.perf_counter()
        status, reply = self.ask("POST", f"/models/{name}/invoke", self._row[name], "text/csv")
        if status != 200:
            raise InputError(f"the server does not answer a row of zeros: {_sentence(reply)}")
        return time.perf_counter() - started

    def wait(self, log: Path) -> None:
        """Until it answers its ping."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/ping")[0] == 200:
                    return
            time.sleep(0.05)
        said = log.read_text(errors="replace")[-500:].strip() or "it says nothing"
        raise InputError(
            f"python -m tierfleet_server does not start: {said}; install what requirements-container.txt lists"
        )

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextlib.contextmanager
def calibration_server(scratch: Path) -> Iterator[CalibrationServer]:
    """`python -m tierfleet_server` on loopback, its log in `scratch`; stopped at the end."""
    rollup = Path("/proc/self/smaps_rollup")
    if not rollup.exists() or "Pss_Anon:" not in rollup.read_text():
        raise InputError("memory is Pss_Anon of /proc/<pid>/smaps_rollup; calibrate on Linux 5.4 or later")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = scratch / "server.log"
    settings = {
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "30",
        # The server loads any directory that it is asked for: only this machine may ask.
        "TIERFLEET_BIND_HOST": "127.0.0.1",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tierfleet_server"],
            stdout=out,
            stderr=subprocess.STDOUT,
            # A group of its own, so that the processes that it starts end with it.
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **settings},
        )
    server = CalibrationServer(process, port)
    try:
        server.wait(log)
        yield server
    finally:
        server.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _sentence(reply: bytes) -> str:
    try:
        return str(json.loads(reply)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return reply[:200].decode(errors="replace")


def pss_mib(pid: int) -> float:
    """PSS of a process and all its descendants, files left out.

    The libraries are shared: what a process has of them changes when another server starts or ends.
    """
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    total, left = 0, [pid]
    while left:
        process = left.pop()
        left += children.get(process, [])
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return total / 1024
