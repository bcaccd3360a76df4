"""Starts and stops the local emulator's process, from Python.

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal

import boto3
import botocore.session
from botocore.config import Config

from local_cloud.core.disk_problems import DiskError, disk_problems_named
from local_cloud.core.early_start import DEFAULT, EarlyStart, check
from local_cloud.core.state_file import State
from local_cloud.data_plane.settings import SettingsError, from_options
from local_cloud.host.admin_client import ask

_LOG_FILE = "local-cloud.log"
_SECRET_KEY = "local"  # noqa: S105 - loopback only, no secret
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_HEALTH_SECONDS = 10.0
_REPOSITORY = Path(__file__).resolve().parents[2]


class NotRunningError(RuntimeError):
    """No local emulator answers for this state directory."""


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
        """A session of an account that ignores the user's own profile and configuration."""
        variables = {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
        own = botocore.session.Session(session_vars=variables)
        return boto3.Session(account, _SECRET_KEY, region_name=region, botocore_session=own)

    @functools.cached_property
    def _session(self) -> boto3.Session:
        return self.session(self.account, region=self.region)

    def admin(self, name: str, request: dict[str, Any] | None = None, *, seconds: float = 60.0) -> Any:
        """Call one of the local emulator's own paths: GET without a request, POST with one.

        Raises HTTPError for what it refuses, TimeoutError where the answer is not whole by then, ConnectionError where
        there is none or no answer of a local emulator's.
        """
        return ask(f"{self.endpoint_url}/_tierfleet/{name}", request, seconds=seconds)

    def problem(self) -> str | None:
        """Why it cannot answer, as a sentence that says what to do; None if it answers. It takes 10 s at most."""
        state = self._state
        if not state.runs(self.state_dir):
            return f"the local emulator of {self.state_dir} is gone; start it with tierfleet local up"
        if state.stopped():
            return (
                f"the local emulator of {self.state_dir}, process {self.pid}, is stopped; continue it with kill -CONT "
                f"{self.pid}, or end it with tierfleet local down"
            )
        try:
            if self.admin("health", seconds=_HEALTH_SECONDS)["pid"] == self.pid:
                return None
        except (OSError, LookupError, TypeError) as error:
            if not state.runs(self.state_dir):
                return f"the local emulator of {self.state_dir} is gone; start it with tierfleet local up"
            why = f" ({error})" if str(error) else ""
        else:
            why = " (another process does)"
        return (
            f"the local emulator of {self.state_dir}, process {self.pid}, does not answer at {self.endpoint_url}{why}; "
            "wait and try again, or end it with tierfleet local down"
        )

    def may_be_busy(self) -> bool:
        """Whether its process is alive and running, so it may still answer."""
        return self._state.runs(self.state_dir) and not self._state.stopped()

    @property
    def _state(self) -> State:
        return State(self.endpoint_url, self.region, self.account, self.pid)

    def stop(self) -> None:
        """End every process, and remove every file."""
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)  # a stopped process hears nothing else
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            _close_pipes(self._process)
        elif self._state.runs(self.state_dir):
            self._state.end(_STOP_SECONDS)
        if self._process is not None:
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
    early_start: EarlyStart = DEFAULT,
    **settings: Any,
) -> LocalCloud:
    """Start the local emulator and wait until it answers.

    >>> with start(Path(".local-cloud"), serving="models", scale=0.01) as cloud:
    ...     cloud.client("sagemaker").list_endpoints()

    It ends with this process, even if that crashes. A `detached` one ends by `running(state_dir).stop()`. With
    `serving="constant"` endpoints answer a constant; with "models" real instances serve, and `settings` are the fields
    of `data_plane.settings.DataPlaneSettings`. `early_start` says which resources of a stack let others begin before
    they are ready: by default new ones, as AWS announced it. Raises SettingsError for wrong settings, ValueError for
    another early_start, RuntimeError if it cannot start, and DiskError if its directory cannot be written.
    """
    if settings and serving == "constant":
        raise SettingsError(
            f"a local emulator that runs no model has no settings; leave {', '.join(sorted(settings))} out"
        )
    data_plane = from_options(settings)
    state_dir = state_dir.resolve()
    command = [sys.executable, "-m", "local_cloud.server", "--state-dir", str(state_dir), "--port", str(port)]
    command += ["--account", account, "--region", region]
    command += ["--parent", str(os.getpid())]
    command += ["--enforce-iam"] * enforce_iam + ["--detached"] * detached
    command += ["--early-start", check(early_start)]
    command += ["--data-plane", data_plane.to_json()] * (serving == "models")
    with disk_problems_named(state_dir), _starting_alone(state_dir):
        process: subprocess.Popen[str] | None = None
        try:
            # A signal inside Popen would leave a process that is in no variable.
            with (state_dir / _LOG_FILE).open("w") as log, _signals_deferred():
                process = subprocess.Popen(
                    command,
                    cwd=_REPOSITORY,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            bound_port = _wait_until_ready(process, state_dir)
        except BaseException:
            # Ctrl-C too, or an unknown process would be left.
            if process is not None:
                _kill_group(process.pid)
                process.wait()
                _close_pipes(process)
            _remove_files(state_dir)
            raise
    return LocalCloud(f"http://127.0.0.1:{bound_port}", region, account, state_dir, process.pid, process)


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Call Python's handlers of SIGINT, SIGTERM and SIGHUP at the end only, where they may raise.

    Not a signal mask, because a child process inherits that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python calls signal handlers in the main thread only
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    came: list[tuple[int, FrameType | None]] = []
    deferred = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in deferred:
        signal.signal(number, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in deferred.items():
            signal.signal(number, handler)
    for signal_number, frame in came:
        deferred[signal.Signals(signal_number)](signal_number, frame)


@contextlib.contextmanager
def _starting_alone(state_dir: Path) -> Iterator[None]:
    """Two processes cannot start a local emulator in one directory at once: raises RuntimeError in the second."""
    state_dir.mkdir(parents=True, exist_ok=True)
    directory = os.open(state_dir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"a local emulator is being started in {state_dir} right now; wait for it") from None
        with contextlib.suppress(NotRunningError):
            raise RuntimeError(
                f"the local emulator of {state_dir} is already running at {find(state_dir).endpoint_url}; use it, or "
                "stop it first with tierfleet local down"
            )
        state_dir.mkdir(exist_ok=True)  # what a crashed one left is gone now, the directory too
        yield
    finally:
        os.close(directory)


def running(state_dir: Path) -> LocalCloud:
    """The local emulator that was started with this state directory, by this process or another, and answers.

    Raises NotRunningError within 10 s, for one that is there and does not answer too.
    """
    cloud = find(state_dir)
    if problem := cloud.problem():
        raise NotRunningError(problem)
    return cloud


def find(state_dir: Path) -> LocalCloud:
    """The same, whether or not it answers. What one that has ended left is removed. Raises NotRunningError."""
    directory = state_dir.resolve()
    state = State.read(directory)
    if state is None:
        raise NotRunningError(f"no local emulator was started in {state_dir}; start it with tierfleet local up")
    if not state.runs(directory):
        _remove_files(directory)
        raise NotRunningError(f"the local emulator of {state_dir} is gone; start it with tierfleet local up")
    return LocalCloud(state.endpoint_url, state.region, state.account, directory, state.pid)


def _wait_until_ready(process: "subprocess.Popen[str]", state_dir: Path) -> int:
    """The port it listens on, which is its first line of output."""
    late = threading.Timer(_START_SECONDS, process.kill)
    late.daemon = True  # a signal may come before it can be cancelled
    try:
        late.start()
        line = process.stdout.readline() if process.stdout else ""
    finally:
        late.cancel()
    said = json.loads(line) if line else {}
    if "port" in said:
        return int(said["port"])
    process.wait()
    if "failed" in said:
        raise DiskError(said["failed"])
    if "refused" in said:
        raise RuntimeError(said["refused"])
    log = (state_dir / _LOG_FILE).read_text()[-2000:]
    raise RuntimeError(f"the local emulator ended with {process.returncode} before it was ready:\n{log}")


def _close_pipes(process: "subprocess.Popen[str]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _kill_group(pid: int) -> None:
    """The local emulator leads its own process group, so this reaches its Lambda workers and nothing else."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _remove_files(state_dir: Path) -> None:
    State.remove(state_dir)
    with contextlib.suppress(OSError):
        (state_dir / _LOG_FILE).unlink(missing_ok=True)
    shutil.rmtree(state_dir / "scratch", ignore_errors=True)
    with contextlib.suppress(OSError):
        state_dir.rmdir()
