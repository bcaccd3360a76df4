"""The SageMaker quotas a fleet needs, against what a new account has."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tierfleet.columns import in_columns
from tierfleet.config.model import DedicatedTier, FleetConfig

# Defaults of a new account. Source: docs.aws.amazon.com/general/latest/gr/sagemaker.html (2026 text).
DEFAULT_INSTANCES_ACROSS_ENDPOINTS = 4
DEFAULT_INSTANCES_PER_ENDPOINT = 4
# Types that are not listed here have a default of 0 "for endpoint usage".
DEFAULT_INSTANCES_OF_TYPE = {"ml.m6g.large": 2, "ml.m6g.xlarge": 1, "ml.t2.medium": 2}


@dataclass(frozen=True)
class Quota:
    """One quota in instances: what the fleet uses at most, what an update doubles it to, what a new account has."""

    name: str
    at_maximum: int
    while_updating: int
    default: int

    @property
    def request_increase(self) -> bool:
        """Whether a new account must ask for more."""
        return self.while_updating > self.default


def quotas(config: FleetConfig) -> list[Quota]:
    """The instance quotas of one fleet.

    An update builds the new instances beside the old ones (blue/green), and one deployment may update every
    endpoint: so each count is needed twice.
    """
    of_type: Counter[str] = Counter()
    largest = 0
    for tier in config.tiers.values():
        endpoints = len(tier.tenants) if isinstance(tier, DedicatedTier) else 1
        of_type[tier.instance_type] += endpoints * tier.most_instances
        largest = max(largest, tier.most_instances if endpoints else 0)
    return [
        *(
            Quota(f"{name} for endpoint usage", count, 2 * count, DEFAULT_INSTANCES_OF_TYPE.get(name, 0))
            for name, count in sorted(of_type.items())
        ),
        Quota(
            "Number of instances across active endpoints",
            of_type.total(),
            2 * of_type.total(),
            DEFAULT_INSTANCES_ACROSS_ENDPOINTS,
        ),
        Quota("Maximum number of instances per endpoint", largest, largest, DEFAULT_INSTANCES_PER_ENDPOINT),
    ]


def quota_table(config: FleetConfig, needed: Sequence[Quota]) -> str:
    """The quotas as lines of text of at most 80 columns, one a quota, with what to ask AWS for."""
    rows = [("quota", "at max", "updating", "default", "")]
    for quota in needed:
        ask = f"request {quota.while_updating}" if quota.request_increase else ""
        rows.append((quota.name, str(quota.at_maximum), str(quota.while_updating), str(quota.default), ask))
    title = f"{config.fleet}-{config.environment}: SageMaker quotas in {config.account}, {config.region}"
    return "\n".join([title, *(f" {line}" for line in in_columns(rows, None, right=(1, 2, 3), gap=1))])
