"""hosting = "async": its table of the fleet file and its own rules.

A backfill or a nightly scoring run needs no answer within a second. An asynchronous endpoint takes requests into a
queue, writes the results to S3, and has no instances while the queue is empty.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from tierfleet.config.instance_tier import Guardrail
from tierfleet.config.problems import Problem
from tierfleet.config.section import (
    SMALLEST_LIMIT,
    Count,
    InstanceTypeName,
    ModelKey,
    PinnedModel,
    Seconds,
    Section,
    TenantId,
)
from tierfleet.runtime.hosting.asynchronous import MOST_TTL_SECONDS

# An endpoint without instances publishes nothing that a canary could be watched by.
GUARDRAIL: Final = Guardrail(type="ALL_AT_ONCE")
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


class AsyncInstances(Section):
    """How many instances an asynchronous endpoint may have."""

    min: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Fewest instances; at 0 an empty queue costs nothing, and the first request waits for minutes.
    -> AWS::ApplicationAutoScaling::ScalableTarget MinCapacity"""
    max: Count
    """Most instances. -> ScalableTarget MaxCapacity"""
    initial: Count = 1
    """Instances of a new endpoint, at least 1: every deployment starts one. -> AWS::SageMaker::EndpointConfig
    InitialInstanceCount"""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min <= self.initial <= self.max:
            raise ValueError("must hold min <= initial <= max; change the one that is out of order")
        return self


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
    """Limits of an asynchronous endpoint. SageMaker publishes no Invocations and no OverheadLatency for one."""

    max_failure_ratio: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=1)] = 0.01
    """InvocationFailures as a share of InvocationsProcessed; it also takes a bad new version back."""
    min_requests: Count = 20
    """Requests in five minutes below which that ratio is ignored."""
    max_age_of_oldest_request_seconds: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=MOST_TTL_SECONDS)] = 3600
    """ApproximateAgeOfOldestRequest. A request that is 6 hours old is dropped, so a higher limit would never be
    passed."""
    max_memory_percent: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=100)] = 95
    """MemoryUtilization, a guard against running out."""
    max_disk_percent: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=100)] = 85
    """DiskUtilization."""


class AsyncTenant(PinnedModel):
    """A tenant with an asynchronous endpoint of its own."""

    model: ModelKey
    """The pinned artefact, `<tenant>/<version>.tar.gz` below `models/` in the model bucket. Changing it updates the
    endpoint, and requests in the queue get the new version. -> AWS::SageMaker::Model ModelDataUrl"""


class AsyncTier(Section):
    """One endpoint per tenant that takes requests into a queue and writes results to S3."""

    hosting: Literal["async"]
    """`async`: an endpoint with a queue for each tenant of the tier."""
    instance_type: InstanceTypeName
    """A SageMaker CPU instance type. Another type is another endpoint name. What is in the queue of the old endpoint
    when it goes is lost. -> AWS::SageMaker::EndpointConfig InstanceType"""
    instances: AsyncInstances
    """Bounds and first size."""
    max_concurrent_invocations_per_instance: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Requests that one instance works on at once. Left out: SageMaker chooses.
    -> AsyncInferenceConfig.ClientConfig.MaxConcurrentInvocationsPerInstance"""
    scaling: AsyncScaling
    """How the endpoint follows its queue."""
    expire_after_days: Annotated[int, Field(ge=1, le=3650)] = 7
    """Requests, results and failures are deleted from the bucket after so many days.
    -> AWS::S3::Bucket LifecycleConfiguration"""
    volume_size_in_gb: Annotated[int, Field(ge=1, le=512)] | None = None
    """Disk of each instance; refused for types with local NVMe disks.
    -> AWS::SageMaker::EndpointConfig VolumeSizeInGB"""
    model_data_download_timeout_in_seconds: Annotated[int, Field(ge=60, le=3600)] | None = None
    """-> AWS::SageMaker::EndpointConfig ModelDataDownloadTimeoutInSeconds; SageMaker's default if left out."""
    container_startup_health_check_timeout_in_seconds: Annotated[int, Field(ge=60, le=3600)] | None = None
    """-> AWS::SageMaker::EndpointConfig ContainerStartupHealthCheckTimeoutInSeconds; SageMaker's default if left
    out."""
    tenants: Mapping[TenantId, AsyncTenant] = {}
    """The tenants, one line each, as on a dedicated tier."""
    alarms: AsyncAlarmLimits = AsyncAlarmLimits()
    """When to call for a person, and when to take a new version back."""

    @property
    def fewest_instances(self) -> int:
        """The least lower bound the endpoint ever has."""
        return self.instances.min

    @property
    def most_instances(self) -> int:
        """The greatest upper bound the endpoint ever has."""
        return self.instances.max

    @property
    def guardrail(self) -> Guardrail:
        """How a new version gets its requests: the same for every asynchronous tier."""
        return GUARDRAIL


def check_async(where: str, tier: AsyncTier) -> Iterator[Problem]:
    """The rules of one asynchronous tier; `where`: its table."""
    concurrency, target = tier.max_concurrent_invocations_per_instance, tier.scaling.backlog_size_per_instance
    if concurrency is not None and target < concurrency:
        message = (
            f"is below max_concurrent_invocations_per_instance, {concurrency}, and requests at work count as backlog: "
            "the tier scales out while its instances have room"
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


def explained(problem: Problem) -> Problem:
    """The problem of a key of a multi-model tier on an asynchronous tier, with the explanation; others as they are."""
    if problem.table.count(".") != 1:
        return problem
    if problem.key in _MULTI_MODEL_KEYS or (problem.key == "tenants" and isinstance(problem.value, list | tuple)):
        fix = f"{_INSTEAD}; remove {problem.key}" if problem.key != "tenants" else _INSTEAD
        return replace(problem, message=_NO_ASYNC_MULTI_MODEL, fix=fix)
    return problem
