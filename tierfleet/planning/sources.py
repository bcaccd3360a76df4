"""The traffic of a plan from a trace or a table of rates, and small arguments as a user writes them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tierfleet import text
from tierfleet.errors import InputError
from tierfleet.planning.cache.che import CHE_NOTICE
from tierfleet.planning.horizon import horizon_days, workload_at_horizon
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.traffic.growth import growth_notices, growth_of
from tierfleet.planning.traffic.rates_files import is_rates_file, read_rates
from tierfleet.planning.traffic.requests import Progress, Requests
from tierfleet.planning.traffic.sessions import Sessions
from tierfleet.planning.traffic.trace import Reading
from tierfleet.planning.traffic.workload import (
    Workload,
    filling_days,
    idle_megabytes,
    model_megabytes,
    workload_from_rates,
    workload_from_trace,
)

_ONLY_FOR_TRACES: Final = frozenset(
    {
        "--skip-days",
        "--tenant-column",
        "--timestamp-column",
        "--model-bytes-column",
        "--latency-column",
        "--belady",
        "--time-unit",
        "--time-format",
        "--timezone",
        "--strict",
        "--horizon",
    }
)
DEFAULT_GAP_SECONDS: Final = 600.0
# A week, less what a log may miss at its ends.
_WEEK_DAYS: Final = 6.9


@dataclass(frozen=True)
class Source:
    """A workload and where it comes from."""

    workload: Workload
    days: float | None
    """Length of the trace; None for rates."""
    notices: tuple[str, ...]
    period: tuple[datetime, datetime] | None = None
    """First and last request of the trace, UTC; None for rates."""


def read_source(
    source: str,
    folder: Path,
    *,
    reading: Reading,
    default_megabytes: float | None,
    packed: bool,
    profile: Profile,
    skip_days: float | None,
    sessions: Sessions | None,
    horizon: str | None = None,
    progress: Progress | None = None,
) -> Source:
    """Read a trace or a rates file. Raises InputError.

    default_megabytes: size of models whose size the source does not say. packed: the source's sizes are those of packed
    artefacts; `profile` says how big the models in them are. skip_days: the first days fill the caches; None: a third,
    at most ten days. horizon: plan for what a trace comes to in so long a time, such as 90d.
    """
    ratio = profile.artefact_mb_per_model_mb if packed else None
    if is_rates_file(source):
        rates = read_rates(source, sessions=sessions)
        sizes = model_megabytes(rates.tenants, rates.model_bytes, default_megabytes, ratio)
        notices = [CHE_NOTICE, *idle_megabytes(rates.model_bytes, default_megabytes)]
        if rates.rhythm.shape[1] == 1:
            notices.append(
                "calls a day are spread evenly over its hours: the busiest hour is no busier than the others"
            )
        return Source(workload_from_rates(rates, sizes), None, tuple(notices))
    trace = reading.trace(source, folder, progress)
    requests = trace.requests
    days = requests.duration_seconds / 86_400
    skipped = filling_days(days) if skip_days is None else skip_days
    sizes = model_megabytes(requests.tenants, requests.model_bytes, default_megabytes, ratio)
    growth = growth_of(requests)
    idle = idle_megabytes(requests.model_bytes, default_megabytes)
    notices = [*trace.notices, *idle, *([] if growth is None else growth_notices(growth, horizon))]
    if horizon is not None:
        ahead = horizon_days(horizon)
        workload, notice = workload_at_horizon(requests, sizes, ahead, source=source, sessions=sessions)
        return Source(workload, days, (notice, *notices), _period(requests))
    workload = workload_from_trace(requests, sizes, skip_days=skipped, sessions=sessions)
    notices.append(f"the first {text.days(skipped)} of {text.days(days)} fill the caches and are not counted")
    if days < 1:
        notices.append(
            f"the trace lasts {text.duration(requests.duration_seconds)}: calls a day and the monthly bill are "
            "extrapolated from it, as if it went on like this day and night"
        )
    if days < _WEEK_DAYS:
        notices.append("hours and days of the week that the trace does not have are assumed to be like those it has")
    return Source(workload, days, tuple(notices), _period(requests))


def _period(requests: Requests) -> tuple[datetime, datetime]:
    first, last = (datetime.fromtimestamp(float(requests.seconds[index]), UTC) for index in (0, -1))
    return first, last


def refuse_idle_options(source: str, given: Mapping[str, object]) -> None:
    """Raises InputError that names every option without an effect. given: option to value; None, False: not set."""
    set_options = {name for name, value in given.items() if value not in (None, False)}
    mistakes = []
    if is_rates_file(source) and (idle := sorted(set_options & _ONLY_FOR_TRACES)):
        mistakes.append(f"{source} is a table of rates, for which {', '.join(idle)} mean nothing: leave them out")
    for option, needed in (
        ("--mean-gap-seconds", "--calls-per-session"),
        ("--claim-usd", "--claim"),
        ("--pin", "--apply"),
    ):
        if option in set_options and needed not in set_options:
            mistakes.append(f"{option} does nothing without {needed}: give both, or neither")
    if "--mean-gap-seconds" in set_options and given.get("--calls-per-session") == 1:
        mistakes.append("--calls-per-session 1 has no second call, so --mean-gap-seconds does nothing: leave it out")
    for option, other, why in (
        ("--belady", "--instances", "Belady's optimum is that of one instance"),
        ("--model-bytes-column", "--resident-mib", "one size for all models replaces the column"),
    ):
        if {option, other} <= set_options:
            mistakes.append(f"{option} and {other} contradict each other, since {why}: give one of them")
    if mistakes:
        raise InputError("; ".join(mistakes))


def numbers(option: str, given: Sequence[str]) -> dict[str, float]:
    """NAME=NUMBER pairs of a repeatable option. Raises InputError with every mistake."""
    pairs, mistakes = {}, []
    for pair in given:
        name, _, value = pair.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if name in pairs:
            mistakes.append(f"{option} {name} is given twice: give it once")
        elif name and math.isfinite(number):
            pairs[name] = number
        else:
            mistakes.append(f"{option} {pair}: write NAME=NUMBER")
    if mistakes:
        raise InputError("; ".join(mistakes))
    return pairs


def published_ratios(given: Sequence[str]) -> dict[int, float | None]:
    """MODELS=PERCENT pairs of --claim, or MODELS alone to compute the ratio only. Raises InputError."""
    ratios: dict[int, float | None] = {}
    for pair in given:
        models, equals, percent = pair.partition("=")
        try:
            number, ratio = int(models), float(percent) / 100 if equals else None
        except ValueError:
            raise InputError(f"--claim {pair}: write MODELS=PERCENT, such as 500=80, or MODELS") from None
        if number in ratios:
            raise InputError(f"--claim {number} is given twice: give it once")
        ratios[number] = ratio
    wrong = [models for models, ratio in ratios.items() if models < 1 or not (ratio is None or 0 < ratio <= 1)]
    if wrong:
        raise InputError(f"--claim {wrong[0]}: models from 1, percent above 0 and up to 100")
    return ratios


def sessions_of(calls: float | None, mean_gap_seconds: float | None) -> Sessions | None:
    """Burstiness as given; None if the source is to show it. Raises InputError."""
    if calls is None:
        return None
    try:
        gap = DEFAULT_GAP_SECONDS if mean_gap_seconds is None else mean_gap_seconds
        return Sessions(calls, gap if calls > 1 else 0.0)
    except ValueError as error:
        raise InputError(str(error)) from error
