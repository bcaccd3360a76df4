"""`tierfleet plan calibrate`: what models of one's own cost the tierfleet server."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import track

from tierfleet.cli.console import Json, err, fail, out, print_json
from tierfleet.errors import InputError
from tierfleet.files import check_writable, write_whole
from tierfleet.planning.profiles.calibrate import calibrated, measure
from tierfleet.planning.profiles.profile_files import profile_toml


def calibrate(
    artefacts: Annotated[list[Path], typer.Argument(help="Packed models (tar.gz) of different sizes.")],
    output: Annotated[Path | None, typer.Option("--out", help="Write the profile to this file.")] = None,
    name: Annotated[str, typer.Option(help="The profile's name.")] = "measured",
    copies: Annotated[int, typer.Option(min=1, max=1000, help="How often each is loaded.")] = 8,
    reserve_mib: Annotated[float, typer.Option(min=0, help="What an instance keeps for its system.")] = 3072,
    reserve_share: Annotated[float, typer.Option(min=0, max=0.99, help="What the server keeps of the rest.")] = 0.1,
    as_json: Json = False,
) -> None:
    """Measure the tierfleet server on artefacts and print a profile: memory, seconds to load, time of a row."""
    try:
        if output:
            check_writable(output, "--out")
        steps = track(measure(artefacts, copies=copies), "measuring", total=len(artefacts), console=err, transient=True)
        profile = calibrated(
            list(steps),
            name=name,
            copies=copies,
            reserve_mib=reserve_mib,
            reserve_share=reserve_share,
            on=datetime.now(UTC).date(),
        )
    except InputError as error:
        fail(str(error))
    if output:
        try:
            write_whole(output, profile_toml(profile))
        except OSError as error:
            fail(f"{output} cannot be written: {error}; give another place with --out")
    if as_json:
        print_json(asdict(profile))
    else:
        out.print(escape(f"{output} written" if output else profile_toml(profile).rstrip()))
