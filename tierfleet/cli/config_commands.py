"""`tierfleet config`: check and explain fleet files."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tierfleet.cli.console import Json, columns, fail, load_or_fail, out, print_problems
from tierfleet.config import check_files
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
            print_problems(out, file)
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
