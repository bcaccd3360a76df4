"""hosting = "multi-model": one endpoint for many tenants. The memory of its instances is a cache of models."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from tierfleet.aws_limits import LONGEST_LOAD_SECONDS
from tierfleet.config.container import Container
from tierfleet.config.hosting.tier import EndpointAlarmLimits, Guardrail, Tier
from tierfleet.config.section import SMALLEST_LIMIT, Count, Schedule, Section, TenantId, TimeZone, check_distinct
from tierfleet.runtime.names import GENERATION_PATTERN


class ScaleOnCache(Section):
    """More instances when the model cache thrashes, whatever the traffic. Scale-in then waits for a calm hour."""

    max_unloads_per_hour: Count
    """Models unloaded for want of memory, over all instances, that the tier tolerates (ModelUnloadingTime
    SampleCount)."""
    add_instances: Count = 1
    """Instances added each time. -> ScalingPolicy StepAdjustments.ScalingAdjustment"""
    cooldown_seconds: Annotated[int, Field(ge=60, le=86_400)] = 1800
    """Pause after adding or removing one. -> StepScalingPolicyConfiguration.Cooldown"""


class MultiModelAlarmLimits(EndpointAlarmLimits):
    """Limits of a multi-model endpoint."""

    min_cache_hit_ratio: Annotated[float, Field(ge=SMALLEST_LIMIT, le=1)]
    """ModelCacheHit ratio to hold."""
    max_loading_wait_seconds: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=LONGEST_LOAD_SECONDS)] = 3.0
    """Longest ModelLoadingWaitTime a caller may meet."""
    max_unloads_per_hour: Count = 500
    """Models unloaded for want of memory, over all instances, before the cache counts as thrashing."""


class WarmUp(Section):
    """Models loaded before their callers come: on a schedule, when the endpoint is in service, in a deploy."""

    schedule: Schedule
    """When to warm; several hours in one cron keep a list warm through the day.
    -> AWS::Scheduler::Schedule ScheduleExpression"""
    timezone: TimeZone = "UTC"
    """IANA time zone of the schedule. -> ScheduleExpressionTimezone"""
    tenants: Annotated[tuple[TenantId, ...], AfterValidator(check_distinct)] = ()
    """Whose models to load, hottest first. A tenant on another tier is skipped."""
    tenants_file: str | None = None
    """Or a file next to this one with one tenant a line (`#` starts a comment), for long lists."""
    concurrency: Annotated[int, Field(ge=1, le=256)] | None = None
    """Loads under way at once; default: the vCPUs of the initial instances."""
    deadline_seconds: Annotated[int, Field(ge=60, le=780)] = 780
    """When to stop and report what is left."""


class MultiModelTier(Tier):
    """A multi-model endpoint: the instances' memory is a cache of models."""

    hosting: Literal["multi-model"]
    """`multi-model`: one endpoint for all tenants of the tier."""
    default: bool = False
    """True for the one tier that serves every tenant that no other tier names."""
    tenants: Annotated[tuple[TenantId, ...], AfterValidator(check_distinct)] = ()
    """Tenants of a further shared tier; the default tier lists none."""
    first_generation: Annotated[str, Field(pattern=rf"^{GENERATION_PATTERN}$")] | None = None
    """The generation whose endpoint name has no suffix. Left out: the name always has one. -> AWS::SageMaker::Endpoint
    EndpointName"""
    models_per_instance: Count | None = None
    """Models of this fleet that fit the memory of one instance, measured: LoadedModelCount when ModelUnloadingTime
    first appears. Needed for a warm-up."""
    model_cache: Literal["Enabled", "Disabled"] = "Enabled"
    """Disabled unloads a model after each call. -> AWS::SageMaker::Model MultiModelConfig.ModelCacheSetting"""
    scale_on_cache: ScaleOnCache | None = None
    """Step scaling on unloads, for a fleet whose limit is memory."""
    alarms: MultiModelAlarmLimits
    """When to call for a person."""
    warm_up: WarmUp | None = None
    """Which models to load ahead of their callers."""
    guardrail: Guardrail | None = None
    """For updates in place, which no edit makes."""

    @property
    def compares_moves(self) -> bool:
        """The probe warms a model here; a fleet of multi-model and dedicated tiers has no such gate."""
        return False

    def made_of(self, own: Container, /) -> Mapping[str, Any]:
        """The fleet's own container, and whether it keeps models."""
        return {**super().made_of(own), "model_cache": self.model_cache if self.model_cache != "Enabled" else None}
