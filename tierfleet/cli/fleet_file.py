"""The fleet file of a command.

Every command takes it as `--config FILE`, and most as an argument. The folder of the local emulator remembers the last
file of `local up` or `local deploy`.
"""

from pathlib import Path
from typing import Annotated

import typer

from tierfleet.cli.console import fail
from tierfleet.cli.emulator import STATE
from tierfleet.files import write_whole

File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="The fleet file.", show_default=False),
]
LocalFile = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="The fleet file; default: the last one in the emulator.", show_default=False),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Another way to give FILE.", show_default=False)
]

# For a local emulator that was started without a file, in a clone.
DEFAULT_FILE = Path("config/fraud-dev.toml")
# Among the files that `local down` removes.
_MEMORY = STATE / "scratch" / "fleet-file"


def named(file: Path | None, config: Path | None) -> Path | None:
    """The file given as argument or option. Ends the command if these are two different files."""
    if file is not None and config is not None and file != config:
        fail(f"two fleet files are given, {file} and --config {config}: give one of them")
    return file if file is not None else config


def remember(file: Path) -> None:
    """Keep the file for commands that give none, until `local down`."""
    _MEMORY.parent.mkdir(parents=True, exist_ok=True)
    write_whole(_MEMORY, str(file.resolve()))


def remembered() -> Path | None:
    """The remembered file, relative to the current directory if it is below; None if there is none."""
    try:
        file = Path(_MEMORY.read_text(encoding="utf-8"))
    except OSError:
        return None
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def local_file(file: Path | None, config: Path | None) -> Path:
    """The given file, else the remembered one, else DEFAULT_FILE. Ends the command if none exists."""
    path = named(file, config) or remembered() or DEFAULT_FILE
    if path == DEFAULT_FILE and not path.exists() and named(file, config) is None:
        fail("no fleet file is given: tierfleet local up FILE remembers it for later commands")
    return path
