"""hosting = "dedicated": an endpoint with instances for each tenant, its model always in memory."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field

from tierfleet.aws_limits import LONGEST_CALL_SECONDS
from tierfleet.config.hosting.tier import EndpointAlarmLimits, Guardrail, Tier
from tierfleet.config.section import SMALLEST_LIMIT, ModelKey, PinnedModel, TenantId

# Of the nested stack of one tenant. A test compares it with the template.
STACK_RESOURCES: Final = 13


class DedicatedAlarmLimits(EndpointAlarmLimits):
    """Limits of a dedicated endpoint; the first two also take a bad new version back."""

    max_model_latency_p99_milliseconds: Annotated[float, Field(ge=SMALLEST_LIMIT, le=1000 * LONGEST_CALL_SECONDS)]
    """ModelLatency p99 to hold, without overhead and network."""


class DedicatedTenant(PinnedModel):
    """A whale: a tenant with an endpoint of its own."""

    model: ModelKey
    """The pinned artefact, `<tenant>/<version>.tar.gz` below `models/` in the model bucket. -> AWS::SageMaker::Model
    ModelDataUrl"""


class DedicatedTier(Tier):
    """One endpoint per tenant, its model always in memory."""

    hosting: Literal["dedicated"]
    """`dedicated`: an endpoint for each tenant of the tier."""
    tenants: Mapping[TenantId, DedicatedTenant] = {}
    """The tenants, one line each."""
    alarms: DedicatedAlarmLimits
    """When to call for a person, and when to take a new version back."""
    guardrail: Guardrail = Guardrail()
    """How a new version gets its traffic."""

    @property
    def compares_moves(self) -> bool:
        """A guardrail watches an update, so a fleet of multi-model and dedicated tiers has no such gate."""
        return False

    def stack_resources(self, _tenant: str, /) -> int:
        """The same for every tenant."""
        return STACK_RESOURCES
