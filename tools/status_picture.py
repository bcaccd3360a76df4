"""docs/local-status.svg: `tierfleet local status --watch` of the emulator in .build/demo or the given directory."""

import sys
import time
from pathlib import Path

from rich.console import Console

from local_cloud import running
from tierfleet.cli.local.screen import fleet_screen
from tierfleet.config import load
from tierfleet.local.status import InstanceWatch, fleet_status

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Look twice, five seconds apart, so that rates are of that time; then draw."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".build" / "demo"
    cloud, fleet = running(directory / ".local-cloud"), load(directory / "config" / "fraud-dev.toml")
    watch = InstanceWatch(cloud, fleet)
    watch.look()
    time.sleep(5)
    console = Console(record=True, width=118, force_terminal=True)
    console.print(fleet_screen(fleet_status(cloud, fleet), watch.look()))
    console.save_svg(str(ROOT / "docs" / "local-status.svg"), title="tierfleet local status --watch")


if __name__ == "__main__":
    main()
