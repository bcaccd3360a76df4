"""app.py and the tierfleet command as processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from local_cloud import NotRunningError, running
from local_cloud.testing.fleets import ROOT


def run_app(outdir: Path, config: Path) -> subprocess.CompletedProcess[str]:
    context = {**json.loads((ROOT / "cdk.json").read_text())["context"], "config": str(config)}
    env = {**os.environ, "CDK_OUTDIR": str(outdir), "CDK_CONTEXT_JSON": json.dumps(context), "CDK_VALIDATION": "false"}
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py")], env=env, capture_output=True, text=True, cwd=outdir.parent, check=False
    )


@contextmanager
def tierfleet_in(directory: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs `tierfleet` with these arguments in the directory. At the end it stops the local emulator started there."""
    command = str(Path(sys.executable).parent / "tierfleet")

    def tierfleet(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([command, *arguments], cwd=directory, capture_output=True, text=True, check=False)

    yield tierfleet
    with suppress(NotRunningError):
        running(directory / ".local-cloud").stop()
