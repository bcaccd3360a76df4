"""What a running local emulator writes into its state directory, so that other processes find it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

_NAME = "local-cloud.json"
_LOOK_AGAIN_SECONDS = 0.02


@dataclass(frozen=True)
class State:
    """The address and the process of a local emulator."""

    endpoint_url: str
    region: str
    account: str
    pid: int

    def write(self, state_dir: Path) -> None:
        """Whole or not at all; raises OSError."""
        unfinished = state_dir / f"{_NAME}.tmp"
        try:
            unfinished.write_text(json.dumps(asdict(self)))
            unfinished.replace(state_dir / _NAME)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(state_dir / _NAME)) from error

    @staticmethod
    def read(state_dir: Path) -> "State | None":
        """The state in a directory; None if there is none."""
        try:
            read = json.loads((state_dir / _NAME).read_text())
            state = State(*(read[field.name] for field in fields(State)))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        usable = (
            isinstance(state.pid, int) and state.pid > 1 and str(state.endpoint_url).startswith("http://127.0.0.1:")
        )
        return state if usable else None

    @staticmethod
    def remove(state_dir: Path) -> None:
        for name in (_NAME, f"{_NAME}.tmp"):
            with contextlib.suppress(OSError):
                (state_dir / name).unlink(missing_ok=True)

    def runs(self, state_dir: Path) -> bool:
        """Whether that process is alive and is the emulator of this directory, not another one with the same number."""
        command = _command(self.pid)
        return "local_cloud.server" in command and str(state_dir) in command

    def stopped(self) -> bool:
        """Whether the process was stopped, by SIGSTOP or a debugger."""
        return _process_state(self.pid).startswith(("T", "t"))

    def end(self, seconds: float) -> None:
        """Send SIGTERM, and after that time SIGKILL to its group, if it leads one."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
            os.kill(self.pid, signal.SIGCONT)  # a stopped process hears nothing else
        deadline = time.monotonic() + seconds
        while _process_state(self.pid)[:1] not in ("", "Z") and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def _command(pid: int) -> list[str] | str:
    """Its arguments, or all of them as one text if the system does not separate them."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        return []
    return _ps(pid, "args")


def _process_state(pid: int) -> str:
    """As ps says it: S, T, Z...; "" for a process that does not exist."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].strip()
        return ""
    return _ps(pid, "state").strip()


def _ps(pid: int, what: str) -> str:
    words = ["/bin/ps", "-o", f"{what}=", "-p", str(pid)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout
