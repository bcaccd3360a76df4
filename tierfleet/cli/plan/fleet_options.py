"""The options of `tierfleet plan fleet` in four groups, each translated into the planner's terms."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tierfleet.cli.plan.trace_options import TraceOptions, traffic_option
from tierfleet.config import FleetConfig
from tierfleet.errors import InputError

if TYPE_CHECKING:
    from tierfleet.cost.prices import PriceTable
    from tierfleet.planning.profiles.profile import Profile
    from tierfleet.planning.search.requirements import Requirements
    from tierfleet.planning.sources import Source

_SLA: Final = "What is required"
_CHOICE: Final = "What may be chosen"
_OUTPUT: Final = "Output"


def _sla(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel=_SLA)


def _choice(text: str, **more: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=_CHOICE, **more)


@dataclass(frozen=True, kw_only=True)
class RequirementOptions:
    """What the fleet must achieve. The alarm limits of the fleet file are the defaults."""

    budget_usd: Annotated[float | None, _sla("The most that the fleet may cost a month.")] = None
    min_hit_ratio: Annotated[float | None, _sla("The lowest hit ratio. Default: alarms.min_cache_hit_ratio.")] = None
    warm_p95_milliseconds: Annotated[float | None, _sla("The p95 limit of calls whose model is in memory.")] = None
    cold_p95_seconds: Annotated[
        float | None, _sla("The p95 limit of calls that wait for a load. Default: alarms.max_loading_wait_seconds.")
    ] = None
    tenant_p99: Annotated[
        list[str] | None, _sla("A tenant's p99 limit in the container, TENANT=MILLISECONDS; repeatable.")
    ] = None

    def requirements(self, fleet: FleetConfig) -> "Requirements":
        """Raises InputError."""
        from tierfleet.planning.search.requirements import requirements_of
        from tierfleet.planning.sources import numbers

        warm = self.warm_p95_milliseconds
        return requirements_of(
            fleet,
            min_hit_ratio=self.min_hit_ratio,
            warm_p95_seconds=None if warm is None else warm / 1000,
            cold_p95_seconds=self.cold_p95_seconds,
            usd=self.budget_usd,
            tenant_p99_seconds={
                name: number / 1000 for name, number in numbers("--tenant-p99", self.tenant_p99 or []).items()
            },
        )


@dataclass(frozen=True, kw_only=True)
class TrafficOptions(TraceOptions):
    """How the traffic is read."""

    model_megabytes: Annotated[
        float | None, traffic_option("The size of models where the source has none.", min=0.001)
    ] = None
    packed: Annotated[bool, traffic_option("The sizes are of packed artefacts (tar.gz).", "--packed")] = False
    skip_days: Annotated[float | None, traffic_option("The first days, which only fill the caches.", min=0)] = None
    horizon: Annotated[str | None, traffic_option("Plan for the traffic expected in 90d, 12w, ...")] = None

    def read(self, source: str, folder: Path, profile: "Profile", progress: Callable[[int], None]) -> "Source":
        """The traffic of a trace or of a table of rates. Raises InputError."""
        from tierfleet.planning.sources import read_source, sessions_of

        return read_source(
            source,
            folder,
            reading=self.reading(),
            default_megabytes=self.model_megabytes,
            packed=self.packed,
            profile=profile,
            skip_days=self.skip_days,
            sessions=sessions_of(self.calls_per_session, self.mean_gap_seconds),
            horizon=self.horizon,
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """What the search may choose."""

    profile: Annotated[str | None, _choice("The container's profile; default: the fleet file's container.")] = None
    profiles: Annotated[Path | None, _choice("A file of profiles; default: the shipped one.")] = None
    prices: Annotated[Path | None, _choice("A price table.")] = None
    region: Annotated[str | None, _choice("Plan with the prices and types of this region.")] = None
    keep: Annotated[list[str] | None, _choice("A tenant that stays on its tier; repeatable.")] = None
    band: Annotated[float, _choice("How far below the limits a dedicated tenant goes back.", min=0, max=0.9)] = 0.3
    min_instances: Annotated[
        int | None, _choice("The fewest instances. Default: 2, or 1 as in the file.", min=1, max=100)
    ] = None
    max_instances: Annotated[int | None, _choice("The most instances. Default: 20.", min=1, max=100)] = None
    # The former names, hidden: scripts use them.
    least_instances: Annotated[int | None, _choice("", min=1, max=100, hidden=True)] = None
    most_instances: Annotated[int | None, _choice("", min=1, max=100, hidden=True)] = None

    def loaded(self) -> "tuple[PriceTable, dict[str, Profile]]":
        """The price table and the profiles by name. Raises InputError."""
        from tierfleet.cost.prices import load_prices
        from tierfleet.planning.profiles.profile_files import load_profiles

        return load_prices(self.prices), load_profiles(self.profiles)

    def instance_bounds(self) -> tuple[int | None, int]:
        """Fewest instances, None for the default, and most. Raises InputError where an alias gives a second value."""
        for name, alias in (("min", "least"), ("max", "most")):
            if None not in (getattr(self, f"{name}_instances"), getattr(self, f"{alias}_instances")):
                raise InputError(f"--{alias}-instances is the former name of --{name}-instances: give one of them")
        return (self.min_instances or self.least_instances), (self.max_instances or self.most_instances or 20)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is printed and written."""

    claim: Annotated[
        list[str] | None,
        typer.Option(help="A published hit ratio, MODELS=PERCENT; repeatable.", rich_help_panel=_OUTPUT),
    ] = None
    claim_usd: Annotated[float | None, typer.Option(help="The published cost a month.", rich_help_panel=_OUTPUT)] = None
    html: Annotated[
        Path | None, typer.Option("--html", "--report", help="Write the report to this file.", rich_help_panel=_OUTPUT)
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False
    apply: Annotated[
        bool, typer.Option("--apply", help="Edit the fleet file and print the diff.", rich_help_panel=_OUTPUT)
    ] = False
    pin: Annotated[
        list[str] | None,
        typer.Option(
            help="The version of a new dedicated tenant, TENANT=VERSION; repeatable.", rich_help_panel=_OUTPUT
        ),
    ] = None
