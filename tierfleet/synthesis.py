"""The CDK app of this clone, run for folders of fleet files."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent


class SynthesisError(ValueError):
    """The app refused a fleet file, or is not installed; the message says why."""


def synthesise(folders: Sequence[Path], outdirs: Sequence[Path]) -> None:
    """Synthesise the fleet files of each folder into its output directory, all at once, without an account.

    Only the fleet files are validated; `make synth` validates the templates. Raises SynthesisError.
    """
    if not (_REPOSITORY / "app.py").is_file():
        raise SynthesisError("the CDK app is not installed with the command; run it from a clone of the repository")
    context = json.loads((_REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"]
    running = []
    for folder, outdir in zip(folders, outdirs, strict=True):
        env = {
            **os.environ,
            "CDK_OUTDIR": str(outdir),
            "CDK_CONTEXT_JSON": json.dumps({**context, "config": str(folder)}),
            "CDK_VALIDATION": "false",
        }
        running.append(
            subprocess.Popen(
                [sys.executable, str(_REPOSITORY / "app.py")],
                cwd=_REPOSITORY,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        printed = [process.communicate()[1] for process in running]
    except BaseException:
        for process in running:
            process.kill()
            process.communicate()
        raise
    for process, said in zip(running, printed, strict=True):
        if process.returncode:
            raise SynthesisError(said.strip()[-4000:])
