"""`tierfleet diff`: what an edit changes, resource by resource."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from tierfleet.assembly_diff import ResourceChange, assembly_changes, replacements
from tierfleet.cli.console import Json, columns, err, fail, out, print_json
from tierfleet.cli.fleet_file import ConfigOption
from tierfleet.columns import in_columns, sentence
from tierfleet.config import ConfigError
from tierfleet.cost.text import signed
from tierfleet.edit_diff import EditDiff, edit_diff

_STYLES = {"added": "green", "removed": "red", "modified": "yellow"}
_DIRECTORY = Path("config")
HEAD = "HEAD"

Against = Annotated[str, typer.Option(metavar="COMMIT", help="The commit, branch or tag to compare with.")]


def diff(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="A fleet file or a directory of them (default: config), or two assemblies (cdk synth --output).",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    against: Against = HEAD,
    region: Annotated[str | None, typer.Option(help="Use the prices of this region.")] = None,
    as_json: Json = False,
) -> None:
    """Show what an edit of a fleet file changes: a summary, then each resource. Needs no account.

    It compares the file with git's HEAD, or with --against. + is added, ~ modified, - removed. Nested stacks are
    included.
    """
    named = [*(paths or []), *([config] if config else [])]
    if len(named) == 2 and config is None:
        idle = {"--against": against != HEAD, "--region": region}
        if without_effect := [option for option, value in idle.items() if value]:
            fail(f"two assemblies are compared with each other, for which {', '.join(without_effect)} mean nothing")
        try:
            changes, replaced = assembly_changes(named[0], named[1]), replacements(named[0], named[1])
        except (FileNotFoundError, ValueError) as error:
            fail(str(error))
        _print("", changes, replaced, ["not compared: two assemblies have no prices"], as_json=as_json)
        return
    if len(named) > 1:
        fail(f"{len(named)} paths are given; give one fleet file, or two assemblies")
    path = named[0] if named else _DIRECTORY
    try:
        with err.status("synthesising both versions"):
            edit = edit_diff(path, against, region=region)
    except (ConfigError, ValueError) as error:
        fail(str(error))
    if not edit.files and not as_json:
        out.print(escape(f"{path} is the same as in {against}: nothing changes"))
        return
    title = f"{', '.join(edit.files)} against {against}: "
    _print(title, edit.changes, edit.replaced, _cost_lines(edit), edit.endpoints, as_json=as_json)


def _print(
    title: str,
    changes: Sequence[ResourceChange],
    replaced: Sequence[ResourceChange],
    cost: Sequence[str],
    endpoints: Sequence[str] = (),
    *,
    as_json: bool,
) -> None:
    places = {(change.stack, change.logical_id) for change in replaced}
    if as_json:
        rows = [{**vars(change), "replaced": (change.stack, change.logical_id) in places} for change in changes]
        print_json(rows)
        return
    counts = [sum(change.change == kind for change in changes) for kind in ("added", "removed", "modified")]
    out.print(escape(title) + "{} added, {} removed, {} modified".format(*counts))
    out.print(escape(f"replaced: {_kinds(replaced) or 'none'}"))
    for line in endpoints:
        out.print(escape(line))
    for line in cost:
        out.print(escape(sentence(line, columns(), first="cost: ")))
    out.print()
    for change in changes:
        cells = [*change.cells(), *(["(replaced)"] if (change.stack, change.logical_id) in places else [])]
        [shown] = in_columns([cells], columns(), shrink=range(4))
        out.print(Text(shown, _STYLES[change.change]))


def _kinds(replaced: Sequence[ResourceChange]) -> str:
    """The number of each type: endpoints first, and AppConfig's, which every edit replaces, last."""
    kinds = Counter(change.resource_type.split("::", 1)[1] for change in replaced)
    order = sorted(kinds, key=lambda kind: (kind.startswith("AppConfig"), not kind.startswith("SageMaker"), kind))
    return ", ".join(f"{kinds[kind]} {kind.rpartition('::')[2]}" for kind in order)


def _cost_lines(edit: EditDiff) -> list[str]:
    several = len(edit.costs) + len(edit.unpriced) > 1
    lines = [
        f"{cost.after.fleet + ' ' if several else ''}{signed(cost.usd)} a month, "
        f"${cost.before.usd:,.2f} -> ${cost.after.usd:,.2f}"
        for cost in edit.costs
    ]
    return lines + [f"unknown: {reason}" for reason in edit.unpriced]
