"""How long a load waits for others on its instance: an M/G/c queue.

Loads come at random times, `loads_at_once` servers take them, and a load's seconds vary with the model's size. With one
server that is Pollaczek and Khinchine's formula, exact in the mean; with more, Erlang's C scaled by the variation of
the load times (Allen and Cunneen's approximation).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierfleet.errors import InputError


@dataclass(frozen=True)
class LoadWait:
    """How long a load waits for others on its instance. utilisation at or above 1: the queue never ends."""

    utilisation: float
    probability: float
    mean_seconds_if_waiting: float

    @property
    def mean_seconds(self) -> float:
        """Over all loads."""
        return self.probability * self.mean_seconds_if_waiting


def load_wait(
    load_seconds: Sequence[float] | NDArray[np.float64], loads_per_second: float, loads_at_once: int
) -> LoadWait:
    """The queue for loads on one instance; load_seconds: equally likely durations of one load."""
    if not loads_per_second >= 0 or loads_at_once < 1:
        raise InputError(
            f"loads_per_second is {loads_per_second}, loads_at_once {loads_at_once}; give 0 or more, and 1 or more"
        )
    durations = np.asarray(load_seconds, float)
    mean = float(durations.mean())
    offered = loads_per_second * mean
    utilisation = offered / loads_at_once
    if offered == 0:
        return LoadWait(0.0, 0.0, 0.0)
    # More loads come than can be done: the queue has no mean.
    if utilisation >= 1:
        return LoadWait(utilisation, 1.0, math.inf)
    variation = float((durations**2).mean()) / mean**2  # 1 + squared coefficient of variation
    mean_if_waiting = variation / 2 * mean / (loads_at_once * (1 - utilisation))
    return LoadWait(utilisation, _erlang_c(offered, loads_at_once), mean_if_waiting)


def _erlang_c(offered: float, servers: int) -> float:
    """Probability to wait in M/M/c. By Erlang's B, which does not overflow."""
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))
