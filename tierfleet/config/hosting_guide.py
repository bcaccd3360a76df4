"""The hosting shapes side by side, as `tierfleet shapes` prints them and docs/choosing.md shows them.

>>> row_of("serverless")["Client waits at most"]
'250 s'

What the code knows is read from it: waiting times, sizes, quotas, regions, the names of endpoints.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tierfleet.config import quotas
from tierfleet.config.hosting import TIERS
from tierfleet.config.hosting.serverless import REGIONS
from tierfleet.config.hosting.tier import InstanceTier
from tierfleet.runtime import names
from tierfleet.runtime.hosting import REAL_TIME_BODY_BYTES, SHAPES
from tierfleet.runtime.hosting.pipeline import MAX_BYTES_BETWEEN_STAGES

REAL_TIME_MEBIBYTES: Final = REAL_TIME_BODY_BYTES // 2**20


@dataclass(frozen=True, kw_only=True)
class Guide:
    """What the code of a shape cannot say."""

    use_for: str
    models_per_endpoint: str
    call_names: str
    """The routing parameter of a call."""
    isolation: str
    cold_call: str
    scaling: str
    guardrail: str
    pays_for: str
    endpoints: str = ""
    """How many; left out: one for all tenants of the tier, or one for each."""
    request: str = f"{REAL_TIME_MEBIBYTES} MB"
    """The largest request."""
    network: str = "yes"
    """Whether a VPC and network isolation are possible."""
    quotas: str = "instances of the type"
    regions: str = "all with the instance type"


_BLUE_GREEN: Final = "blue/green with alarms"
_BY_CALLS: Final = "instances by calls and clock"
_ALWAYS: Final = "instances, all the time"

GUIDES: Final[Mapping[str, Guide]] = {
    "multi-model": Guide(
        use_for="the many tenants with little traffic each",
        models_per_endpoint="thousands; memory is a cache of them",
        call_names="its model (TargetModel)",
        isolation="an IAM condition on the model; instances are shared",
        cold_call="the model is loaded: seconds",
        scaling="instances by calls, cache and clock",
        guardrail="a new endpoint instead",
        pays_for=_ALWAYS,
    ),
    "dedicated": Guide(
        use_for="a tenant with much traffic or a latency promise",
        models_per_endpoint="1",
        call_names="nothing",
        isolation="own instances and role",
        cold_call="none",
        scaling=_BY_CALLS,
        guardrail=_BLUE_GREEN,
        pays_for=_ALWAYS,
    ),
    "multi-container": Guide(
        use_for="a tenant with several models or frameworks",
        models_per_endpoint="2 to 15 containers",
        call_names="its container (TargetContainerHostname)",
        isolation="own instances and role, shared by the containers",
        cold_call="none",
        scaling=f"{_BY_CALLS}, sized for the slowest container",
        guardrail=_BLUE_GREEN,
        pays_for=_ALWAYS,
    ),
    "pipeline": Guide(
        use_for="a tenant whose requests need steps around the model",
        endpoints="one for each tenant, or with a multi-model stage one for all",
        models_per_endpoint="2 to 15 stages, at most one of them multi-model",
        call_names="nothing, or the model of its multi-model stage",
        isolation="own instances and role, unless a stage is multi-model",
        cold_call="none, unless a stage is multi-model",
        scaling=_BY_CALLS,
        guardrail=_BLUE_GREEN,
        pays_for=f"{_ALWAYS}; stages cost nothing extra",
        request=f"{REAL_TIME_MEBIBYTES} MB, {MAX_BYTES_BETWEEN_STAGES // 2**20} MB between stages",
    ),
    "serverless": Guide(
        use_for="a tenant who calls a few times a day",
        models_per_endpoint="1",
        call_names="nothing",
        isolation="own containers and role",
        cold_call="a container starts: seconds, up to 4 minutes",
        scaling="AWS starts containers up to max_concurrency",
        guardrail="none",
        pays_for="the seconds in which calls run",
        request="4 MB",
        network="no",
        quotas=(
            f"{quotas.DEFAULT_SERVERLESS_ENDPOINTS} endpoints, {quotas.DEFAULT_SERVERLESS_CONCURRENCY} calls at once"
        ),
        regions=str(len(REGIONS)),
    ),
    "async": Guide(
        use_for="large or slow requests and backfills, answered later",
        models_per_endpoint="1",
        call_names="nothing; the answer goes to S3",
        isolation="own instances and role",
        cold_call="an instance starts: 5 to 10 minutes",
        scaling="instances by backlog, down to none",
        guardrail=_BLUE_GREEN,
        pays_for="instances while there is work, and about 15 minutes more",
        request="1 GB in S3, 128,000 bytes in the call",
    ),
}
"""By the word of `hosting`."""


def row_of(hosting: str) -> dict[str, str]:
    """Everything about one shape, by what it is about. hosting: a word of SHAPES."""
    shape, guide = SHAPES[hosting], GUIDES[hosting]
    instance_type = "ml.m5.large" if issubclass(TIERS[hosting], InstanceTier) else None
    tenant = None if shape.shared else "m01"
    return {
        "Use it for": guide.use_for,
        "Endpoints": guide.endpoints or ("one for all tenants of the tier" if shape.shared else "one for each tenant"),
        "Models per endpoint": guide.models_per_endpoint,
        "Endpoint name": names.endpoint_name("shop", "prod", "tier", tenant, hosting, instance_type),
        "A call names": guide.call_names,
        "Isolation": guide.isolation,
        "Cold call": guide.cold_call,
        "Client waits at most": f"{shape.longest_answer_seconds:g} s"
        + ("" if shape.request_response else " to submit"),
        "Largest request": guide.request,
        "VPC, network isolation": guide.network,
        "Scaling": guide.scaling,
        "Guardrail of an update": guide.guardrail,
        "You pay for": guide.pays_for,
        "Quotas of the account": guide.quotas,
        "Regions": guide.regions,
    }


def shapes_table() -> dict[str, dict[str, str]]:
    """`row_of` by shape."""
    return {hosting: row_of(hosting) for hosting in SHAPES}


def shapes_markdown() -> str:
    """A line for each row, a column for each shape."""
    table = shapes_table()
    lines = ["| | " + " | ".join(f"`{hosting}`" for hosting in table) + " |", "|---" * (len(table) + 1) + "|"]
    for row in next(iter(table.values())):
        cells = (f"`{column[row]}`" if row == "Endpoint name" else column[row] for column in table.values())
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)
