"""`tierfleet diff`: what an edit changes, resource by resource."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tierfleet.assembly_diff import assembly_changes
from tierfleet.cli.console import Json, fail, out


def diff(
    before: Annotated[Path, typer.Argument(help="Assembly directory before the edit (cdk synth --output).")],
    after: Annotated[Path, typer.Argument(help="Assembly directory after it.")],
    as_json: Json = False,
) -> None:
    """Show which resources an edit adds (+), modifies (~) or removes (-), nested stacks included. Needs no account."""
    try:
        changes = assembly_changes(before, after)
    except (FileNotFoundError, ValueError) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps([vars(change) for change in changes]))
        return
    styles = {"added": "green", "removed": "red", "modified": "yellow"}
    for change in changes:
        out.print(f"[{styles[change.change]}]{escape(str(change))}[/]")
    counts = [sum(change.change == kind for change in changes) for kind in styles]
    out.print("{} added, {} removed, {} modified".format(*counts))
