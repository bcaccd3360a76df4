"""The calls of a trace with the size of each tenant's model, for a replay."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tierfleet.errors import InputError
from tierfleet.planning.traffic.rates_files import is_rates_file
from tierfleet.planning.traffic.requests import Progress, Requests
from tierfleet.planning.traffic.trace import Reading
from tierfleet.planning.traffic.workload import idle_megabytes, model_megabytes


@dataclass(frozen=True)
class Calls:
    """requests: of the trace. model_mb: the model file of each tenant, 10**6 bytes. notices: about the trace."""

    requests: Requests
    model_mb: NDArray[np.float64]
    notices: tuple[str, ...]


def read_calls(
    source: str,
    folder: Path,
    *,
    reading: Reading,
    default_megabytes: float | None,
    packed_ratio: float | None,
    progress: Progress | None = None,
) -> Calls:
    """Read a trace. default_megabytes, packed_ratio: as in `model_megabytes`. folder: as in `read_trace`.

    Raises InputError, also for a table of rates, which has no calls.
    """
    if is_rates_file(source):
        raise InputError(f"{source} is a table of rates; a replay needs the calls one by one: give a trace")
    trace = reading.trace(source, folder, progress)
    sizes = model_megabytes(trace.requests.tenants, trace.requests.model_bytes, default_megabytes, packed_ratio)
    idle = idle_megabytes(trace.requests.model_bytes, default_megabytes)
    return Calls(trace.requests, sizes, (*trace.notices, *idle))
