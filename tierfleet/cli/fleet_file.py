"""The fleet file that a command is about.

Every command takes it as `--config FILE`, and those whose first argument it can be take it there too. Where a stand-in
runs, its folder remembers the file that was last named to `local up` or `local deploy`.
"""

from pathlib import Path
from typing import Annotated

import typer

from tierfleet.cli.console import fail
from tierfleet.cli.stand_in import STATE

File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="The fleet file.", show_default=False),
]
LocalFile = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="The fleet file; default: the one the stand-in runs.", show_default=False),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The fleet file, as an option.", show_default=False)
]

# Of a stand-in that was started without a file, in a clone.
DEFAULT_FILE = Path("config/fraud-dev.toml")
# With the files that `local down` removes.
_MEMORY = STATE / "scratch" / "fleet-file"


def named(file: Path | None, config: Path | None) -> Path | None:
    """The file that was named, by argument or option; ends the command where two different ones are."""
    if file is not None and config is not None and file != config:
        fail(f"two fleet files are named, {file} and --config {config}: give one of them")
    return file if file is not None else config


def remember(file: Path) -> None:
    """Keep it for the commands that name none, until `local down`."""
    _MEMORY.parent.mkdir(parents=True, exist_ok=True)
    _MEMORY.write_text(str(file.resolve()), encoding="utf-8")


def remembered() -> Path | None:
    """What the stand-in's folder remembers, shown from here where it is below; None where it remembers none."""
    try:
        file = Path(_MEMORY.read_text(encoding="utf-8"))
    except OSError:
        return None
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def local_file(file: Path | None, config: Path | None) -> Path:
    """The named file, else the remembered one, else DEFAULT_FILE; ends the command where there is none of them."""
    found = named(file, config) or remembered() or DEFAULT_FILE
    if found == DEFAULT_FILE and not found.exists() and named(file, config) is None:
        fail("which fleet? name its file: tierfleet local up FILE remembers it for all further commands")
    return found
