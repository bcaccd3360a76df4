"""A bill in the making: lines, the prices they use, and what is missing from the table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from tierfleet.cost.price import Price, PriceSource, UnknownPriceError
from tierfleet.cost.prices import PriceTable

# Tier and tenant; tenant is None for a shared tier, both are for the whole fleet.
Place = tuple[str | None, str | None]


@dataclass(frozen=True)
class CostLine:
    """One item in US dollars a month: with every endpoint at its lower bound, as expected, and at its upper bound.

    tier: None for what belongs to the whole fleet. tenant: of a dedicated endpoint.
    """

    tier: str | None
    tenant: str | None
    item: str
    detail: str
    usd_at_min: float
    usd: float
    usd_at_max: float


@dataclass
class Bill:
    """notes: what was assumed; left_out: what is not in it; unknown: prices that the table lacks."""

    prices: PriceTable
    region: str
    lines: list[CostLine] = field(default_factory=list)
    used: dict[str, Price] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)

    def unit(self, name: str) -> Price:
        """The price of a unit."""
        return self._price(name, self.prices.unit_price)

    def hour(self, instance_type: str) -> Price:
        """The price of an instance hour."""
        return self._price(instance_type, self.prices.hourly_price)

    def _price(self, name: str, find: Callable[[str, str], Price]) -> Price:
        """The price; an unknown one is remembered, so that one error can name them all."""
        if name not in self.used:
            try:
                self.used[name] = find(name, self.region)
            except UnknownPriceError as error:
                self.unknown[name] = str(error)
                return Price(name, self.region, 0.0, PriceSource("unknown", date.min, ""))
        return self.used[name]

    def add(self, place: Place, item: str, detail: str, usd: float, bounds: tuple[float, float] | None = None) -> None:
        """One line; bounds: the amounts at the lower and at the upper bounds, where they differ."""
        low, high = bounds or (usd, usd)
        self.lines.append(CostLine(*place, item, detail, low, usd, high))
