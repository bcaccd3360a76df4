"""`tierfleet models`: package, validate and publish tenants' models."""

from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tierfleet.aws_problem import AwsProblemError
from tierfleet.cli.aws import aws_or_fail, bucket_of, s3_of
from tierfleet.cli.console import Json, err, fail, load_or_fail, out, print_json
from tierfleet.cli.interruption import if_interrupted
from tierfleet.cli.models import catalog, convert_command
from tierfleet.cli.models.catalog import Config
from tierfleet.cli.models.options import (
    Contribs,
    FlatForest,
    FleetOption,
    For,
    LibsvmBase,
    Missing,
    Models,
    Paths,
    Rounds,
    Steps,
    models_or_fail,
    need_xgboost,
    package_options,
    target_or_fail,
    warn_of_skipped_files,
)
from tierfleet.cli.models.output import PackagingNotes, print_findings, print_outcomes
from tierfleet.cli.progress import counter
from tierfleet.files import write_whole
from tierfleet.models import pointer, sources
from tierfleet.models.container_models import leave_pointers, packaging_for, validate_for
from tierfleet.models.files import ModelFile, find_models
from tierfleet.models.package import Package, PackageOptions, package
from tierfleet.models.publish import PublishError, check_names
from tierfleet.models.publish_many import Outcome, publish_all
from tierfleet.models.references import pins
from tierfleet.models.target import Target, target_of
from tierfleet.models.validation.findings import Validated
from tierfleet.models.validation.fleet_fit import fleet_findings
from tierfleet.models.validation.validate import refuse_bad_archive, validate
from tierfleet.runtime.catalog import CatalogError
from tierfleet.text import counted

if TYPE_CHECKING:
    from tierfleet.config import FleetConfig

app = typer.Typer(no_args_is_help=True, help="Package, publish, list, roll back and remove tenants' models.")
catalog.add_to(app)
convert_command.add_to(app)


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
    options = package_options(rounds, missing, libsvm_base, preprocessing, forest, contribs)
    target = target_or_fail(config, image)
    skipped = warn_of_skipped_files([models])
    try:
        files = find_models(models)
    except ValueError as error:
        fail(str(error))
    if not all(model.packaged for model in files):
        need_xgboost("packaging")
    refused = []
    notes = PackagingNotes()
    with counter("packaging", len(files)) as one:
        for model in files:
            artefact = output / model.tenant / f"{model.version}.tar.gz"
            try:
                check_names(model.tenant, model.version)
                if model.packaged:
                    refuse_bad_archive(model)
                made = package(model, target, options)
                artefact.parent.mkdir(parents=True, exist_ok=True)
                # Before the artefact: an interruption in between must not leave one whose source is unknown.
                if made.source:
                    sources.write_beside(artefact, made.source)
                write_whole(artefact, made.archive)
                notes.add(model, made)
                out.print(escape(str(artefact)))
            except ValueError as error:
                refused.append(str(error))
            except PublishError as error:
                refused.append(f"{model.file}: {error} (files are named <tenant>/<version>)")
            except OSError as error:
                refused.append(f"{error.filename or artefact}: {error.strerror}")
            one()
    notes.print()
    if refused:
        fail("\n".join(refused))
    if skipped:
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
    need_xgboost("models validate")
    fleet = load_or_fail(config) if config else None
    options, target = package_options(rounds), None if fleet else target_or_fail(None, image)
    skipped = warn_of_skipped_files(paths)
    validated = _validated(models_or_fail(paths), fleet, jobs, options, target)
    general = fleet_findings(fleet, validated) if fleet else []
    if as_json:
        data = {"ok": all(item.ok for item in validated), "files": [item.to_json() for item in validated]}
        # The key is older than the word "skipped". Scripts read it.
        data["passed_over"] = [{"file": str(item.file), "why": item.why} for item in skipped]
        print_json({**data, "fleet_findings": [vars(finding) for finding in general]})
    else:
        print_findings(validated, general)
        errors = sum(not item.ok for item in validated)
        colour = "red" if errors else "green"
        out.print(f"[{colour}]{len(validated) - errors} of {counted(len(validated), 'model')} can be published[/]")
    if not all(item.ok for item in validated):
        raise typer.Exit(2)
    if skipped:
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
    options, target = package_options(rounds, missing, libsvm_base, preprocessing, forest, contribs), target_of(fleet)
    skipped = warn_of_skipped_files(paths)
    models, bucket = models_or_fail(paths), bucket_of(fleet)
    if not skip_validation:
        need_xgboost("the validation (or give --skip-validation)")
    elif not all(model.packaged for model in models):
        need_xgboost("packaging")
    with aws_or_fail(bucket):
        s3 = s3_of(fleet, connections=jobs)
        with suppress(CatalogError):
            pointer.read(s3, bucket, models[0].tenant)  # before minutes of validation
        refused: list[Outcome] = []
        if not skip_validation:
            validated = _validated(models, fleet, None, options)
            if not as_json:
                print_findings(validated, fleet_findings(fleet, validated), console=err)
            refused = [_refused(item) for item in validated if not item.ok]
            models = [item.model for item in validated if item.ok]
        started, notes = perf_counter(), PackagingNotes()
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
                            fleet, lambda model, own: _package(own or target, options, notes, skip_validation, model)
                        ),
                        leave_pointers=leave_pointers(fleet),
                        done=one,
                    )
                )
        except AwsProblemError as error:
            fail(f"{error}; fix this and run the same command again: it completes the rest")
    if skip_validation:
        notes.print()  # validation would have printed the same
    print_outcomes(outcomes, perf_counter() - started, pins([fleet]), as_json=as_json)
    if skipped:
        raise typer.Exit(1)


def _package(target: Target, options: PackageOptions, notes: PackagingNotes, verify: bool, model: ModelFile) -> Package:
    made = package(model, target, options, verify=verify)
    notes.add(model, made)
    return made


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
