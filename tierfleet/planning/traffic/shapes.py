"""Traffic shapes: who calls how much, and when."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.errors import InputError

_HOURS: Final = np.arange(168) % 24
_DAYS: Final = np.arange(168) // 24
MEGABYTE: Final = 1e6

# Weights of the 168 hours of a week, Monday 00:00 UTC first.
FLAT: Final = np.ones(168)
# Quiet at four in the night, busiest at four in the afternoon: three to one.
DAY: Final = 1 - 0.5 * np.cos((_HOURS - 4) / 24 * 2 * np.pi)
# Eight to six from Monday to Friday.
BUSINESS_HOURS: Final = ((_HOURS >= 8) & (_HOURS < 18) & (_DAYS < 5)).astype(np.float64)


@dataclass(frozen=True)
class Group:
    """Tenants that make a share of the requests together.

    zipf: the exponent of their popularity, in the order of `tenants`; 0 gives each the same.
    hours: weights of the hours of a week.
    """

    tenants: tuple[str, ...]
    share: float
    zipf: float
    hours: NDArray[np.float64]

    def popularity(self) -> NDArray[np.float64]:
        """The share of the group's requests that each tenant makes."""
        weights = np.arange(1, len(self.tenants) + 1, dtype=np.float64) ** -self.zipf
        return np.asarray(weights / weights.sum())


@dataclass(frozen=True)
class Shape:
    """A fleet's traffic. model_megabytes: artefact sizes lie evenly between these two."""

    groups: tuple[Group, ...]
    requests_per_day: float
    model_megabytes: tuple[float, float]

    @property
    def tenants(self) -> tuple[str, ...]:
        """All names, group after group."""
        return tuple(tenant for group in self.groups for tenant in group.tenants)

    def tenant_shares(self) -> NDArray[np.float64]:
        """The share of all requests that each of `tenants` makes."""
        return np.concatenate([group.share * group.popularity() for group in self.groups])

    def without_rhythm(self) -> "Shape":
        """The same, evenly over the week."""
        return replace(self, groups=tuple(replace(group, hours=FLAT) for group in self.groups))


def _numbered(prefix: str, digits: int, start: int, end: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number:0{digits}}" for number in range(start, end + 1))


def zipf_shape(tenants: int, requests_per_day: float, exponent: float, model_megabytes: float = 45.0) -> Shape:
    """One group whose n-th tenant calls n^-exponent as much as the first, without a rhythm."""
    names = _numbered("t", max(4, len(str(tenants))), 1, tenants)
    return Shape((Group(names, 1.0, exponent, FLAT),), requests_per_day, (model_megabytes, model_megabytes))


_WHALES: Final = ("m01", "m04", "m12", "m18", "m29")
_REGULAR: Final = tuple(name for name in _numbered("m", 2, 1, 55) if name not in _WHALES)
# 70 merchants: five make 80 % all day long, 50 make 19 % in business hours, 15 call now and then.
_FRAUD: Final = Shape(
    (
        Group(_WHALES, 0.80, 0.5, DAY),
        Group(_REGULAR, 0.19, 0.5, BUSINESS_HOURS),
        Group(_numbered("m", 2, 56, 70), 0.01, 0.0, DAY),
    ),
    requests_per_day=1_000_000,
    model_megabytes=(10.0, 50.0),
)
# 4,000 tenants in three tiers of popularity, flat within each.
_CHURN_FLAT: Final = Shape(
    (
        Group(_numbered("c", 4, 1, 500), 0.60, 0.0, DAY),
        Group(_numbered("c", 4, 501, 2000), 0.25, 0.0, DAY),
        Group(_numbered("c", 4, 2001, 4000), 0.15, 0.0, DAY),
    ),
    requests_per_day=80_000,
    model_megabytes=(45.0, 45.0),
)
# The Zipf law whose shares come closest to the three tiers': 60.0, 25.0 and 15.0 %.
_CHURN: Final = replace(_CHURN_FLAT, groups=(Group(_CHURN_FLAT.tenants, 1.0, 0.81, DAY),))

SHAPES: Final[Mapping[str, Shape]] = {"fraud": _FRAUD, "churn": _CHURN, "churn-flat": _CHURN_FLAT}


def varied(
    name: str, *, requests_per_day: float | None = None, zipf: float | None = None, without_rhythm: bool = False
) -> Shape:
    """A shape of SHAPES with some of it changed. zipf: all tenants become one group. Raises InputError."""
    if name not in SHAPES:
        raise InputError(f"{name!r} is no traffic shape; there are {', '.join(SHAPES)}")
    shape = SHAPES[name]
    if requests_per_day is not None:
        shape = replace(shape, requests_per_day=requests_per_day)
    if zipf is not None:
        by_popularity = tuple(np.array(shape.tenants)[np.argsort(-shape.tenant_shares(), kind="stable")].tolist())
        shape = replace(shape, groups=(Group(by_popularity, 1.0, zipf, DAY),))
    return shape.without_rhythm() if without_rhythm else shape
