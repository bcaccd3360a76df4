"""What is drawn for a call, at fixed low-discrepancy points: the same input gives the same output."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.errors import InputError

Array = NDArray[np.float64]

POINTS: Final = 4096
Z95, Z99 = NormalDist().inv_cdf(0.95), NormalDist().inv_cdf(0.99)
# What each dimension of a point decides.
SIZE, OVERHEAD, PREDICT, FIRST_BYTE, FETCH, WAIT = range(6)


@cache
def uniform() -> Array:
    """POINTS points of the unit cube in six dimensions (Kronecker's sequence), none on its border."""
    root = 2.0
    for _ in range(64):  # x**7 = x + 1
        root = (1 + root) ** (1 / 7)
    steps = np.array([root ** -(dimension + 1) for dimension in range(6)])
    points: Array = (0.5 + np.arange(1, POINTS + 1)[:, None] * steps) % 1.0
    return np.clip(points, 1e-9, 1 - 1e-9)


@cache
def normal() -> Array:
    """The same points as standard normal values."""
    values: Array = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])(uniform())
    return values


def sampled(model_mb: Sequence[float] | Array, given: Sequence[float] | Array | None) -> Array:
    """Model sizes at the points, each as often as its weight says (equally, if none are given). Raises InputError."""
    sizes = np.asarray(model_mb, float)
    weights = np.ones(len(sizes)) if given is None else np.asarray(given, float)
    if sizes.ndim != 1 or not len(sizes) or len(sizes) != len(weights):
        raise InputError(f"{sizes.size} model sizes and {weights.size} weights; give as many of each, from one")
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise InputError("a model size is not above 0 MB")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise InputError("a weight of a model is below 0, or all are 0")
    order = np.argsort(sizes)
    reached = np.cumsum(weights[order]) / weights.sum()
    picked: Array = sizes[order][np.minimum(np.searchsorted(reached, uniform()[:, SIZE]), len(sizes) - 1)]
    return picked


def lognormal(dimension: int, median: float, sigma: float) -> Array:
    """Values at the points of one dimension."""
    return median * np.exp(sigma * normal()[:, dimension])


def lognormal_between(p5: float, p95: float) -> tuple[float, float]:
    """Median and sigma of the lognormal with these percentiles."""
    return math.sqrt(p5 * p95), math.log(p95 / p5) / (2 * Z95)
