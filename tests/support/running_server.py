"""A server in a process of its own, and a plain HTTP client for it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]


class Answer(NamedTuple):
    """Status, content type and body of a reply."""

    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One kept connection to a server on the loopback interface."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection that is kept."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            self._connection.request(method, path, body, headers or {})
            reply = self._connection.getresponse()
            return Answer(reply.status, reply.headers.get("content-type", ""), reply.read())
        except BaseException:
            self._connection.close()
            self._connection = None
            raise

    def load(self, name: str, url: Path | str) -> Answer:
        """SageMaker's LOAD."""
        return self.ask("POST", "/models", json.dumps({"model_name": name, "url": str(url)}).encode())

    def unload(self, name: str) -> Answer:
        """SageMaker's UNLOAD."""
        return self.ask("DELETE", f"/models/{quote(name, safe='')}")

    def invoke(self, name: str, body: bytes, content_type: str = "text/csv", accept: str = "") -> Answer:
        """SageMaker's INVOKE."""
        headers = {"Content-Type": content_type, **({"Accept": accept} if accept else {})}
        return self.ask("POST", f"/models/{quote(name, safe='')}/invoke", body, headers)

    def metric(self, name: str) -> float:
        """The value of one sample of /metrics, its name given with labels."""
        for line in self.ask("GET", "/metrics").body.decode().splitlines():
            if line.startswith(f"tierfleet_{name} "):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {name}")

    def socket(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), 120)


def hold_free_port() -> socket.socket:
    """A socket on a free port of the loopback interface that no other process gets while it is open.

    A server that reuses addresses, as servers do, may listen on it all the same (Linux).
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


class RunningServer(Client):
    """`python -m tierfleet_server` on a free port of the loopback interface."""

    def __init__(self, environment: dict[str, str], log: Path, *, command: list[str] | None = None) -> None:
        with hold_free_port() as holder:
            super().__init__(holder.getsockname()[1])
            self.log = log
            with log.open("wb") as out:
                self.process = subprocess.Popen(
                    command or [sys.executable, "-m", "tierfleet_server"],
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env={
                        "PATH": os.environ["PATH"],
                        "PYTHONPATH": str(ROOT / "container"),
                        "TIERFLEET_BIND_HOST": "127.0.0.1",
                        "SAGEMAKER_BIND_TO_PORT": str(self.port),
                        **environment,
                    },
                )
            self._wait_until_it_listens()

    def wait(self, seconds: float = 120) -> int:
        """The exit code, once the process has ended."""
        return self.process.wait(seconds)

    def _wait_until_it_listens(self) -> None:
        """Or has ended."""
        deadline = time.monotonic() + 120
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)

    def terminate(self) -> None:
        """SIGTERM, as the platform sends it."""
        self.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End the process for good."""
        super().close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(120)

    def log_lines(self) -> list[dict[str, Any]]:
        """What it logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
