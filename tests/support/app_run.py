"""app.py as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

from local_cloud.testing.fleets import ROOT


def run_app(outdir: Path, config: Path) -> subprocess.CompletedProcess[str]:
    context = {**json.loads((ROOT / "cdk.json").read_text())["context"], "config": str(config)}
    env = {**os.environ, "CDK_OUTDIR": str(outdir), "CDK_CONTEXT_JSON": json.dumps(context), "CDK_VALIDATION": "false"}
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py")], env=env, capture_output=True, text=True, cwd=outdir.parent, check=False
    )
