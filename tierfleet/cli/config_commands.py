"""`tierfleet config`: check and explain fleet files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tierfleet.cli.console import Json, columns, err, fail, out, say
from tierfleet.config import CheckedFile, FleetConfig, check_file, check_files
from tierfleet.config.files import shown_path
from tierfleet.config.quotas import quota_table, quotas
from tierfleet.config.reference import configuration_markdown, json_schema
from tierfleet.config.summary import fleet_summary

app = typer.Typer(no_args_is_help=True, help="Check and explain fleet files.")

_DEFAULT_DIRECTORY = Path("config")


@app.command("check")
def config_check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Fleet files, or directories of them; default: config")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check fleet files and print every problem. Exit code 2 if a file is invalid."""
    if not files and not _DEFAULT_DIRECTORY.is_dir():
        fail(f"no fleet files: {_DEFAULT_DIRECTORY.resolve()} does not exist; name them, or run this next to config/")
    checked = check_files(files or [_DEFAULT_DIRECTORY])
    if as_json:
        problems = [vars(problem) for file in checked for problem in file.problems]
        out.print_json(data={"ok": all(file.config for file in checked), "problems": problems})
    else:
        for file in checked:
            _print_problems(out, file)
            if file.config:
                out.print(f"[green]ok[/]: {escape(shown_path(file.path))}")
    if not all(file.config for file in checked):
        raise typer.Exit(2)


@app.command("show")
def config_show(file: Annotated[Path, typer.Argument(help="A fleet file.")], as_json: Json = False) -> None:
    """Explain a fleet file: its tiers, endpoints, scaling targets, warm-ups and quotas."""
    config = load_or_fail(file)
    if as_json:
        out.print_json(config.model_dump_json())
    else:
        out.print(escape(fleet_summary(config, columns())))
        out.print(escape(quota_table(config, quotas(config))))


@app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of fleet files, for editors (config/fleet.schema.json is this output)."""
    typer.echo(json_schema(), nl=False)


@app.command("reference")
def config_reference() -> None:
    """Print every key with meaning, unit and default as Markdown (docs/configuration.md contains this output)."""
    typer.echo(configuration_markdown(), nl=False)


def load_or_fail(file: Path) -> FleetConfig:
    """The fleet of a file. If it is invalid, the command prints its errors on stderr and ends with exit code 2."""
    [config] = load_all_or_fail([file])
    return config


def load_all_or_fail(files: Sequence[Path], told: Callable[[str], str] = str) -> list[FleetConfig]:
    """The fleets of all files. If one is invalid, the command prints all errors on stderr and ends with exit code 2.

    told: rewrites an error before it is printed, for a file that is a temporary copy.
    """
    checked = [check_file(file) for file in files]
    for file in checked:
        if file.config is None:
            _print_problems(err, file, told)
    if not all(file.config for file in checked):
        raise typer.Exit(2)
    return [file.config for file in checked if file.config]


def _print_problems(console: Console, file: CheckedFile, told: Callable[[str], str] = str) -> None:
    for problem in file.problems:
        say(problem.severity, told(str(problem).partition(": ")[2]), console=console)
