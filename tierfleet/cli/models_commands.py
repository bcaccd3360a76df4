"""`tierfleet models`: package, validate and publish tenants' models."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape

from tierfleet.aws_problem import AwsProblemError
from tierfleet.cli import catalog_commands, convert_command
from tierfleet.cli.aws import aws_or_fail, bucket_of, s3_of
from tierfleet.cli.catalog_commands import Config
from tierfleet.cli.console import Json, columns, err, fail, load_or_fail, out, print_json, say
from tierfleet.cli.interruption import if_interrupted
from tierfleet.cli.progress import counter
from tierfleet.columns import in_columns
from tierfleet.models import pointer, sources
from tierfleet.models.container_models import leave_pointers, packaging_for, validate_for
from tierfleet.models.files import ModelFile, PassedOver, every_model, find_models, passed_over
from tierfleet.models.package import Package, PackageOptions, package
from tierfleet.models.publish_many import Outcome, publish_all
from tierfleet.models.references import pins
from tierfleet.models.target import Target, named_target, target_of
from tierfleet.models.validation.findings import Finding, Severity, Validated
from tierfleet.models.validation.fleet_fit import fleet_findings
from tierfleet.models.validation.validate import validate
from tierfleet.runtime.catalog import CatalogError
from tierfleet.text import counted, size

if TYPE_CHECKING:
    from tierfleet_server.publishing.packaging import Forest
    from tierfleet_server.publishing.rounds import Rounds as RoundsKept

    from tierfleet.config import FleetConfig

app = typer.Typer(no_args_is_help=True, help="Package, publish, list, roll back and remove tenants' models.")
catalog_commands.add_to(app)
convert_command.add_to(app)

Models = Annotated[Path, typer.Argument(help="A model <tenant>/<version>.ubj, or a directory of them.")]
Paths = Annotated[list[Path], typer.Argument(help="Models <tenant>/<version>.tar.gz, .ubj or .json, or directories.")]


Rounds = Annotated[
    str | None,
    typer.Option(help="all or best: the rounds to keep of early-stopped models; default: as predict does."),
]
For = Annotated[
    str | None,
    typer.Option("--for", help="The image, without a fleet file: tierfleet, a stock tag such as 1.7-1, or a version."),
]
FleetOption = Annotated[Path | None, typer.Option("--config", help="A fleet file; its image will read the models.")]
Missing = Annotated[float | None, typer.Option(help="The number that meant a missing value in training, such as -999.")]
LibsvmBase = Annotated[int, typer.Option(min=0, max=1, help="1 if callers count libsvm columns from 1.")]
FlatForest = Annotated[
    str | None,
    typer.Option(
        "--forest",
        help="none, beside or alone: no flat forest, or one with or without the UBJ; dense server's default: alone.",
    ),
]
Contribs = Annotated[
    bool, typer.Option("--contribs", help="The flat forest can also explain its scores, which doubles its memory.")
]
Steps = Annotated[Path | None, typer.Option("--preprocessing", help="A JSON file of preprocessing steps.")]


@app.command("package")
def models_package(
    models: Models,
    output: Annotated[Path, typer.Option("--output", "-o", help="The directory for the artefacts.")],
    config: FleetOption = None,
    image: For = None,
    rounds: Rounds = None,
    missing: Missing = None,
    libsvm_base: LibsvmBase = 0,
    preprocessing: Steps = None,
    forest: FlatForest = None,
    contribs: Contribs = False,
) -> None:
    """Make an artefact <tenant>/<version>.tar.gz of each model for an image, and compare its scores with the file's."""
    options = _options(rounds, missing, libsvm_base, preprocessing, forest, contribs)
    target = _target(config, image)
    passed = _passed_over([models])
    try:
        files = find_models(models)
    except ValueError as error:
        fail(str(error))
    if not all(model.packaged for model in files):
        _need_xgboost("packaging")
    refused = []
    said = Said()
    with counter("packaging", len(files)) as one:
        for model in files:
            artefact = output / model.tenant / f"{model.version}.tar.gz"
            try:
                made = package(model, target, options)
                artefact.parent.mkdir(parents=True, exist_ok=True)
                if made.source:
                    sources.write_beside(artefact, made.source)
                artefact.write_bytes(made.archive)
                said.add(model, made)
                out.print(escape(str(artefact)))
            except ValueError as error:
                refused.append(str(error))
            except OSError as error:
                refused.append(f"{error.filename or artefact}: {error.strerror}")
            one()
    said.print()
    if refused:
        fail("\n".join(refused))
    if passed:
        raise typer.Exit(1)


@app.command("validate")
def models_validate(
    paths: Paths,
    config: Annotated[Path | None, typer.Option(help="A fleet file: also check its probe, image and tiers.")] = None,
    image: For = None,
    rounds: Rounds = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Parallel processes; default: one per processor.")] = None,
    as_json: Json = False,
) -> None:
    """Check models without uploading them, and print every finding of every file. Exit code 2 if one has an error.

    Exit code 1 if all models can be published but files were skipped.
    """
    _need_xgboost("models validate")
    fleet = load_or_fail(config) if config else None
    options, target = _options(rounds), None if fleet else _target(None, image)
    passed = _passed_over(paths)
    validated = _validated(_every_model(paths), fleet, jobs, options, target)
    general = fleet_findings(fleet, validated) if fleet else []
    if as_json:
        data = {"ok": all(item.ok for item in validated), "files": [item.to_json() for item in validated]}
        data["passed_over"] = [{"file": str(item.file), "why": item.why} for item in passed]
        print_json({**data, "fleet_findings": [vars(finding) for finding in general]})
    else:
        _print_findings(validated, general)
        errors = sum(not item.ok for item in validated)
        colour = "red" if errors else "green"
        out.print(f"[{colour}]{len(validated) - errors} of {counted(len(validated), 'model')} can be published[/]")
    if not all(item.ok for item in validated):
        raise typer.Exit(2)
    if passed:
        raise typer.Exit(1)


@app.command("publish")
def models_publish(
    config: Config,
    paths: Paths,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Tenants uploaded in parallel.")] = 8,
    rounds: Rounds = None,
    missing: Missing = None,
    libsvm_base: LibsvmBase = 0,
    preprocessing: Steps = None,
    forest: FlatForest = None,
    contribs: Contribs = False,
    skip_validation: Annotated[
        bool, typer.Option("--skip-validation", help="Do not validate, because it was done before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Upload models under keys that are never written twice, then make each its tenant's current version.

    After an interruption run it again: it skips published models and completes the rest.
    """
    fleet = load_or_fail(config)
    options, target = _options(rounds, missing, libsvm_base, preprocessing, forest, contribs), target_of(fleet)
    passed = _passed_over(paths)
    models, bucket = _every_model(paths), bucket_of(fleet)
    if not skip_validation:
        _need_xgboost("the validation (or give --skip-validation)")
    elif not all(model.packaged for model in models):
        _need_xgboost("packaging")
    with aws_or_fail(bucket):
        s3 = s3_of(fleet, connections=jobs)
        with suppress(CatalogError):
            pointer.read(s3, bucket, models[0].tenant)  # before minutes of validation
        refused: list[Outcome] = []
        if not skip_validation:
            validated = _validated(models, fleet, None, options)
            if not as_json:
                _print_findings(validated, fleet_findings(fleet, validated), console=err)
            refused = [_refused(item) for item in validated if not item.ok]
            models = [item.model for item in validated if item.ok]
        started, said = perf_counter(), Said()
        try:
            left = "published models stay published: run the same command again to complete the rest"
            with if_interrupted(left), counter("publishing", len(models)) as one:
                outcomes = refused + list(
                    publish_all(
                        s3,
                        bucket=bucket,
                        models=models,
                        jobs=jobs,
                        package_of=packaging_for(
                            fleet, lambda model, own: _package(own or target, options, said, skip_validation, model)
                        ),
                        leave_pointers=leave_pointers(fleet),
                        done=one,
                    )
                )
        except AwsProblemError as error:
            fail(f"{error}; fix this and run the same command again: it completes the rest")
    if skip_validation:
        said.print()  # validation would have printed the same
    _print_outcomes(outcomes, perf_counter() - started, pins([fleet]), as_json=as_json)
    if passed:
        raise typer.Exit(1)


_POINTER_WORDS = {"moved": "made current", "unchanged": "already current", "left alone": "for its container"}


class Said:
    """The notes and warnings of packaging, each printed once with the first file that it concerns."""

    def __init__(self) -> None:
        self._files: dict[tuple[Severity, str], list[str]] = {}

    def add(self, model: ModelFile, made: Package) -> None:
        for severity, sentences in (("note", made.notes), ("warning", made.warnings)):
            for sentence in sentences:
                self._files.setdefault((cast(Severity, severity), sentence), []).append(str(model.file))

    def print(self) -> None:
        for (severity, sentence), files in self._files.items():
            several = f" and {len(files) - 1} more" if len(files) > 1 else ""
            say(severity, f"{files[0]}{several}: {sentence}", check="package", console=err)


def _package(target: Target, options: PackageOptions, said: Said, verify: bool, model: ModelFile) -> Package:
    made = package(model, target, options, verify=verify)
    said.add(model, made)
    return made


def _options(
    rounds: str | None,
    missing: float | None = None,
    libsvm_base: int = 0,
    preprocessing: Path | None = None,
    forest: str | None = None,
    contribs: bool = False,
) -> PackageOptions:
    if rounds not in (None, "all", "best"):
        fail(f"--rounds {rounds}: give all or best")
    if missing is not None and not math.isfinite(missing):
        fail(f"--missing {missing}: NaN and empty cells always mean missing; give a number such as -999")
    steps: dict[str, Any] = {}
    if preprocessing is not None:
        try:
            steps = json.loads(preprocessing.read_text(encoding="utf-8"))
        except OSError as error:
            fail(f"--preprocessing {preprocessing}: {error.strerror}")
        except ValueError as error:
            fail(f"--preprocessing {preprocessing} is not JSON: {error}")
    if forest not in (None, "none", "beside", "alone"):
        fail(f"--forest {forest}: give none, beside or alone")
    if contribs and forest == "none":
        fail("--contribs needs a flat forest, and --forest none makes none; leave one out")
    return PackageOptions(
        cast("RoundsKept", rounds or "auto"),
        missing,
        libsvm_base,
        steps,
        cast("Forest", forest) if forest else "auto",
        contribs,
    )


def _target(config: Path | None, image: str | None) -> Target | None:
    if config is not None and image is not None:
        fail("give --config or --for, not both: a fleet file names its image")
    if config is not None:
        return target_of(load_or_fail(config))
    try:
        return named_target(image) if image is not None else None
    except ValueError as error:
        fail(str(error))


def _passed_over(paths: list[Path]) -> list[PassedOver]:
    passed = passed_over(paths)
    for item in passed:
        say("warning", f"{item.file} is skipped: it {item.why}", check="name", console=err)
    return passed


def _print_outcomes(outcomes: list[Outcome], seconds: float, pinned: Mapping[str, str], *, as_json: bool) -> None:
    failed = [outcome for outcome in outcomes if outcome.failed]
    published = [outcome.publication for outcome in outcomes if outcome.publication]
    counts = Counter(outcome.status for outcome in outcomes)
    uploaded = sum(item.size_bytes for item in published if item.artefact == "uploaded")
    if as_json:
        summary = {**{str(k): n for k, n in counts.items()}, "uploaded_bytes": uploaded, "seconds": round(seconds, 3)}
        messages = [outcome.message for outcome in failed]
        data = {"published": [vars(item) for item in published], "refused": messages, "summary": summary}
        print_json({**data, "outcomes": [outcome.to_json() for outcome in outcomes]})
    else:
        if len(outcomes) <= 20:
            rows = []
            for item in sorted(published, key=lambda item: item.target_model):
                moved = _POINTER_WORDS[item.pointer]
                rows.append((item.target_model, size(item.size_bytes), f"{item.artefact}, {moved}"))
            for line in in_columns(rows, columns(), shrink=(0,), right=(1,)):
                out.print(escape(line))
        shown = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        rate = f"{len(outcomes) / seconds:.0f}/s"
        out.print(f"{counted(len(outcomes), 'model')}: {shown}; {size(uploaded)} uploaded in {seconds:.1f} s ({rate})")
        for target, why in sorted(pinned.items()):
            if any(item.tenant == target.partition("/")[0] and item.target_model not in pinned for item in published):
                message = f"{why}: its endpoint still serves {target}; change that line and deploy to roll out"
                say("warning", message)
        for outcome in failed:
            if not outcome.message.startswith("validation"):
                err.print(f"[bold red]{outcome.status}[/]: {escape(f'{outcome.model.file}: {outcome.message}')}")
    if failed:
        raise typer.Exit(2)


def _refused(item: Validated) -> Outcome:
    errors = "; ".join(finding.message for finding in item.findings if finding.severity == "error")
    return Outcome(item.model, "refused", f"validation: {errors}")


def _validated(
    models: list[ModelFile],
    fleet: "FleetConfig | None",
    jobs: int | None,
    options: PackageOptions,
    target: Target | None = None,
) -> list[Validated]:
    with counter("validating", len(models)) as one:
        if fleet is not None:
            return validate_for(fleet, models, rounds=options.rounds, jobs=jobs, done=one)
        return validate(models, fleet=fleet, target=target, rounds=options.rounds, jobs=jobs, done=one)


def _print_findings(validated: list[Validated], general: list[Finding], console: Console = out) -> None:
    files: dict[Finding, list[str]] = {}
    for item in validated:
        for finding in item.findings:
            files.setdefault(finding, []).append(str(item.model.file))
    for finding, where in files.items():
        several = f" and {len(where) - 1} more" if len(where) > 1 else ""
        text = f"{where[0]}{several}: {finding.message}"
        say(finding.severity, text, check=finding.check, console=console)
    for finding in general:
        say(finding.severity, finding.message, check=finding.check, console=console)


def _every_model(paths: list[Path]) -> list[ModelFile]:
    try:
        return every_model(paths)
    except ValueError as error:
        fail(str(error))


def _need_xgboost(what: str) -> None:
    if find_spec("xgboost") is None:
        fail(f"{what} needs XGBoost; pip install 'tierfleet[cli,models]'")
