"""make synth: the real CDK CLI, CloudFormation validation as errors, no credentials, twice, byte for byte."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT, AGAIN = ROOT / "cdk.out", ROOT / ".build" / "cdk.out-again"


def main() -> None:
    """Synthesise every fleet into cdk.out, then once more; end with 1 where the two differ."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    for outdir in (OUT, AGAIN):
        shutil.rmtree(outdir, ignore_errors=True)
        command = [str(ROOT / "node_modules/.bin/cdk"), "synth", "--quiet", "--output", str(outdir), "*/**"]
        result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        if outdir is OUT or result.returncode:
            print(result.stdout, result.stderr, sep="", end="")
        if result.returncode:
            sys.exit(result.returncode)
    files = sorted(file.relative_to(OUT) for file in OUT.rglob("*.template.json"))
    _, different, missing = filecmp.cmpfiles(OUT, AGAIN, [str(file) for file in files], shallow=False)
    if different or missing:
        sys.exit(f"two runs gave different templates: {different + missing}")
    print(f"{len(files)} templates in cdk.out, valid, and the same bytes in two runs")


if __name__ == "__main__":
    main()
