"""The servers that are compared: ours, ours behind uvicorn, multi-model-server, and bare echoes."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build" / "model-server"
PEER_PACKAGES = [
    "multi-model-server==1.1.11", "sagemaker-inference==1.10.1", "xgboost-cpu==3.0.5", "numpy==2.4.6",
    "scipy==1.17.1", "setuptools<81",
]  # fmt: skip
STACK_PACKAGES = ["uvicorn==0.54.0"]


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for one run, on the disk of the models: /tmp may be in memory."""
    BUILD.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=BUILD)


def python_with(name: str, packages: list[str], *, system_site: bool = False) -> Path:
    """The interpreter of a virtual environment that holds these packages, made on first use."""
    directory = BUILD / name
    python = directory / "bin" / "python"
    marker = directory / "packages"
    if not marker.exists() or marker.read_text() != "\n".join(packages):
        shutil.rmtree(directory, ignore_errors=True)
        venv.create(directory, with_pip=True, system_site_packages=system_site)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        marker.write_text("\n".join(packages))
    return python


def free_port() -> int:
    """A port of the loopback interface that is free; multi-model-server takes none above 32767."""
    for port in range(20_000 + os.getpid() % 5_000, 32_767):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port below 32767")


class Process:
    """A server process on loopback, with a plain client and the memory of its whole process tree.

    `content_type` is what its rows are sent as: the toolkit in the peer answers 500 to text/csv.
    """

    content_type = "text/csv"

    def __init__(self, command: list[str], environment: dict[str, str], port: int, directory: Path) -> None:
        self.port = port
        directory.mkdir(parents=True, exist_ok=True)
        self._log = (directory / "log").open("wb")
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, cwd=directory, process_group=0,
            env={"PATH": os.environ["PATH"], "HOME": str(directory), **environment},
        )  # fmt: skip
        with contextlib.suppress(OSError):
            # Linux groups processes by session, and between groups no priority of a thread counts. So the server stays
            # in the bench's session, as all threads of a container are in one group. That group comes before all else.
            Path("/proc/self/autogroup").write_text("-19")
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.ask("GET", "/ping")[0] == 200:
                    return
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{command[0]} did not start: {(directory / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def ask(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> tuple[int, bytes]:
        """One request on a connection of its own: status and body."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)) as connection:
            connection.request(method, path, body, {"content-type": content_type} if content_type else {})
            reply = connection.getresponse()
            return reply.status, reply.read()

    def load(self, name: str, directory: Path) -> float:
        """LOAD a model and send nothing else: the seconds it took."""
        started = time.perf_counter()
        body = json.dumps({"model_name": name, "url": str(directory)}).encode()
        status, reply = self.ask("POST", "/models", body, "application/json")
        if status != 200:
            raise RuntimeError(f"load of {name}: {status} {reply[:300]!r}")
        return time.perf_counter() - started

    def invoke(self, name: str, row: bytes) -> tuple[int, bytes]:
        """One csv row."""
        return self.ask("POST", f"/models/{name}/invoke", row, self.content_type)

    def _tree(self) -> set[int]:
        """The process and all its descendants."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError):
                    parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        tree, grew = {self._process.pid}, True
        while grew:
            grew = False
            for child, parent in parents.items():
                if parent in tree and child not in tree:
                    tree.add(child)
                    grew = True
        return tree

    def cpu_seconds(self) -> float:
        """Processor time that the process tree's living threads have used, whatever else ran meanwhile."""
        total = 0
        for pid in self._tree():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    total += int((thread / "schedstat").read_text().split()[0])
        return total / 1e9

    def ticks(self) -> int:
        """Clock ticks of processor time that the process tree has used, ended children included."""
        total = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += sum(map(int, fields[11:15]))  # user and system, then those of ended children
        return total

    def memory_mib(self) -> float:
        """PSS of the process tree."""
        total = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return total / 1024

    def metric(self, name: str) -> float:
        """One value of /metrics; ours only."""
        text = self.ask("GET", "/metrics")[1].decode()
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"tierfleet_{name} "))

    def stop(self) -> None:
        """End the process and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        self._log.close()


class Kept:
    """A persistent connection to a server, as SageMaker has one."""

    def __init__(self, server: Process) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)

    def load_and_unload(self, name: str, directory: Path) -> float:
        """LOAD and UNLOAD a model: seconds of the LOAD. Raises RuntimeError if one is refused."""
        body = json.dumps({"model_name": name, "url": str(directory)})
        started = time.perf_counter()
        self._ask("POST", "/models", body)
        taken = time.perf_counter() - started
        self._ask("DELETE", f"/models/{name}", None)
        return taken

    def _ask(self, method: str, path: str, body: str | None) -> None:
        self._connection.request(method, path, body)
        reply = self._connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{method} {path}: {reply.status} {text[:300]!r}")


class OtherWork:
    """Processor time of the machine that neither this process, nor what it started, nor `servers` used.

    Latency percentiles mean something only while that is next to nothing. Time in interrupts is left out, because
    nothing says whose it is.
    """

    def __init__(self, servers: list[Process]) -> None:
        self._servers = servers
        self._started, self._others = time.monotonic(), self._seconds()

    def _seconds(self) -> float:
        user, nice, system, _, _, _, _, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
        tick = os.sysconf("SC_CLK_TCK")
        own = sum(os.times()[:4]) + sum(server.ticks() for server in self._servers) / tick
        return (user + nice + system + steal) / tick - own

    def share(self) -> float:
        """Processors that others used on average since this object was made; 0.05 is a twentieth of one."""
        return max(0.0, self._seconds() - self._others) / (time.monotonic() - self._started)


@contextlib.contextmanager
def running(process: Process) -> Iterator[Process]:
    """The process, stopped at the end."""
    try:
        yield process
    finally:
        process.stop()


def ours(**environment: str) -> Process:
    """The dense model server as it ships."""
    port = free_port()
    return Process(
        [sys.executable, "-m", "tierfleet_server"],
        {
            "PYTHONPATH": str(ROOT / "container"), "SAGEMAKER_MULTI_MODEL": "true",
            "TIERFLEET_BIND_HOST": "127.0.0.1",
            "SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_CONTAINER_LOG_LEVEL": "30", **environment,
        },
        port,
        BUILD / "ours",
    )  # fmt: skip


def behind_asgi() -> Process:
    """The same contract and store behind uvicorn's raw ASGI, for the choice of the HTTP stack."""
    python = python_with("stack", STACK_PACKAGES)
    port = free_port()
    site = ":".join(path for path in sys.path if path.endswith("site-packages"))
    return Process(
        [str(python), str(Path(__file__).with_name("asgi.py")), str(port)],
        {"PYTHONPATH": f"{ROOT / 'container'}:{site}"},
        port,
        BUILD / "asgi",
    )


def echo(kind: str) -> Process:
    """A server that answers every request alike: `httptools` is the fastest there is, `asgi` is uvicorn."""
    python = python_with("stack", STACK_PACKAGES)
    port = free_port()
    site = ":".join(path for path in sys.path if path.endswith("site-packages"))
    script = str(Path(__file__).with_name("echo.py"))
    return Process([str(python), script, kind, str(port)], {"PYTHONPATH": site}, port, BUILD / f"echo-{kind}")


_HANDLER = """
import os
import numpy as np
import xgboost as xgb
from sagemaker_inference import content_types, decoder, default_inference_handler, encoder
from sagemaker_inference.default_handler_service import DefaultHandlerService
from sagemaker_inference.transformer import Transformer


class HandlerService(DefaultHandlerService):
    def __init__(self):
        class Inference(default_inference_handler.DefaultInferenceHandler):
            def default_model_fn(self, model_dir, context=None):
                booster = xgb.Booster({"nthread": 1})
                booster.load_model(os.path.join(model_dir, "model.ubj"))
                return booster

            def default_input_fn(self, input_data, content_type, context=None):
                if isinstance(input_data, (bytes, bytearray)):
                    input_data = input_data.decode()
                return np.array([row.split(",") for row in input_data.strip().split("\\n")], dtype=np.float32)

            def default_predict_fn(self, data, model, context=None):
                return model.predict(xgb.DMatrix(data))

            def default_output_fn(self, prediction, accept, context=None):
                return "\\n".join(map(repr, prediction.tolist())).encode()

        super().__init__(transformer=Transformer(default_inference_handler=Inference()))
"""


def peer() -> Process:
    """multi-model-server 1.1.11, sagemaker-inference 1.10.1 and an XGBoost handler: a worker a model."""
    python = python_with("peer", PEER_PACKAGES)
    directory = BUILD / "peer-run"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "handler_service.py").write_text(_HANDLER)
    port = free_port()  # one address serves predictions and management, as in SageMaker
    (directory / "config.properties").write_text(
        f"inference_address=http://127.0.0.1:{port}\nmanagement_address=http://127.0.0.1:{port}\n"
        "model_store=/\nload_models=\ndefault_workers_per_model=1\nenable_multi_model=true\n"
        f"default_service_handler={directory}/handler_service.py:handle\n"
    )
    server = Process(
        [
            str(python.parent / "multi-model-server"), "--start", "--foreground", "--mms-config",
            str(directory / "config.properties"),
        ],
        {
            "PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONPATH": str(directory),
            "TMPDIR": str(directory),
            "TEMP": str(directory), "LOG_LOCATION": str(directory), "METRICS_LOCATION": str(directory),
            "OMP_NUM_THREADS": "1", "SAGEMAKER_MULTI_MODEL": "true",
        },
        port,
        directory,
    )  # fmt: skip
    server.content_type = "application/octet-stream"
    return server
