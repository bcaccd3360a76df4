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
    """One item of the bill, in US dollars a month."""

    tier: str | None
    """None for an item of the whole fleet."""
    tenant: str | None
    """The tenant of a dedicated endpoint, else None."""
    item: str
    """Such as `instances` or `alarms`."""
    detail: str
    """Quantities and prices, for a reader."""
    usd_at_min: float
    """With every endpoint at its lower bound."""
    usd: float
    """As expected."""
    usd_at_max: float
    """With every endpoint at its upper bound."""


@dataclass
class Bill:
    """A bill that grows line by line."""

    prices: PriceTable
    region: str
    """Whose prices are used."""
    lines: list[CostLine] = field(default_factory=list)
    used: dict[str, Price] = field(default_factory=dict)
    """Every price that a line needed, by name."""
    notes: list[str] = field(default_factory=list)
    """What was assumed."""
    left_out: list[str] = field(default_factory=list)
    """What the bill does not include."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Prices that the table lacks, by name, with the error's sentence."""

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
