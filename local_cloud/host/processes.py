"""A local emulator that runs: found by its state directory, called, and stopped.

Example:
    with running(Path(".local-cloud")) as cloud:
        cloud.client("s3").create_bucket(...)
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from local_cloud.core.state_file import State
from local_cloud.host.admin_client import ask

LOG_FILE = "local-cloud.log"
_SECRET_KEY = "local"  # noqa: S105 - loopback only, no secret
_STOP_SECONDS = 10.0
_HEALTH_SECONDS = 10.0


class NotRunningError(RuntimeError):
    """No local emulator answers for this state directory."""


@dataclass
class LocalCloud:
    """A local emulator. `endpoint_url` answers the APIs of AWS. As a context manager it ends with the block."""

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
            # A bucket's name as the host would not resolve to loopback.
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
            close_pipes(self._process)
        elif self._state.runs(self.state_dir):
            self._state.end(_STOP_SECONDS)
        if self._process is not None:
            kill_group(self.pid)
        remove_files(self.state_dir)

    def __enter__(self) -> "LocalCloud":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


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
        remove_files(directory)
        raise NotRunningError(f"the local emulator of {state_dir} is gone; start it with tierfleet local up")
    return LocalCloud(state.endpoint_url, state.region, state.account, directory, state.pid)


def close_pipes(process: "subprocess.Popen[str]") -> None:
    """Close the ends of its pipes in this process."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def kill_group(pid: int) -> None:
    """Kill a local emulator with its Lambda workers, since it leads their process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def remove_files(state_dir: Path) -> None:
    """Remove the files of a local emulator that has ended."""
    State.remove(state_dir)
    with contextlib.suppress(OSError):
        (state_dir / LOG_FILE).unlink(missing_ok=True)
    shutil.rmtree(state_dir / "scratch", ignore_errors=True)
    with contextlib.suppress(OSError):
        state_dir.rmdir()
