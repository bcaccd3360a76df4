"""Starts and ends the data plane's process."""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local_cloud.core.subprocesses import end_with_parent
from local_cloud.data_plane.link import DataPlaneLink
from local_cloud.data_plane.settings import DataPlaneSettings

_STOP_SECONDS = 5.0


@dataclass
class DataPlaneProcess:
    link: DataPlaneLink
    settings: DataPlaneSettings
    _process: "subprocess.Popen[bytes]"
    _stopping: bool = False

    @classmethod
    def start(
        cls,
        public: socket.socket,
        *,
        ministack_port: int,
        directory: Path,
        settings: DataPlaneSettings,
        enforce_iam: bool,
    ) -> "DataPlaneProcess":
        """Start it on the listening socket, which it then owns."""
        mine, its = socket.socketpair()
        with public, its:
            command = [sys.executable, "-m", "local_cloud.data_plane", "--listener", str(public.fileno())]
            command += ["--control", str(its.fileno()), "--ministack-port", str(ministack_port)]
            command += ["--directory", str(directory), "--settings", settings.to_json()]
            process = subprocess.Popen(
                command + ["--enforce-iam"] * enforce_iam,
                pass_fds=[public.fileno(), its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                preexec_fn=end_with_parent,
            )
        return cls(DataPlaneLink(mine), settings, process)

    def when_it_ends(self, tell: Callable[[], object]) -> None:
        """If it ends by itself, say so on standard error and call `tell`: nothing can be served without it."""

        def watch() -> None:
            code = self._process.wait()
            if not self._stopping:
                with contextlib.suppress(OSError):  # the disk has no room for the log
                    print(f"the data plane ended with {code}; the local emulator stops", file=sys.stderr, flush=True)
                tell()

        threading.Thread(target=watch, daemon=True, name="data-plane-watch").start()

    def stop(self) -> None:
        """End it and every container."""
        self._stopping = True
        self.link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
            return
        self._process.kill()
        self._process.wait()
