"""Starts and stops the stand-in's process, from Python.

Example:
    with start(Path(".local-cloud")) as cloud:
        cloud.client("s3").create_bucket(...)
"""

import contextlib
import fcntl
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import boto3
import botocore.session
from botocore.config import Config

from local_cloud.data_plane.settings import SettingsError, from_options

_STATE_FILE = "local-cloud.json"
_LOG_FILE = "local-cloud.log"
_SECRET_KEY = "local"  # noqa: S105 - loopback only, no secret
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_REPOSITORY = Path(__file__).resolve().parents[1]


class NotRunningError(RuntimeError):
    """No stand-in answers for this state directory."""


@dataclass
class LocalCloud:
    endpoint_url: str
    region: str
    account: str
    state_dir: Path
    pid: int
    _process: "subprocess.Popen[str] | None" = None

    def client(
        self,
        service: str,
        access_key: str | None = None,
        secret_key: str = _SECRET_KEY,
        *,
        region: str | None = None,
    ) -> Any:
        """An unmodified boto3 client; a 12-digit access key is the account it belongs to."""
        return self._session.client(
            service,
            region_name=region or self.region,
            endpoint_url=self.endpoint_url,
            aws_access_key_id=access_key or self.account,
            aws_secret_access_key=secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )

    def session(self, account: str, *, region: str) -> boto3.Session:
        """Of an account, without the user's own profile and configuration: they may neither fail nor steer a call."""
        variables = {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
        own = botocore.session.Session(session_vars=variables)
        return boto3.Session(account, _SECRET_KEY, region_name=region, botocore_session=own)

    @functools.cached_property
    def _session(self) -> boto3.Session:
        return self.session(self.account, region=self.region)

    def admin(self, name: str, request: dict[str, Any] | None = None) -> Any:
        """Call one of the stand-in's own paths: GET without a request, POST with one."""
        data = None if request is None else json.dumps(request).encode()
        url = f"{self.endpoint_url}/_tierfleet/{name}"
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=60) as answer:  # noqa: S310
            return json.loads(answer.read())

    def stop(self) -> None:
        """Leave nothing behind: no process, no port, no file."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            _close_pipes(self._process)
        else:
            _terminate(self.pid)
        _kill_group(self.pid)
        _remove_files(self.state_dir)

    def __enter__(self) -> "LocalCloud":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def start(
    state_dir: Path,
    *,
    account: str = "000000000000",
    region: str = "eu-west-1",
    port: int = 0,
    enforce_iam: bool = False,
    detached: bool = False,
    serving: Literal["constant", "models"] = "constant",
    **settings: Any,
) -> LocalCloud:
    """Start the stand-in and wait until it answers.

    It ends with this process, even when that crashes. A `detached` one ends by `running(state_dir).stop()`.
    Endpoints answer a constant, or are served by real instances; `settings` are those of
    `data_plane.settings.DataPlaneSettings`, for example scale=0.01. Raises SettingsError for wrong ones.
    """
    if settings and serving == "constant":
        raise SettingsError(f"a stand-in that runs no model has no settings; leave {', '.join(sorted(settings))} out")
    data_plane = from_options(settings)
    state_dir = state_dir.resolve()
    command = [sys.executable, "-m", "local_cloud.server", "--state-dir", str(state_dir), "--port", str(port)]
    command += ["--account", account, "--region", region]
    command += ["--enforce-iam"] * enforce_iam + ["--watch-parent"] * (not detached)
    command += ["--data-plane", data_plane.to_json()] * (serving == "models")
    with _starting_alone(state_dir):
        with (state_dir / _LOG_FILE).open("w") as log:
            process = subprocess.Popen(
                command,
                cwd=_REPOSITORY,
                stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            bound_port = _wait_until_ready(process, state_dir)
            cloud = LocalCloud(f"http://127.0.0.1:{bound_port}", region, account, state_dir, process.pid, process)
            state = {"endpoint_url": cloud.endpoint_url, "region": region, "account": account, "pid": process.pid}
            (state_dir / _STATE_FILE).write_text(json.dumps(state))
        except BaseException:
            # Ctrl-C too: nobody would know of this process.
            _kill_group(process.pid)
            process.wait()
            _close_pipes(process)
            _remove_files(state_dir)
            raise
    return cloud


@contextlib.contextmanager
def _starting_alone(state_dir: Path) -> Iterator[None]:
    """Of two that start a stand-in in one directory at once, one goes on; raises RuntimeError for the other one."""
    state_dir.mkdir(parents=True, exist_ok=True)
    directory = os.open(state_dir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"a stand-in is being started in {state_dir} right now; wait for it") from None
        with contextlib.suppress(NotRunningError):
            raise RuntimeError(
                f"the stand-in of {state_dir} is already running at {running(state_dir).endpoint_url}; use it, or stop "
                "it first with tierfleet local down"
            )
        state_dir.mkdir(exist_ok=True)  # what a crashed one left is gone now, the directory too
        yield
    finally:
        os.close(directory)


def running(state_dir: Path) -> LocalCloud:
    """The stand-in that was started with this state directory, by this process or another."""
    state_file = state_dir.resolve() / _STATE_FILE
    if not state_file.exists():
        raise NotRunningError(f"no stand-in was started in {state_dir}")
    state = json.loads(state_file.read_text())
    cloud = LocalCloud(state["endpoint_url"], state["region"], state["account"], state_dir.resolve(), state["pid"])
    try:
        alive = cloud.admin("health")["pid"] == cloud.pid
    except TimeoutError:
        raise NotRunningError(
            f"the stand-in of {state_dir}, process {cloud.pid}, does not answer; kill that process if it stays so"
        ) from None
    except (OSError, ValueError, KeyError):
        alive = False
    if not alive:
        _remove_files(state_dir.resolve())
        raise NotRunningError(f"the stand-in of {state_dir} is gone")
    return cloud


def _wait_until_ready(process: "subprocess.Popen[str]", state_dir: Path) -> int:
    """The port it listens on, which is its first line of output."""
    late = threading.Timer(_START_SECONDS, process.kill)
    late.start()
    try:
        line = process.stdout.readline() if process.stdout else ""
    finally:
        late.cancel()
    if line:
        return int(json.loads(line)["port"])
    process.wait()
    log = (state_dir / _LOG_FILE).read_text()[-2000:]
    raise RuntimeError(f"the stand-in ended with {process.returncode} before it was ready:\n{log}")


def _close_pipes(process: "subprocess.Popen[str]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _terminate(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)


def _kill_group(pid: int) -> None:
    """The stand-in leads its own process group, so this reaches its Lambda workers and nothing else."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _remove_files(state_dir: Path) -> None:
    for name in (_STATE_FILE, _LOG_FILE):
        (state_dir / name).unlink(missing_ok=True)
    shutil.rmtree(state_dir / "scratch", ignore_errors=True)
    with contextlib.suppress(OSError):
        state_dir.rmdir()
