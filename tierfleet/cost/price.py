"""One of AWS's list prices, with the source it was read from."""

from dataclasses import dataclass
from datetime import date

from tierfleet.errors import InputError


class UnknownPriceError(InputError):
    """The table has no such price. The message names the way out."""


@dataclass(frozen=True)
class PriceSource:
    """Where prices were read, and when."""

    name: str
    as_of: date
    text: str
    """What a reader needs to find it again."""
    check: bool = False
    """The source is indirect or undated, so its prices should be verified."""
    aws_url: str | None = None
    """The address of AWS's own price list; None for a copy or a quotation of it."""
    sha256: str | None = None
    """The checksum of the file behind `aws_url`, as downloaded."""
    checked: bool = False
    """Whoever wrote the table answers for it, as for the prices of a contract. No shipped source says so."""


@dataclass(frozen=True)
class Price:
    """US dollars for one unit, or for one hour of an instance type, in one region."""

    name: str
    region: str
    usd: float
    source: PriceSource
    through: float | None = None
    """The quantity a month up to which the price applies; None: any quantity."""
    sku: str | None = None
    """AWS's own id, where the price was refreshed."""
    second: PriceSource | None = None
    """A source that is independent of the first and gives the same price."""
    derived: bool = False
    """Computed from EC2's price, not read."""
    borrowed_from: str | None = None
    """The region whose price this is, where the table has none for `region`."""

    @property
    def unchecked(self) -> bool:
        """No file of AWS's, no second source and no word of the table's author confirms this price."""
        confirmed = self.source.aws_url is not None or self.second is not None or self.source.checked
        return self.derived or self.borrowed_from is not None or self.source.check or not confirmed

    @property
    def mark(self) -> str:
        """What follows the price in a sentence: ` (unchecked)`, or nothing."""
        return " (unchecked)" if self.unchecked else ""

    def of(self, quantity: float) -> float:
        """US dollars for `quantity` units a month. Raises UnknownPriceError beyond `through`."""
        if self.through is not None and quantity > self.through:
            raise UnknownPriceError(
                f"{self.name} in {self.region}: the price is known up to {self.through:,.0f} units a month, asked for "
                f"{quantity:,.0f}; AWS's next tier is not in the table"
            )
        return quantity * self.usd
