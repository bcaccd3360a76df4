"""What each option of a search costs. Fast: only the part of the bill that differs between options is priced again."""

from dataclasses import dataclass, field, replace
from typing import Final

from tierfleet.config import DedicatedTier, FleetConfig, MultiModelTier
from tierfleet.cost import items
from tierfleet.cost.bill import Bill
from tierfleet.cost.instance_hours import mean_instances
from tierfleet.cost.monthly_cost import FleetCost, monthly_cost
from tierfleet.cost.price import UnknownPriceError
from tierfleet.cost.prices import PriceTable
from tierfleet.cost.usage import Usage
from tierfleet.instance_types import InstanceType
from tierfleet.planning.search.proposed import proposed_config, tenants_on_other_tiers

_PER_INSTANCE: Final = ("instances", "volumes")


@dataclass
class OptionPrices:
    """Prices of fleets that differ in the shared tier's type and count and in their dedicated tenants."""

    config: FleetConfig
    prices: PriceTable
    usage: Usage
    """With the traffic. Each option has a cold_share of its own."""
    new_tier: DedicatedTier | None
    """The tier that promoted tenants join if the fleet has no dedicated tier."""
    _rest: dict[frozenset[str], tuple[float, tuple[float, ...]]] = field(default_factory=dict)
    _endpoints: dict[tuple[str, int, frozenset[str]], float] = field(default_factory=dict)

    def usd(self, instance_type: InstanceType, instances: int, dedicated: frozenset[str], s3_share: float) -> float:
        """US dollars a month. s3_share: share of the shared tier's calls that fetch a model from S3, 0 to 1."""
        rest, calls_by_hour = self._rest_of_bill(instance_type, instances, dedicated)
        key = (instance_type.name, instances, dedicated)
        if key not in self._endpoints:
            tail = self._tail(instance_type, instances, dedicated)
            bill = Bill(self.prices, self.config.region)
            items.endpoint(bill, (self.config.default_tier, None), tail, mean_instances(tail, calls_by_hour))
            if bill.unknown:
                raise UnknownPriceError("\n".join(dict.fromkeys(bill.unknown.values())))
            self._endpoints[key] = sum(line.usd for line in bill.lines if line.item in _PER_INSTANCE)
        fetched = sum(calls_by_hour) * items.DAYS_PER_MONTH * s3_share
        get = self.prices.unit_price("s3_get_request", self.config.region)
        return rest + self._endpoints[key] + get.of(fetched)

    def cost(
        self, instance_type: InstanceType, instances: int, dedicated: frozenset[str], s3_share: float
    ) -> FleetCost:
        """The whole bill of one option."""
        usage = replace(self.usage, cold_share=s3_share)
        return monthly_cost(self._config(instance_type, instances, dedicated), self.prices, usage)

    def _rest_of_bill(
        self, instance_type: InstanceType, instances: int, dedicated: frozenset[str]
    ) -> tuple[float, tuple[float, ...]]:
        """All but the shared tier's instances and volumes, and that tier's calls by hour."""
        if dedicated not in self._rest:
            cost = self.cost(instance_type, instances, dedicated, 0.0)
            tail = (self.config.default_tier, None)
            own = sum(
                line.usd for line in cost.lines if (line.tier, line.tenant) == tail and line.item in _PER_INSTANCE
            )
            self._rest[dedicated] = (cost.usd - own, self._tail_calls(dedicated))
        return self._rest[dedicated]

    def _tail_calls(self, dedicated: frozenset[str]) -> tuple[float, ...]:
        traffic = self.usage.traffic
        if traffic is None:
            return (0.0,) * 24
        others = tenants_on_other_tiers(self.config).keys()
        return traffic.together([name for name in traffic.calls_per_hour if name not in dedicated | others])

    def _tail(self, instance_type: InstanceType, instances: int, dedicated: frozenset[str]) -> MultiModelTier:
        return self._config(instance_type, instances, dedicated).multi_model_tiers[self.config.default_tier]

    def _config(self, instance_type: InstanceType, instances: int, dedicated: frozenset[str]) -> FleetConfig:
        return proposed_config(
            self.config,
            instance_type=instance_type,
            instances=instances,
            dedicated=dedicated,
            new_tier=self.new_tier,
        )
