"""The options of `plan replay` and `plan backtest` about the trace and the container."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tierfleet.cli.plan.trace_options import ReadingOptions, traffic_option
from tierfleet.config import FleetConfig

if TYPE_CHECKING:
    from tierfleet.planning.profiles.profile import Profile
    from tierfleet.planning.replay.trace_source import Calls


@dataclass(frozen=True, kw_only=True)
class TraceOptions(ReadingOptions):
    """How the trace is read."""

    model_megabytes: Annotated[float | None, traffic_option("Where the trace has no sizes.", min=0.001)] = None
    packed: Annotated[bool, traffic_option("Sizes are those of tar.gz artefacts.", "--packed")] = False

    def read(self, source: str, folder: Path, profile: "Profile", progress: Callable[[int], None]) -> "Calls":
        """The calls of a trace. Raises InputError."""
        from tierfleet.planning.replay.trace_source import read_calls

        return read_calls(
            source,
            folder,
            reading=self.reading(),
            default_megabytes=self.model_megabytes,
            packed_ratio=profile.artefact_mb_per_model_mb if self.packed else None,
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True)
class ContainerOptions:
    """What is known of the container."""

    profile: Annotated[str | None, typer.Option(help="Container; default: the file's own.")] = None
    profiles: Annotated[Path | None, typer.Option(help="A profiles file; default: the shipped one.")] = None

    def known(self, fleet: FleetConfig) -> "tuple[dict[str, Profile], str]":
        """All profiles, and the name of the fleet's. Raises InputError."""
        from tierfleet.planning.profiles.profile_files import load_profiles
        from tierfleet.planning.request import profile_name

        profiles = load_profiles(self.profiles)
        return dict(profiles), profile_name(fleet, profiles, self.profile)


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What is written and printed."""

    html: Annotated[Path | None, typer.Option("--html", "--report", help="Write the report here.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False
