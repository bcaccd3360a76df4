"""`tierfleet models`: package and publish tenants' models."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.markup import escape
from rich.progress import track

from tierfleet.cli.config_commands import load_or_fail
from tierfleet.cli.console import Json, err, fail, out
from tierfleet.models.files import ModelFile, find_models
from tierfleet.models.package import package_file
from tierfleet.models.publish import Publication, PublishError, publish
from tierfleet.runtime.clients import s3_client
from tierfleet.runtime.names import models_bucket

app = typer.Typer(no_args_is_help=True, help="Package and publish tenants' models.")

Models = Annotated[Path, typer.Argument(help="A model <tenant>/<version>.ubj, or a directory of them.")]


@app.command("package")
def models_package(
    models: Models, output: Annotated[Path, typer.Option("--output", "-o", help="Where the artefacts go.")]
) -> None:
    """Make the artefacts: checked, cut to the best iteration, described; one <tenant>/<version>.tar.gz each."""
    for model in track(_found(models), "packaging", console=err, transient=True):
        artefact = output / model.tenant / f"{model.version}.tar.gz"
        artefact.parent.mkdir(parents=True, exist_ok=True)
        artefact.write_bytes(_archive(model))
        out.print(escape(str(artefact)))


@app.command("publish")
def models_publish(
    config: Annotated[Path, typer.Argument(help="The fleet file that says whose bucket it is.")],
    models: Models,
    as_json: Json = False,
) -> None:
    """Upload models under keys that are never written twice, then make each its tenant's current version."""
    fleet = load_or_fail(config)
    bucket = models_bucket(fleet.fleet, fleet.environment, fleet.account, fleet.region)
    s3 = s3_client(connections=1)
    published: list[Publication] = []
    refused: list[str] = []
    for model in track(_found(models), "publishing", console=err, transient=True):
        try:
            archive = _archive(model)
            published.append(publish(s3, bucket=bucket, tenant=model.tenant, version=model.version, archive=archive))
        except PublishError as error:
            refused.append(str(error))
        except (BotoCoreError, ClientError) as error:
            fail(
                f"{model.file} was not published to {bucket}: {error}; the bucket comes with "
                f"cdk deploy {fleet.fleet}-{fleet.environment}/Models, and AWS_PROFILE or AWS_ACCESS_KEY_ID says who "
                "you are"
            )
    if as_json:
        typer.echo(json.dumps({"published": [asdict(item) for item in published], "refused": refused}))
    else:
        for item in published:
            out.print(escape(f"{item.target_model}  {item.size_bytes / 1024:.0f} KiB  {item.artefact}"))
    if refused:
        fail("\n".join(refused))


def _found(models: Path) -> list[ModelFile]:
    try:
        return find_models(models)
    except ValueError as error:
        fail(str(error))


def _archive(model: ModelFile) -> bytes:
    try:
        return package_file(model)
    except ValueError as error:
        fail(str(error))
