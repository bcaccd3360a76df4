"""Starts the local emulator's process, from Python, and waits until it answers."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from local_cloud.core.disk_problems import DiskError, disk_problems_named
from local_cloud.core.early_start import DEFAULT, EarlyStart, check
from local_cloud.data_plane.settings import SettingsError, from_options
from local_cloud.host.processes import (
    LOG_FILE,
    LocalCloud,
    NotRunningError,
    close_pipes,
    find,
    kill_group,
    remove_files,
)

_START_SECONDS = 60.0
_REPOSITORY = Path(__file__).resolve().parents[2]


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
            with (state_dir / LOG_FILE).open("w") as log, _signals_deferred():
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
                kill_group(process.pid)
                process.wait()
                close_pipes(process)
            remove_files(state_dir)
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
    log = (state_dir / LOG_FILE).read_text()[-2000:]
    raise RuntimeError(f"the local emulator ended with {process.returncode} before it was ready:\n{log}")
