"""make demo: both yardstick fleets checked and synthesised, one merchant promoted, and what that edit changes."""

import difflib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build" / "demo"
FLEET = "fraud-prod.toml"
PROMOTED = 'm07 = { model = "m07/2026-11-14.tar.gz" }\n'
out = Console(soft_wrap=True, highlight=False)


def main() -> None:
    """Run the demo in .build/demo; nothing in config/ is touched and no AWS account is needed."""
    started = time.monotonic()
    shutil.rmtree(BUILD, ignore_errors=True)
    before, after = BUILD / "before", BUILD / "after"

    step("1. The fleet files are checked", "tierfleet config check")
    run("tierfleet", "config", "check")

    step("2. What one file says", f"tierfleet config show config/{FLEET}")
    run("tierfleet", "config", "show", f"config/{FLEET}")

    step("3. Every fleet becomes templates (offline, without credentials)", "cdk synth")
    synth(ROOT / "config", before)

    step("4. A merchant is promoted: one line", f"edit config/{FLEET}")
    edited = BUILD / "config"
    shutil.copytree(ROOT / "config", edited)
    promote(edited / FLEET)
    synth(edited, after)

    step("5. What that line changes in the templates", f"tierfleet diff {shown(before)} {shown(after)}")
    run("tierfleet", "diff", str(before), str(after))

    step("6. What a broken edit is answered", "tierfleet config check .build/demo/broken/fraud-prod.toml")
    broken = BUILD / "broken" / FLEET
    broken.parent.mkdir()
    text = (ROOT / "config" / FLEET).read_text().replace("bake_minutes = 5", "bake_minutes = 2")
    broken.write_text(text.replace("min = 2, max = 8", "min = 9, max = 8") + PROMOTED.replace("m07/", "m08/"))
    run("tierfleet", "config", "check", str(broken.relative_to(ROOT)), expect=2)

    out.print(Rule())
    out.print(
        f"Done in {time.monotonic() - started:.0f} s: {len(list(before.rglob('*.template.json')))} templates for "
        f"{len(list((ROOT / 'config').glob('*.toml')))} fleets, one merchant promoted by one line.\n"
        f"Templates: {shown(before)} and {shown(after)}. Next: README.md, docs/architecture.md, docs/configuration.md."
    )


def step(title: str, command: str) -> None:
    """Announce a step and the command that does it by hand."""
    out.print(Rule(f"[bold]{title}", align="left"))
    out.print(f"[dim]$ {command}")


def synth(config: Path, outdir: Path) -> None:
    """Synthesise the fleet files of a directory with the CDK CLI; `make synth` adds CloudFormation's validation."""
    options = ["--quiet", "--no-validation", "--output", str(outdir), "--context", f"config={config}"]
    command = [str(ROOT / "node_modules/.bin/cdk"), "synth", *options, "*/**"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stderr)
    for file in sorted(outdir.rglob("*.template.json")):
        template = json.loads(file.read_text())
        name = file.name.removesuffix(".template.json")
        out.print(f"  {len(template['Resources']):>4} resources  {file.stat().st_size / 1024:>5.0f} KiB  {name}")


def promote(file: Path) -> None:
    """Add the merchant's line at the end of the whale tier and show the edit."""
    old = file.read_text()
    file.write_text(old + PROMOTED)
    lines = difflib.unified_diff(old.splitlines(), file.read_text().splitlines(), FLEET, FLEET, lineterm="", n=2)
    for line in list(lines)[2:]:
        out.print(f"  {line}", style="green" if line.startswith("+") else "", markup=False)


def run(*command: str, expect: int = 0) -> None:
    """Run a command with its output shown; end the demo when its exit code is another one."""
    sys.stdout.flush()
    env = {**os.environ, "FORCE_COLOR": "1"} if out.is_terminal else None
    executable = Path(sys.executable).parent / command[0]
    code = subprocess.run([str(executable), *command[1:]], cwd=ROOT, env=env, check=False).returncode
    if code != expect:
        sys.exit(f"{' '.join(command)} ended with {code}, expected {expect}")


def shown(path: Path) -> str:
    """A path below the repository, as a user would type it."""
    return str(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
