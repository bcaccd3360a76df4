"""make picture: docs/first-hour.svg, a fleet served, called and edited; each line is what the commands print now."""

import atexit
import os
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build" / "picture"
COLUMNS = 80
FILE = "config/fraud-dev.toml"
COMMANDS = (
    f"tierfleet local up {FILE} --deploy --sample-models",
    "tierfleet invoke m02 --local",
    "tierfleet local status",
    f"""echo 'm07 = {{ model = "m07/2026-11-14.tar.gz" }}' >> {FILE}""",
    "tierfleet diff | head -3",
    "tierfleet local deploy --sample-models",
    "tierfleet local down",
)
_STYLES = {"+": "green", "~": "yellow", "cost:": "bold", "error:": "bold red"}


def main() -> None:
    """Run every command in a clean copy of config/, then draw what they printed."""
    _stop_emulator()
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(ROOT / "config", BUILD / "config")
    for arguments in (["init"], ["add", "."], [*_AUTHOR, "commit", "--message", "first"]):
        subprocess.run(["git", *arguments], cwd=BUILD, check=True, capture_output=True)  # noqa: S607
    console = Console(record=True, width=COLUMNS, force_terminal=True)
    env = {
        **os.environ,
        "COLUMNS": str(COLUMNS),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    atexit.register(_stop_emulator)
    for command in COMMANDS:
        console.print(Text.assemble(("$ ", "dim"), (command, "bold cyan")))
        shell = ["/bin/sh", "-c", command]
        done = subprocess.run(shell, cwd=BUILD, env=env, text=True, check=True, stdout=-1, stderr=subprocess.STDOUT)
        for line in done.stdout.splitlines():
            style = next((style for start, style in _STYLES.items() if line.startswith(start)), "")
            console.print(Text(line, style), soft_wrap=False)
        console.print()
    console.save_svg(str(ROOT / "docs" / "first-hour.svg"), title="tierfleet", unique_id="first-hour")


def _stop_emulator() -> None:
    """What a run leaves that failed."""
    if (BUILD / ".local-cloud").exists():
        tierfleet = str(Path(sys.executable).parent / "tierfleet")
        subprocess.run([tierfleet, "local", "down"], cwd=BUILD, check=False, capture_output=True)


_AUTHOR = ("-c", "user.name=demo", "-c", "user.email=demo@example.com")


if __name__ == "__main__":
    main()
