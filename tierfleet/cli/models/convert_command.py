"""`tierfleet models convert`: a model file for another XGBoost, or a fleet's published models in another form."""

from collections import Counter
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.markup import escape

from tierfleet.aws_problem import AwsProblemError
from tierfleet.cli.aws import aws_or_fail, bucket_of, s3_of
from tierfleet.cli.console import Json, columns, err, fail, load_or_fail, out, print_json, say
from tierfleet.cli.interruption import if_interrupted
from tierfleet.cli.progress import counter
from tierfleet.columns import in_columns, sentence
from tierfleet.files import write_whole
from tierfleet.models.bucket import read_pointers
from tierfleet.models.convert_artefact import Form
from tierfleet.models.convert_published import Conversion, convert_published
from tierfleet.models.references import pins
from tierfleet.models.target import named_target, target_of
from tierfleet.text import counted, size

if TYPE_CHECKING:
    from tierfleet_server.publishing.rounds import Rounds
    from tierfleet_server.publishing.served_model import Forest

_SHOWN = 20


def add_to(app: typer.Typer) -> None:
    """Add the command to the group `models`."""
    app.command("convert")(_convert)


def _convert(
    model: Annotated[
        Path | None, typer.Argument(help="A model file: UBJ, JSON or XGBoost's old binary format. Or give --config.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The converted model file, .ubj or .json.")
    ] = None,
    image: Annotated[
        str, typer.Option("--to", help="tierfleet, a stock tag such as 1.7-1, or an XGBoost version.")
    ] = "tierfleet",
    rounds: Annotated[
        str | None,
        typer.Option(help="all or best: the rounds to keep of an early-stopped model; default: those predict uses."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A fleet file: convert its published models.")] = None,
    tenants: Annotated[
        list[str] | None, typer.Option("--tenant", help="With --config: only this tenant; repeatable.")
    ] = None,
    forest: Annotated[str, typer.Option(help="With --config: alone, beside or none, as for models package.")] = "alone",
    contribs: Annotated[
        bool, typer.Option("--contribs", help="With --config: flat forests that can explain their scores.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="With --config: tenants in parallel.")] = 4,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --config: convert and compare, but upload nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Convert a model file for another XGBoost version, or with --config published models to flat forests.

    With --config each tenant's current version becomes a new version with the same scores, whose name ends in -forest.
    After an interruption run it again: it skips converted models.
    """
    if find_spec("xgboost") is None:
        fail("models convert needs XGBoost; pip install 'tierfleet[cli,models]'")
    if config is not None:
        if model is not None or output is not None:
            fail("give a model file and --output, or --config, not both")
        if forest not in ("alone", "beside", "none"):
            fail(f"--forest {forest}: give none, beside or alone")
        if contribs and forest == "none":
            fail("--contribs needs a flat forest, and --forest none makes none; leave one out")
        form = Form(cast("Forest", forest), contribs)
        _published(config, tenants or [], form, jobs=jobs, dry_run=dry_run, as_json=as_json)
        return
    if model is None or output is None:
        fail("give a model file and --output, or --config with a fleet file for published models")
    if rounds not in (None, "all", "best"):
        fail(f"--rounds {rounds}: give all or best")
    _file(model, output, image, cast("Rounds", rounds or "auto"), as_json=as_json)


def _file(model: Path, output: Path, image: str, rounds: "Rounds", *, as_json: bool) -> None:
    from tierfleet_server.model.refusal import BadModel
    from tierfleet_server.publishing.served_model import converted_model

    if output.suffix not in (".ubj", ".json"):
        fail(f"{output}: the file name must end in .ubj or .json, which sets the format")
    try:
        reader = named_target(image).reader
        done = converted_model(model.read_bytes(), output.suffix[1:], reader=reader, rounds=rounds)
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, done.data)
    except BadModel as error:
        fail(f"{model}: {error}")
    except ValueError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")
    if as_json:
        data = {"file": str(output), "size_bytes": len(done.data), "notes": done.notes, "warnings": done.warnings}
        print_json(data)
        return
    for note in done.notes:
        say("note", f"{model}: {note}", check="package")
    for warning in done.warnings:
        say("warning", f"{model}: {warning}", check="package")
    out.print(escape(f"{output}  {size(len(done.data))}"))


def _published(config: Path, tenants: list[str], form: Form, *, jobs: int, dry_run: bool, as_json: bool) -> None:
    import tierfleet_forest

    fleet = load_or_fail(config)
    target, bucket = target_of(fleet), bucket_of(fleet)
    if not tierfleet_forest.available:
        fail(f"flat forests cannot be compared here: {tierfleet_forest.unavailable_reason}")
    if form.forest == "alone" and target.forest == "none":
        fail(
            f"{config}: its image {fleet.container.image} may not read flat forests; convert with --forest beside, or "
            'deploy the fleet with image = "tierfleet" first'
        )
    with aws_or_fail(bucket):
        s3 = s3_of(fleet, connections=jobs)
        known = sorted(read_pointers(s3, bucket))
        unknown = sorted(set(tenants) - set(known))
        if unknown:
            fail(f"nothing is published for {', '.join(unknown)}")
        chosen = tenants or known
        try:
            left = "converted models stay: run the same command again to complete the rest"
            with if_interrupted(left), counter("converting", len(chosen)) as one:
                conversions = convert_published(
                    s3, bucket=bucket, tenants=chosen, target=target, form=form, jobs=jobs, dry_run=dry_run,
                    done=lambda _: one(),
                )  # fmt: skip
        except AwsProblemError as error:
            fail(f"{error}; fix this and run the same command again: it completes the rest")
    if as_json:
        summary = Counter(conversion.status for conversion in conversions)
        print_json({"conversions": [asdict(conversion) for conversion in conversions], "summary": summary})
    else:
        _print(conversions)
    for pinned, why in sorted(pins([fleet]).items()):
        if any(done.status == "converted" and done.before == pinned for done in conversions):
            say("warning", f"{why}: its endpoint still serves {pinned}; change that line and deploy", console=err)
    if any(conversion.failed for conversion in conversions):
        raise typer.Exit(2)


def _print(conversions: list[Conversion]) -> None:
    changed = [done for done in conversions if done.status in ("converted", "would convert")]
    rows = [
        (done.after or "", f"{size(done.before_bytes)} -> {size(done.after_bytes)}", done.status)
        for done in changed[:_SHOWN]
    ]
    for line in in_columns(rows, columns(), shrink=(0,)):
        out.print(escape(line))
    if len(changed) > _SHOWN:
        out.print(f"and {len(changed) - _SHOWN} more")
    why: dict[tuple[str, str], list[str]] = {}
    for done in conversions:
        if done.message and done.status != "unchanged":
            why.setdefault((done.status, done.message), []).append(done.before or done.tenant)
    for (status, message), targets in why.items():
        several = f" and {len(targets) - 1} more" if len(targets) > 1 else ""
        out.print(escape(sentence(message, columns(), first=f"{status}  {targets[0]}{several}: ")))
    counts = Counter(done.status for done in conversions)
    shown = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    sizes = f"; {size(sum(done.before_bytes for done in changed))} -> {size(sum(done.after_bytes for done in changed))}"
    out.print(f"{counted(len(conversions), 'tenant')}: {shown}{sizes if changed else ''}")
