"""hosting = "async": its table of the fleet file and its own rules.

A backfill or a nightly scoring run needs no answer within a second. An asynchronous endpoint takes requests into a
queue, writes the results to S3, and has no instances while the queue is empty.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from tierfleet.aws_limits import INTEGER
from tierfleet.config.hosting.scaling import Instances
from tierfleet.config.hosting.tier import Guardrail, InstanceTier, RestOfFile
from tierfleet.config.problems import Problem
from tierfleet.config.section import (
    SMALLEST_LIMIT,
    Count,
    ModelKey,
    PinnedModel,
    Seconds,
    Section,
    TenantId,
)
from tierfleet.runtime.hosting.asynchronous import MOST_TTL_SECONDS

# An endpoint without instances publishes nothing that a canary could be watched by.
GUARDRAIL: Final = Guardrail(type="ALL_AT_ONCE")
# Of the nested stack of one tenant. A test compares it with the template.
STACK_RESOURCES: Final = 16
# Keys of a multi-model tier that say that someone wants one queue for many models.
_MULTI_MODEL_KEYS: Final = frozenset(
    {"default", "first_generation", "models_per_instance", "model_cache", "scale_on_cache", "warm_up"}
)
_NO_ASYNC_MULTI_MODEL: Final = (
    "an asynchronous endpoint has one model: InvokeEndpointAsync has no TargetModel, and SageMaker has no asynchronous "
    "multi-model endpoints"
)
_INSTEAD: Final = (
    "name each tenant in [tiers.<tier>.tenants] for an endpoint each, or leave them on a multi-model tier: "
    "tierfleet batch scores a file there too"
)


class AsyncInstances(Instances):
    """How many instances an asynchronous endpoint may have."""

    min: Annotated[int, Field(ge=0, le=INTEGER)] = 0
    """Fewest instances; at 0 an empty queue costs nothing, and the first request waits for minutes.
    -> AWS::ApplicationAutoScaling::ScalableTarget MinCapacity"""
    initial: Count = 1
    """Instances of a new endpoint, at least 1: every deployment starts one. -> AWS::SageMaker::EndpointConfig
    InitialInstanceCount"""


class AsyncScaling(Section):
    """Target tracking on the queue, and a step from 0 instances to 1."""

    backlog_size_per_instance: Annotated[float, Field(ge=0.001, le=1_000_000)]
    """ApproximateBacklogSizePerInstance to track: requests of one instance in the queue and at work.
    -> AWS::ApplicationAutoScaling::ScalingPolicy TargetValue"""
    scale_out_cooldown_seconds: Seconds = 300
    """Pause between two scale-outs, and after the step from 0. -> ScaleOutCooldown, and Cooldown of the step"""
    scale_in_cooldown_seconds: Seconds = 300
    """Pause between two scale-ins. -> ScaleInCooldown"""


class AsyncAlarmLimits(Section):
    """Limits of an asynchronous endpoint."""

    max_failure_ratio: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=1)] = 0.01
    """InvocationFailures as a share of InvocationsProcessed; it also takes a bad new version back."""
    min_requests: Count = 20
    """Requests in five minutes below which that ratio is ignored."""
    max_age_of_oldest_request_seconds: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=MOST_TTL_SECONDS)] = 3600
    """ApproximateAgeOfOldestRequest. A request that is 6 hours old is dropped."""
    max_memory_percent: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=100)] = 95
    """MemoryUtilization."""
    max_disk_percent: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=100)] = 85
    """DiskUtilization."""


class AsyncTenant(PinnedModel):
    """A tenant with an asynchronous endpoint of its own."""

    model: ModelKey
    """The pinned artefact, `<tenant>/<version>.tar.gz` below `models/` in the model bucket. Changing it updates the
    endpoint, and requests in the queue get the new version. -> AWS::SageMaker::Model ModelDataUrl"""


class AsyncTier(InstanceTier):
    """One endpoint per tenant that takes requests into a queue and writes results to S3."""

    hosting: Literal["async"]
    """`async`: an endpoint with a queue for each tenant of the tier."""
    instances: AsyncInstances
    """Bounds and first size."""
    scaling: AsyncScaling
    """How the endpoint follows its queue."""
    max_concurrent_invocations_per_instance: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Requests that one instance works on at once. Left out: SageMaker chooses.
    -> AsyncInferenceConfig.ClientConfig.MaxConcurrentInvocationsPerInstance"""
    expire_after_days: Annotated[int, Field(ge=1, le=3650)] = 7
    """Requests, results and failures are deleted from the bucket after so many days.
    -> AWS::S3::Bucket LifecycleConfiguration"""
    tenants: Mapping[TenantId, AsyncTenant] = {}
    """The tenants, one line each, as on a dedicated tier."""
    alarms: AsyncAlarmLimits = AsyncAlarmLimits()
    """When to call for a person, and when to take a new version back."""

    @property
    def guardrail(self) -> Guardrail:
        """How a new version gets its requests: the same for every asynchronous tier."""
        return GUARDRAIL

    @property
    def capacity(self) -> str:
        """The size of one endpoint, for `config show`."""
        bounds = f"{self.instances.min} to {self.instances.max} x {self.instance_type}"
        return f"{bounds}, scaling at {self.scaling.backlog_size_per_instance:g} requests in the queue an instance"

    def stack_resources(self, _tenant: str, /) -> int:
        """The same for every tenant."""
        return STACK_RESOURCES

    @staticmethod
    def explained(problem: Problem) -> Problem:
        """Says why there is no asynchronous multi-model tier, where the table has a key of one."""
        if problem.table.count(".") != 1:
            return problem
        if problem.key in _MULTI_MODEL_KEYS or (problem.key == "tenants" and isinstance(problem.value, list | tuple)):
            fix = f"{_INSTEAD}; remove {problem.key}" if problem.key != "tenants" else _INSTEAD
            return replace(problem, message=_NO_ASYNC_MULTI_MODEL, fix=fix)
        return problem

    def check(self, where: str, _rest: RestOfFile, /) -> Iterator[Problem]:
        """The queue's target fits the concurrency."""
        concurrency, target = self.max_concurrent_invocations_per_instance, self.scaling.backlog_size_per_instance
        if concurrency is not None and target < concurrency:
            message = (
                f"is below max_concurrent_invocations_per_instance, {concurrency}, and requests at work count as "
                "backlog: the tier scales out while its instances have room"
            )
            fix = f"set {concurrency} or more"
            yield Problem(f"{where}.scaling", "backlog_size_per_instance", target, message, fix, severity="warning")


def is_async_multi_model(hosting: Any) -> bool:
    """Whether someone asks for what does not exist, in any spelling."""
    words = hosting.lower() if isinstance(hosting, str) else ""
    return "async" in words and ("multi" in words or "mme" in words)


def async_multi_model_problem(table: str, hosting: Any) -> Problem:
    """The problem of such a word."""
    return Problem(table, "hosting", hosting, _NO_ASYNC_MULTI_MODEL, _INSTEAD)
