"""One container as an operating system process that cannot outlive its parent."""

import asyncio
import contextlib
import json
import os
import shlex
import sys
from pathlib import Path

from local_cloud.core.subprocesses import end_with_parent, free_port

_REPOSITORY = Path(__file__).resolve().parents[3]
_TERMINATE_SECONDS = 5.0
_STANDARD_ERROR = 2


def _prepare_container() -> None:
    """In a container's process, before it runs. uvloop passes on what is inheritable, its own copies of logs above all.

    They are marked, not closed: uvloop still sets up the standard streams from them.
    """
    end_with_parent()
    for descriptor in Path("/dev/fd").iterdir():
        if int(descriptor.name) > _STANDARD_ERROR:
            with contextlib.suppress(OSError):  # the one of the listing itself
                os.set_inheritable(int(descriptor.name), False)


class ContainerProcess:
    """A running container. `tail` is its last line of output."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.port, self.pid = port, process.pid
        self._process, self._log = process, log

    @classmethod
    async def start(cls, command: str, environment: dict[str, str], log: Path) -> "ContainerProcess":
        """Start a container on a free port; an empty command is the dense model server. Raises OSError."""
        port = free_port()
        arguments = [
            word.replace("{port}", str(port))
            for word in shlex.split(command) or [sys.executable, "-m", "tierfleet_server"]
        ]
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # Nothing of the user's environment: a container on AWS has its own.
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "HOME": str(log.parent),
                    "TMPDIR": str(log.parent),
                    "PYTHONPATH": str(_REPOSITORY / "container"),
                    "TIERFLEET_BIND_HOST": "127.0.0.1",
                    "SAGEMAKER_BIND_TO_PORT": str(port),
                    **environment,
                },
                preexec_fn=_prepare_container,
            )
        return cls(process, port, log)

    async def wait(self) -> int:
        """The exit code, once it has ended; negative is a signal's number."""
        return await self._process.wait()

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def terminate(self) -> None:
        """Send SIGTERM, as the platform does to an idle container, then SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_TERMINATE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def tail(self) -> str:
        """The last line of its log, for a person; of a line in JSON its message."""
        with contextlib.suppress(OSError):
            line = (self._log.read_text(errors="replace").splitlines() or [""])[-1]
            with contextlib.suppress(ValueError, KeyError, TypeError):
                line = str(json.loads(line)["message"])
            return line[:500]
        return ""
