"""Traffic from a trace or a rates file, and the small arguments of a plan, as a user writes them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from boto3 import Session
from botocore.exceptions import BotoCoreError, ClientError

from tierfleet.aws_problem import aws_problem
from tierfleet.config import FleetConfig
from tierfleet.errors import InputError
from tierfleet.planning.cache.curve_table import Reading
from tierfleet.planning.change import Target
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.traffic.rates_files import is_rates_file, read_rates
from tierfleet.planning.traffic.requests import Progress
from tierfleet.planning.traffic.sessions import Sessions
from tierfleet.planning.traffic.trace import read_trace
from tierfleet.planning.traffic.workload import Workload, model_megabytes, workload_from_rates, workload_from_trace
from tierfleet.runtime.catalog import CatalogError, read_pointer
from tierfleet.runtime.clients import s3_client
from tierfleet.runtime.names import models_bucket
from tierfleet.text import duration

# Without a word about it, at most so much of a trace fills the caches first.
_MOST_SKIPPED_DAYS = 10.0
_SKIPPED_SHARE = 1 / 3
_OF_TRACES: Final = frozenset(
    {
        "--skip-days",
        "--tenant-column",
        "--timestamp-column",
        "--model-bytes-column",
        "--latency-column",
        "--timezone",
        "--strict",
    }
)
DEFAULT_GAP_SECONDS: Final = 600.0
# A week, less what a log may miss at its ends.
_WEEK_DAYS = 6.9


@dataclass(frozen=True)
class Source:
    """A workload with where it comes from. days: of the trace; None for rates."""

    workload: Workload
    days: float | None
    notices: tuple[str, ...]


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
    progress: Progress | None = None,
) -> Source:
    """Read a trace or a rates file.

    default_megabytes: of models whose size it does not say. packed: its sizes are those of packed artefacts; what is
    in them follows from `profile`. skip_days: the first days fill the caches; None: a third, at most ten days.
    Raises InputError.
    """
    ratio = profile.artefact_mb_per_model_mb if packed else None
    if is_rates_file(source):
        rates = read_rates(source, sessions=sessions)
        sizes = model_megabytes(rates.tenants, rates.model_bytes, default_megabytes, ratio)
        notices = ["hit ratios from rates are approximations; a trace is exact"]
        if rates.rhythm.shape[1] == 1:
            notices.append(
                "calls a day are spread evenly over its hours: the busiest hour is no busier than the others"
            )
        return Source(workload_from_rates(rates, sizes), None, tuple(notices))
    trace = read_trace(
        source, folder, columns=reading.columns, timezone=reading.timezone, strict=reading.strict, progress=progress
    )
    requests = trace.requests
    days = requests.duration_seconds / 86_400
    skipped = min(_MOST_SKIPPED_DAYS, days * _SKIPPED_SHARE) if skip_days is None else skip_days
    sizes = model_megabytes(requests.tenants, requests.model_bytes, default_megabytes, ratio)
    workload = workload_from_trace(requests, sizes, skip_days=skipped, sessions=sessions)
    notices = [*trace.notices, f"the first {skipped:.3g} of {days:.3g} days fill the caches and are not counted"]
    if days < 1:
        notices.append(
            f"the trace lasts {duration(requests.duration_seconds)}: calls a day and the monthly bill are extrapolated "
            "from it, as if it went on like this day and night"
        )
    if days < _WEEK_DAYS:
        notices.append("hours and days of the week that the trace does not have are taken to be like those it has")
    return Source(workload, days, tuple(notices))


def refuse_idle_options(source: str, given: Mapping[str, object]) -> None:
    """Options of a trace's columns, times and days mean nothing for a table of rates, and burstiness needs its calls.

    given: option to value; None or False: not given. Raises InputError with all that would do nothing.
    """
    set_options = {name for name, value in given.items() if value not in (None, False)}
    mistakes = []
    if is_rates_file(source) and (idle := sorted(set_options & _OF_TRACES)):
        mistakes.append(f"{source} is a table of rates, for which {', '.join(idle)} mean nothing: leave them out")
    if "--mean-gap-seconds" in set_options and "--calls-per-session" not in set_options:
        mistakes.append("--mean-gap-seconds does nothing without --calls-per-session: give both, or neither")
    if "--pin" in set_options and "--apply" not in set_options:
        mistakes.append(
            "--pin does nothing without --apply, which writes it into the fleet file: give both, or neither"
        )
    if mistakes:
        raise InputError("; ".join(mistakes))


def numbers(option: str, given: Sequence[str]) -> dict[str, float]:
    """NAME=NUMBER pairs of a repeatable option. Raises InputError with every mistake."""
    found, mistakes = {}, []
    for pair in given:
        name, _, text = pair.partition("=")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if name and math.isfinite(number):
            found[name] = number
        else:
            mistakes.append(f"{option} {pair}: write NAME=NUMBER")
    if mistakes:
        raise InputError("; ".join(mistakes))
    return found


def claimed_ratios(given: Sequence[str]) -> dict[int, float | None]:
    """MODELS=PERCENT pairs, or MODELS alone where only the computed ratio is wanted."""
    found: dict[int, float | None] = {}
    for pair in given:
        models, equals, text = pair.partition("=")
        try:
            found[int(models)] = float(text) / 100 if equals else None
        except ValueError:
            raise InputError(f"--claim {pair}: write MODELS=PERCENT, such as 500=80, or MODELS") from None
    wrong = [models for models, ratio in found.items() if models < 1 or not (ratio is None or 0 < ratio <= 1)]
    if wrong:
        raise InputError(f"--claim {wrong[0]}: models from 1, percent above 0 and up to 100")
    return found


def sessions_of(calls: float | None, mean_gap_seconds: float | None) -> Sessions | None:
    """Burstiness as given; None if it is to be found in the source. Raises InputError."""
    if calls is None:
        return None
    try:
        gap = DEFAULT_GAP_SECONDS if mean_gap_seconds is None else mean_gap_seconds
        return Sessions(calls, gap if calls > 1 else 0.0)
    except ValueError as error:
        raise InputError(str(error)) from error


def pinned(target: Target, config: FleetConfig, versions: Sequence[str], from_catalog: Callable[[str], str]) -> Target:
    """The target with the model of each promoted tenant: TENANT=VERSION as given, else what the catalog names.

    from_catalog: tenant to model key. Raises InputError with all that cannot be had.
    """
    pins: dict[str, str] = {}
    for pair in versions:
        tenant, equals, version = pair.partition("=")
        if not (tenant and equals and version) or "/" in version:
            raise InputError(f"--pin {pair}: write TENANT=VERSION, such as m07=2026-11-14")
        pins[tenant] = f"{tenant}/{version.removesuffix('.tar.gz')}.tar.gz"
    promoted = target.promoted(config)
    if idle := sorted(pins.keys() - target.dedicated):
        who = ", ".join(sorted(target.dedicated)) or "nobody"
        raise InputError(
            f"--pin names {', '.join(idle)}, and the plan gives endpoints of their own to {who}: pin only those"
        )
    missing: dict[str, str] = {}
    for tenant in promoted:
        if tenant not in pins:
            try:
                pins[tenant] = from_catalog(tenant)
            except InputError as error:
                missing[tenant] = str(error)
    if missing:
        reasons = "; ".join(sorted(set(missing.values())))
        options = " ".join(f"--pin {tenant}=VERSION" for tenant in missing)
        raise InputError(
            f"{', '.join(missing)} would get an endpoint, and a dedicated model is pinned; the catalog cannot say "
            f"which: {reasons}; give {options}"
        )
    return replace(target, pins=pins)


def catalog_reader(config: FleetConfig) -> Callable[[str], str]:
    """Tenant to the key of its current model, read from the fleet's bucket at AWS."""
    bucket = models_bucket(config.fleet, config.environment, config.account, config.region)

    def read(tenant: str) -> str:
        try:
            s3 = s3_client(connections=1, session=Session(region_name=config.region))
            return read_pointer(s3, bucket=bucket, tenant=tenant).target_model
        except (BotoCoreError, ClientError) as error:
            raise InputError(aws_problem(error, bucket)) from error
        except CatalogError as error:
            raise InputError(str(error)) from error

    return read
