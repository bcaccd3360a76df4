"""The reference fleets: a fleet file and its traffic, as rates, so that the comparison takes seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.config import FleetConfig, load
from tierfleet.planning.traffic.rates import Rates
from tierfleet.planning.traffic.sessions import INDEPENDENT
from tierfleet.planning.traffic.shapes import MEGABYTE, SHAPES, Shape
from tierfleet.planning.traffic.synthesize import model_bytes
from tierfleet.planning.traffic.workload import Workload, workload_from_rates

_SEED: Final = 1
_FILES: Final[Mapping[str, str]] = {"fraud": "fraud-prod.toml", "churn": "churn-prod.toml"}
# Hours of the week in each period of Rates: five of a working day's hour, two of a weekend's.
_PERIOD_SHARE: Final = np.repeat([5 / 168, 2 / 168], 24)


@dataclass(frozen=True)
class ReferenceFleet:
    """A fleet with its traffic."""

    name: str
    """fraud (70 tenants, 1,000,000 calls a day) or churn (4,000 tenants, 80,000 calls a day)."""
    config: FleetConfig
    workload: Workload


def reference_fleets(directory: Path) -> list[ReferenceFleet]:
    """Both fleets; their files are in `directory`. Raises ConfigError."""
    return [
        ReferenceFleet(
            name, load(directory / file), workload_from_rates(rates_of_shape(SHAPES[name]), _sizes(SHAPES[name]))
        )
        for name, file in _FILES.items()
    ]


def rates_of_shape(shape: Shape) -> Rates:
    """The rates of a traffic shape, exactly: no trace is drawn."""
    rhythms = []
    for group in shape.groups:
        week = (group.hours / group.hours.mean()).reshape(7, 24)
        rhythm = np.concatenate([week[:5].mean(axis=0), week[5:].mean(axis=0)])
        rhythms.append(np.tile(rhythm, (len(group.tenants), 1)))
    daily = shape.requests_per_day * shape.tenant_shares()
    return Rates(
        shape.tenants, daily, model_bytes(shape, seed=_SEED), INDEPENDENT, np.concatenate(rhythms), _PERIOD_SHARE
    )


def _sizes(shape: Shape) -> NDArray[np.float64]:
    return model_bytes(shape, seed=_SEED) / MEGABYTE
