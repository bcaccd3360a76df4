"""The tierfleet command: reads arguments, calls one function, prints. No logic."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tierfleet import assembly_diff
from tierfleet.config import CheckedFile, check_files
from tierfleet.config.reference import configuration_markdown, json_schema
from tierfleet.config.summary import fleet_summary
from tierfleet.quotas import quota_table, quotas

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Tiered hosting of many small models on SageMaker.")
config_app = typer.Typer(no_args_is_help=True, help="Check and explain fleet files.")
app.add_typer(config_app, name="config")

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)
_STYLE = {"error": "bold red", "warning": "yellow", "note": "dim"}
_DEFAULT_DIRECTORY = Path("config")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def main() -> None:
    """Entry point of the `tierfleet` command."""
    app()


@config_app.command("check")
def config_check(
    files: Annotated[list[Path] | None, typer.Argument(help="Fleet files; default: config/*.toml")] = None,
    as_json: Json = False,
) -> None:
    """Check fleet files and print every problem at once. Exit code 2 if one of them cannot be used."""
    paths = files or sorted(_DEFAULT_DIRECTORY.glob("*.toml"))
    if not paths:
        _fail(f"no fleet files in {_DEFAULT_DIRECTORY.resolve()}; name them, or run this beside config/")
    checked = check_files(paths)
    if as_json:
        problems = [vars(problem) for file in checked for problem in file.problems]
        out.print_json(data={"ok": all(file.config for file in checked), "problems": problems})
    else:
        for file in checked:
            _print_problems(out, file)
            if file.config:
                out.print(f"[green]ok[/]: {escape(str(file.path))}")
    if not all(file.config for file in checked):
        raise typer.Exit(2)


@config_app.command("show")
def config_show(file: Annotated[Path, typer.Argument(help="A fleet file.")], as_json: Json = False) -> None:
    """Explain one fleet file: its tiers, endpoints, scaling targets, warm-ups and quotas."""
    checked = check_files([file])[0]
    _print_problems(err, checked)
    if checked.config is None:
        raise typer.Exit(2)
    if as_json:
        out.print_json(checked.config.model_dump_json())
    else:
        out.print(escape(fleet_summary(checked.config)))
        out.print(escape(quota_table(checked.config, quotas(checked.config))))


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of fleet files, for editors (config/fleet.schema.json is this output)."""
    typer.echo(json_schema(), nl=False)


@config_app.command("reference")
def config_reference() -> None:
    """Print every key with meaning, unit and default as Markdown (docs/configuration.md holds this output)."""
    typer.echo(configuration_markdown(), nl=False)


@app.command("diff")
def diff(
    before: Annotated[Path, typer.Argument(help="Assembly directory before the edit (cdk synth --output).")],
    after: Annotated[Path, typer.Argument(help="Assembly directory after it.")],
    as_json: Json = False,
) -> None:
    """Show which resources an edit adds (+), modifies (~) or removes (-), nested stacks included. Needs no account."""
    try:
        changes = assembly_diff.assembly_changes(before, after)
    except FileNotFoundError as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps([vars(change) for change in changes]))
        return
    styles = {"added": "green", "removed": "red", "modified": "yellow"}
    for change in changes:
        out.print(f"[{styles[change.change]}]{escape(str(change))}[/]")
    counts = [sum(change.change == kind for change in changes) for kind in styles]
    out.print("{} added, {} removed, {} modified".format(*counts))


def _print_problems(console: Console, file: CheckedFile) -> None:
    for problem in file.problems:
        severity, _, rest = str(problem).partition(": ")
        console.print(f"[{_STYLE[problem.severity]}]{severity}[/]: {escape(rest)}")


def _fail(message: str) -> None:
    err.print(f"[bold red]error[/]: {escape(message)}")
    raise typer.Exit(2)
