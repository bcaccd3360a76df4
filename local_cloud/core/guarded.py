"""Makes a process group end with the process that it works for, however that ends."""

import subprocess
import sys
from pathlib import Path

_GUARDIAN = Path(__file__).with_name("guardian.py")


def guard(leader: int, *, parent: int | None = None) -> "subprocess.Popen[bytes]":
    """Start a process that kills the group of `leader` once `leader` has ended, or first ends it once `parent` has.

    It ends with the group. A SIGKILL of the leader or the parent counts too; one of the guardian itself does not.
    """
    words = [sys.executable, "-I", "-S", str(_GUARDIAN), str(leader), *([str(parent)] if parent else [])]
    return subprocess.Popen(
        words,
        env={},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
