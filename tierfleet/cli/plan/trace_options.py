"""Options that say how a trace is read, shared by the commands that take one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from tierfleet.planning.traffic.trace import Reading

_TRAFFIC: Final = "Traffic"


def traffic_option(text: str = "", *names: str, **more: Any) -> Any:
    """An option of the panel about traffic. names: of a switch, which would have a --no-... otherwise."""
    return typer.Option(*names, help=text, rich_help_panel=_TRAFFIC, **more)


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Columns, times and bad rows of a trace."""

    tenant_column: Annotated[str | None, traffic_option("The column of tenants. Default: by its name.")] = None
    timestamp_column: Annotated[str | None, traffic_option("The column of times. Default: by its name.")] = None
    model_bytes_column: Annotated[str | None, traffic_option("The column of model sizes in bytes.")] = None
    time_unit: Annotated[
        str | None, traffic_option("The unit of Unix times: s, ms, us or ns. Default: by their magnitude.")
    ] = None
    time_format: Annotated[
        str | None, traffic_option("The format of times that are text, such as '%d.%m.%Y %H:%M:%S'.")
    ] = None
    timezone: Annotated[str | None, traffic_option("The zone of times that have none, such as Europe/London.")] = None
    strict: Annotated[bool, traffic_option("Fail if a row cannot be used.", "--strict")] = False

    def reading(self, latency_column: str | None = None) -> "Reading":
        """How the trace is read. Raises InputError."""
        from tierfleet.planning.traffic.trace import Reading
        from tierfleet.planning.traffic.trace_columns import Columns
        from tierfleet.planning.traffic.trace_sql import TimeForm

        columns = Columns(
            tenant=self.tenant_column,
            timestamp=self.timestamp_column,
            model_bytes=self.model_bytes_column,
            latency=latency_column,
        )
        return Reading(columns, self.timezone, self.strict, TimeForm(self.time_unit, self.time_format))


@dataclass(frozen=True, kw_only=True)
class TraceOptions(ReadingOptions):
    """How a trace or a table of rates is read, and the burstiness that replaces the source's own."""

    calls_per_session: Annotated[
        float | None, traffic_option("The mean number of calls in a session; 1: independent calls.", min=1)
    ] = None
    mean_gap_seconds: Annotated[
        float | None, traffic_option("The mean gap between the calls of a session. Default: 600.", min=0)
    ] = None
