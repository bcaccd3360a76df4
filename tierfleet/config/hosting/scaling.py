"""How many instances an endpoint has: its bounds, by traffic and by the clock."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from tierfleet.config.section import Count, Schedule, Seconds, Section, TimeZone, Word


class Instances(Section):
    """How many instances the endpoint may have."""

    min: Count
    """Fewest instances; 2 or more spread over availability zones. A real-time endpoint cannot scale to 0.
    -> AWS::ApplicationAutoScaling::ScalableTarget MinCapacity"""
    max: Count
    """Most instances. -> ScalableTarget MaxCapacity"""
    initial: Count
    """Instances of a new endpoint; a dedicated one that is updated keeps its current count.
    -> AWS::SageMaker::EndpointConfig InitialInstanceCount"""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min <= self.initial <= self.max:
            raise ValueError("must hold min <= initial <= max; change the one that is out of order")
        return self


class ScheduledCapacity(Section):
    """Other bounds from a moment on, until the next schedule or deployment changes them again."""

    schedule: Schedule
    """`cron(...)`, `rate(...)` or `at(...)`. -> ScalableTarget ScheduledActions.Schedule"""
    timezone: TimeZone = "UTC"
    """IANA time zone of the schedule. -> ScheduledActions.Timezone"""
    min: Count
    """Fewest instances from then on. -> ScheduledActions.ScalableTargetAction.MinCapacity"""
    max: Count
    """Most instances from then on. -> ScheduledActions.ScalableTargetAction.MaxCapacity"""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("must hold min <= max; lower min or raise max")
        return self


class Scaling(Section):
    """Target tracking on InvocationsPerInstance."""

    max_requests_per_second: Annotated[float, Field(ge=0.001, le=1_000_000)]
    """What one instance serves within the latency goal, from a load test."""
    safety_factor: Annotated[float, Field(ge=0.001, le=1)] = 0.5
    """Share of max_requests_per_second to aim for. -> AWS::ApplicationAutoScaling::ScalingPolicy TargetValue =
    max_requests_per_second x safety_factor x 60 (the metric counts per minute)"""
    scale_out_cooldown_seconds: Seconds = 300
    """Pause between two scale-outs. -> ScaleOutCooldown"""
    scale_in_cooldown_seconds: Seconds = 300
    """Pause between two scale-ins. -> ScaleInCooldown"""
    schedules: Mapping[Word, ScheduledCapacity] = {}
    """Bounds by the clock, one table each: `[tiers.<tier>.scaling.schedules.<name>]`.
    -> ScalableTarget ScheduledActions"""

    @property
    def target_invocations_per_minute(self) -> float:
        """InvocationsPerInstance to track, per minute and instance: the metric's own unit.

        Source: docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-loadtest.html
        """
        return self.max_requests_per_second * self.safety_factor * 60
