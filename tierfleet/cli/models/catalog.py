"""`tierfleet models list, rollback, remove, gc`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from tierfleet.cli.aws import aws_or_fail, bucket_of, routes_of, s3_of, sagemaker_of
from tierfleet.cli.console import Json, columns, fail, load_all_or_fail, load_or_fail, out, print_json, say
from tierfleet.cli.progress import counter, progress
from tierfleet.columns import in_columns, sentence
from tierfleet.config import FleetConfig
from tierfleet.models.bucket import READS_AT_ONCE
from tierfleet.models.collection.delete import delete_garbage
from tierfleet.models.collection.find import DEFAULT_GRACE, find_garbage
from tierfleet.models.collection.report import collection_json, collection_lines
from tierfleet.models.listing import Row, list_models, table
from tierfleet.models.references import pins, read_deployed
from tierfleet.models.remove import RemoveError, check_removed, obstacles, remove
from tierfleet.models.rollback import RollbackError, roll_back
from tierfleet.text import counted, moment, size

Config = Annotated[Path, typer.Argument(help="The fleet file.")]
Tenant = Annotated[str, typer.Argument(help="The tenant's id.")]
Permanently = Annotated[
    bool, typer.Option("--permanently", help="Delete every version of the keys. This cannot be undone.")
]
GraceHours = Annotated[
    int, typer.Option(min=0, max=48, help="Keep artefacts that were uploaded, current or removed since then.")
]
_DEFAULT_GRACE_HOURS = DEFAULT_GRACE // timedelta(hours=1)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the group `models`."""
    for name, command in (("list", _list), ("rollback", _rollback), ("remove", _remove), ("gc", _gc)):
        app.command(name)(command)


def _list(
    config: Config,
    tenants: Annotated[list[str] | None, typer.Option("--tenant", help="Only this tenant; repeatable.")] = None,
    tier: Annotated[str | None, typer.Option(help="Only tenants of this tier.")] = None,
    as_json: Json = False,
) -> None:
    """List each tenant's model version. Exit code 2 if a pointer is invalid or its artefact is missing."""
    fleet = load_or_fail(config)
    if tier is not None and tier not in fleet.tiers:
        fail(f"--tier {tier}: the fleet file has {', '.join(sorted(fleet.tiers))}")
    with aws_or_fail(bucket_of(fleet)), progress("reading pointers") as moved:
        s3 = s3_of(fleet, connections=READS_AT_ONCE)
        listing = list_models(s3, bucket=bucket_of(fleet), fleet=fleet, done=moved)
    rows = [row for row in listing.rows if (not tenants or row.tenant in tenants) and (not tier or row.tier == tier)]
    unknown = sorted(set(tenants or ()) - {row.tenant for row in rows})
    if as_json:
        data = {"models": [row.to_json() for row in rows], "s3_calls": listing.s3_calls}
        print_json(data)
    else:
        _print_rows(rows)
    if unknown:
        fail(f"nothing is published or pinned for {', '.join(unknown)}")
    if any(row.broken for row in rows):
        raise typer.Exit(2)


def _rollback(
    config: Config,
    tenant: Tenant,
    to: Annotated[str | None, typer.Option(help="The version; default: the previous one.")] = None,
    as_json: Json = False,
) -> None:
    """Make a tenant's previous version current again. Callers use it within their pointer TTL (60 s)."""
    fleet = load_or_fail(config)
    with aws_or_fail(bucket_of(fleet)):
        try:
            done = roll_back(s3_of(fleet, connections=1), bucket=bucket_of(fleet), tenant=tenant, to=to)
        except RollbackError as error:
            fail(str(error))
    pinned = next((target for target in pins([fleet]) if target.startswith(f"{tenant}/")), None)
    if as_json:
        print_json({**vars(done), "pinned": pinned})
        return
    if done.before == done.after:
        out.print(escape(f"{tenant}: {done.after} is already current"))
    else:
        out.print(escape(f"{tenant}: {done.before} -> {done.after}; callers use it within 60 s"))
    if pinned:
        say("warning", f"its endpoint still serves {pinned}; change that line and deploy")


def _remove(
    config: Config,
    tenant: Tenant,
    artefacts: Annotated[
        bool, typer.Option("--artefacts", help="Delete the removed tenant's artefacts: the second step.")
    ] = False,
    permanently: Permanently = False,
    grace_hours: GraceHours = _DEFAULT_GRACE_HOURS,
    as_json: Json = False,
) -> None:
    """Remove a tenant in two steps: its pointer now, and with --artefacts its artefacts after the grace period.

    It is refused while the fleet file or the deployed routes name the tenant, or a SageMaker model uses its artefact.
    """
    fleet = load_or_fail(config)
    bucket = bucket_of(fleet)
    with aws_or_fail(bucket):
        s3, deployed = s3_of(fleet, connections=1), read_deployed(sagemaker_of(fleet), bucket)
        refusals, warnings = obstacles(fleet, tenant, routes=routes_of(fleet), deployed=deployed)
        if refusals:
            fail("\n".join(refusals))
        try:
            if artefacts:
                check_removed(s3, bucket=bucket, tenant=tenant)
                _collect(
                    [fleet], tenant, delete=True, permanently=permanently, grace_hours=grace_hours, as_json=as_json
                )
                return
            done = remove(s3, bucket=bucket, tenant=tenant)
        except RemoveError as error:
            fail(str(error))
    if as_json:
        print_json({**vars(done), "warnings": warnings})
        return
    for warning in warnings:
        say("warning", warning)
    what = (
        f"was already removed at {done.removed_at}"
        if done.already
        else f"is removed, {done.was or 'no pointer'} was current"
    )
    left = f"{what}; {counted(done.artefacts, 'artefact')} ({size(done.size_bytes)}) left"
    out.print(escape(sentence(left, columns(), first=f"{tenant} ")))
    after = (moment(done.removed_at) + timedelta(hours=grace_hours)).isoformat(timespec="minutes")
    then = f"tierfleet models remove {config} {tenant} --artefacts, or models gc"
    out.print(escape(sentence(then, columns(), first=f"from {after} on: ")))
    say(
        "warning",
        "instances keep a loaded model until they evict it or are replaced, and answer calls that still name it in "
        "TargetModel; remove the permission of callers that must not reach it",
    )


def _gc(
    configs: Annotated[
        list[Path], typer.Argument(help="The fleet file, and other versions of it whose pins also count.")
    ],
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without it nothing is changed.")] = False,
    permanently: Permanently = False,
    grace_hours: GraceHours = _DEFAULT_GRACE_HOURS,
    as_json: Json = False,
) -> None:
    """List the artefacts that no pointer, pin or SageMaker model refers to. With --delete delete them."""
    fleets = load_all_or_fail(configs)
    if len({bucket_of(fleet) for fleet in fleets}) > 1:
        fail("the fleet files have different buckets; give fleet files with the same bucket")
    with aws_or_fail(bucket_of(fleets[0])):
        _collect(fleets, None, delete=delete, permanently=permanently, grace_hours=grace_hours, as_json=as_json)


def _collect(
    fleets: list[FleetConfig], tenant: str | None, *, delete: bool, permanently: bool, grace_hours: int, as_json: bool
) -> None:
    bucket, now = bucket_of(fleets[0]), datetime.now(UTC)
    s3, sagemaker = s3_of(fleets[0], connections=READS_AT_ONCE), sagemaker_of(fleets[0])
    versioned = s3.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
    deployed = read_deployed(sagemaker, bucket)
    with progress("reading pointers") as moved:
        garbage, held = find_garbage(
            s3,
            bucket=bucket,
            pins=pins(fleets),
            deployed=deployed,
            now=now,
            grace=timedelta(hours=grace_hours),
            tenant=tenant,
            done=moved,
        )
    if delete:
        with counter("deleting", len(garbage.of("garbage"))) as one:
            delete_garbage(
                s3,
                garbage,
                held,
                bucket=bucket,
                now=now,
                # A deployment may have begun to use a version since the first look.
                look_again=lambda: read_deployed(sagemaker, bucket, known=deployed),
                permanently=permanently,
                done=one,
            )
    if as_json:
        print_json(collection_json(garbage, versioned=versioned, deleting=delete))
    else:
        for line in collection_lines(
            garbage, versioned=versioned, deleting=delete, permanently=permanently, width=columns()
        ):
            out.print(escape(line))
        for problem in garbage.problems:
            say("error", problem)
    if garbage.problems or garbage.of("failed"):
        raise typer.Exit(2)


def _print_rows(rows: list[Row]) -> None:
    cells = table(rows, datetime.now(UTC))
    if columns() is not None:
        # Every endpoint's name begins with fleet and environment.
        cells = [(*row[:-1], row[-1].split("--", 2)[-1]) for row in cells]
    header, *lines = in_columns(cells, columns(), shrink=(0, 1, 2, 5, 7))
    out.print(escape(header), style="dim")
    for row, line in zip(rows, lines, strict=True):
        out.print(escape(line), style="red" if row.broken else None)
    for row in rows:
        for problem in row.problems:
            style = "bold red" if row.broken else "yellow"
            told = Text(sentence(problem, columns(), first=f"{row.tenant}: "))
            told.stylize(style, 0, len(row.tenant))
            out.print(told)
    out.print(f"{counted(len(rows), 'tenant')}, {size(sum(row.size_bytes or 0 for row in rows))} current")
