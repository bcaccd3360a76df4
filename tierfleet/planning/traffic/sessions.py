"""Bursts: calls come in sessions. How a session hides from a cache, and how to find it in the gaps between calls.

The model is a Poisson cluster process. A tenant's sessions start at random, lambda/k a second; a session has k calls
on average, with gaps of mean g between them (exponential). k = 1 is independent calls. For this process, exactly:

    P(gap to the next call <= T)       H(T) = 1 - (1 + (k - 1) S(T)) / k * exp(-(lambda / k) (T + (k - 1) M(T)))
    P(a call within the last T)        O(T) = 1 - exp(-(lambda / k) (T + (k - 1) M(T)))

with S(T) = exp(-T/g), the share of gaps longer than T, and M(T) = g (1 - exp(-T/g)), the mean of min(gap, T). For O: a
session leaves the last T empty unless it starts where one of its calls falls into it; those starts measure T for its
first call and min(gap, T) more for each further one. H follows as dO/dT = lambda (1 - H), which holds for every
stationary process (Palm's formula).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

# The columns of sql/rates.sql that count gaps, and their length in seconds.
GAP_COLUMNS: Final[Mapping[str, float]] = {
    "gaps_within_10_seconds": 10.0,
    "gaps_within_1_minute": 60.0,
    "gaps_within_5_minutes": 300.0,
    "gaps_within_20_minutes": 1200.0,
    "gaps_within_1_hour": 3600.0,
}
# Longer gaps than this share of the trace are too often cut off by its end.
_LONGEST_GAP_SHARE: Final = 0.1
# Sessions of fewer calls than this are independent calls with noise.
_LEAST_CALLS: Final = 1.05
_MOST_CALLS: Final = 1e6
# A year.
_LONGEST_GAP_SECONDS: Final = 31_536_000.0
# In standard errors: a share of gaps that is nearer to that of independent calls than this may be theirs.
_CHANCE: Final = 4.0


@dataclass(frozen=True)
class Sessions:
    """The burstiness of traffic.

    calls: per session on average, at least 1; 1 means independent calls. mean_gap_seconds: between calls of a session.
    """

    calls: float = 1.0
    mean_gap_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.calls >= 1:
            raise ValueError(f"a session has {self.calls} calls; give at least 1")
        if self.calls > _MOST_CALLS:
            raise ValueError(f"a session has {self.calls:g} calls; give at most {_MOST_CALLS:,.0f}")
        if not 0 <= self.mean_gap_seconds <= _LONGEST_GAP_SECONDS:
            raise ValueError(
                f"the mean gap is {self.mean_gap_seconds:g} s; give a number of at least 0, up to "
                f"{_LONGEST_GAP_SECONDS:,.0f}"
            )
        if self.calls > 1 and self.mean_gap_seconds == 0:
            raise ValueError("sessions of more than one call need a mean gap above 0 s")

    def occupancy(self, per_second: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
        """O(T): the probability of a call within the last `seconds`, for tenants of these rates."""
        return np.asarray(-np.expm1(-self._exponent(per_second, seconds)))

    def gap_within(self, per_second: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
        """H(T): the probability that the next call comes within `seconds`, for tenants of these rates."""
        longer = np.exp(-seconds / self.mean_gap_seconds) if self.calls > 1 else 0.0
        first_or_late = (1 + (self.calls - 1) * longer) / self.calls
        return np.asarray(1 - first_or_late * np.exp(-self._exponent(per_second, seconds)))

    def _exponent(self, per_second: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
        spread = seconds
        if self.calls > 1:
            spread -= (self.calls - 1) * self.mean_gap_seconds * float(np.expm1(-seconds / self.mean_gap_seconds))
        return per_second / self.calls * spread


INDEPENDENT: Final = Sessions()


def fit_sessions(
    requests: NDArray[np.int64], per_second: NDArray[np.float64], span_seconds: float, gaps_within: Mapping[str, int]
) -> Sessions:
    """The sessions that explain the gaps of a whole fleet best (least squares over the lengths of GAP_COLUMNS).

    requests, per_second: of each tenant and hour of the day, any shape, the same for both; a rate that follows the
    day keeps a busy hour from passing for a burst. gaps_within: column of sql/rates.sql to how many gaps.
    Assumes that sessions look alike over tenants.
    """
    lengths = {name: length for name, length in GAP_COLUMNS.items() if length <= span_seconds * _LONGEST_GAP_SHARE}
    if len(lengths) < 2 or requests.sum() == 0:
        return INDEPENDENT
    rate, share = _rate_classes(per_second[requests > 0], requests[requests > 0] / requests.sum())
    seen = np.array([gaps_within[name] / requests.sum() for name in lengths])

    # Chance alone explains as much of the difference between shares of few gaps.
    chance = _CHANCE * np.sqrt(np.maximum(seen * (1 - seen), 1e-4) / requests.sum())
    independent = np.array([share @ INDEPENDENT.gap_within(rate, length) for length in lengths.values()])
    if (np.abs(independent - seen) <= chance).all():
        return INDEPENDENT

    def error(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        sessions = Sessions(1 + float(np.exp(parameters[0])), float(np.exp(parameters[1])))
        expected = [share @ sessions.gap_within(rate, length) for length in lengths.values()]
        return np.asarray(np.array(expected) - seen)

    # In logarithms, and from three starts: the error has more than one minimum.
    bounds = (np.log([1e-4, 1.0]), np.log([1e4, 86400.0]))
    starts = [np.log([1.5, gap]) for gap in (20.0, 300.0, 3000.0)]
    best = min((least_squares(error, start, bounds=bounds) for start in starts), key=lambda fit: float(fit.cost))
    calls, gap = 1 + float(np.exp(best.x[0])), float(np.exp(best.x[1]))
    return Sessions(calls, gap) if calls >= _LEAST_CALLS else INDEPENDENT


def _rate_classes(
    per_second: NDArray[np.float64], share: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean rate and the whole share of tenants of nearly the same rate (within 4 %), instead of each tenant's."""
    kind = np.floor(np.log(per_second) * 25).astype(np.int64)
    kind -= kind.min()
    shares = np.bincount(kind, share).astype(np.float64)
    rates = np.bincount(kind, share * per_second).astype(np.float64)
    return rates[shares > 0] / shares[shares > 0], shares[shares > 0]
