"""The SageMaker quotas a fleet needs, against what a new account has."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tierfleet.columns import in_columns
from tierfleet.config.model import FleetConfig

# Defaults of a new account. Source: docs.aws.amazon.com/general/latest/gr/sagemaker.html (2026 text).
DEFAULT_INSTANCES_ACROSS_ENDPOINTS = 4
DEFAULT_INSTANCES_PER_ENDPOINT = 4
# Types that are not listed here have a default of 0 "for endpoint usage".
DEFAULT_INSTANCES_OF_TYPE = {"ml.m6g.large": 2, "ml.m6g.xlarge": 1, "ml.t2.medium": 2}

# A new account's; the developer guide still prints 50 endpoints. Service Quotas may word the names otherwise
# (docs/aws-assumptions.md).
SERVERLESS_ENDPOINTS = "Maximum number of serverless endpoints"
SERVERLESS_CONCURRENCY = "Maximum total concurrency across all serverless endpoints"
DEFAULT_SERVERLESS_ENDPOINTS = 5
DEFAULT_SERVERLESS_CONCURRENCY = 10

# With the numbers behind it, such a line fits a terminal of 80 columns.
_NAME_COLUMNS = 44


@dataclass(frozen=True)
class Quota:
    """One quota, in instances, endpoints or calls: what the fleet uses at most, needs while it updates, and may use in
    a new account."""

    name: str
    at_maximum: int
    while_updating: int
    default: int

    @property
    def request_increase(self) -> bool:
        """Whether a new account must ask for more."""
        return self.while_updating > self.default


def quotas(config: FleetConfig) -> list[Quota]:
    """The quotas of one fleet.

    An update builds the new instances next to the old ones (blue/green), and one deployment may update every
    endpoint: so each count is needed twice.
    """
    of_type: Counter[str] = Counter()
    largest = 0
    for tier in config.instance_tiers.values():
        of_type[tier.instance_type] += tier.endpoint_count * tier.most_instances
        largest = max(largest, tier.most_instances if tier.endpoint_count else 0)
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
        *_serverless(config),
    ]


def _serverless(config: FleetConfig) -> list[Quota]:
    """The two quotas of serverless endpoints. An update adds no endpoint and no concurrency."""
    tiers = config.serverless_tiers.values()
    if not tiers:
        return []
    endpoints = sum(len(tier.tenants) for tier in tiers)
    concurrency = sum(len(tier.tenants) * tier.max_concurrency for tier in tiers)
    return [
        Quota(SERVERLESS_ENDPOINTS, endpoints, endpoints, DEFAULT_SERVERLESS_ENDPOINTS),
        Quota(SERVERLESS_CONCURRENCY, concurrency, concurrency, DEFAULT_SERVERLESS_CONCURRENCY),
    ]


def quota_table(config: FleetConfig, needed: Sequence[Quota]) -> str:
    """The quotas as lines of text of at most 80 columns, one a quota, with what to ask AWS for."""
    rows: list[tuple[str, ...]] = [("quota", "at max", "updating", "default", "")]
    for quota in needed:
        ask = f"request {quota.while_updating}" if quota.request_increase else ""
        *begun, last = textwrap.wrap(quota.name, _NAME_COLUMNS, subsequent_indent="  ")
        rows += [(line,) for line in begun]
        rows.append((last, str(quota.at_maximum), str(quota.while_updating), str(quota.default), ask))
    title = f"{config.fleet}-{config.environment}: SageMaker quotas in {config.account}, {config.region}"
    return "\n".join([title, *(f" {line}" for line in in_columns(rows, None, right=(1, 2, 3), gap=1))])
