"""The vocabulary of a fleet file: every key, its unit, its default and what it becomes in CloudFormation.

Shapes and ranges live here; rules that need more than one table live in `rules`.
The docstring below each key is the text of docs/configuration.md and of the JSON Schema.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tierfleet.aws_limits import LONGEST_CALL_SECONDS, LONGEST_LOAD_SECONDS
from tierfleet.config.guardrail_time import BAKE_SECONDS
from tierfleet.config.section import (
    SMALLEST_LIMIT,
    Count,
    ErrorLimits,
    InstanceTypeName,
    KmsKeyArn,
    LogRetentionDays,
    ModelKey,
    PinnedModel,
    PrincipalArn,
    Region,
    Schedule,
    Seconds,
    Section,
    SecurityGroupId,
    SubnetId,
    TenantId,
    TimeZone,
    Word,
    check_distinct,
)
from tierfleet.config.serverless import ServerlessTier
from tierfleet.images import is_ecr_uri
from tierfleet.runtime.names import GENERATION_PATTERN


class Container(Section):
    """The image that serves the models."""

    image: str
    """`sagemaker-xgboost` or `sagemaker-scikit-learn` (AWS's stock images), `tierfleet` (our dense server), or
    a full ECR URI. -> AWS::SageMaker::Model PrimaryContainer.Image"""
    version: str | None = None
    """Tag of a stock image, such as `1.7-1`; needed for stock images only."""
    environment: Mapping[str, str] = {}
    """Passed to the container as it is, script mode (`SAGEMAKER_PROGRAM`, `SAGEMAKER_SUBMIT_DIRECTORY`)
    included; at most 100 entries. -> PrimaryContainer.Environment"""


class Network(Section):
    """The VPC the containers run in; leave the table out for SageMaker's own network."""

    subnets: Annotated[tuple[SubnetId, ...], Field(min_length=2, max_length=16), AfterValidator(check_distinct)]
    """At least two subnet ids in different availability zones; they need an S3 endpoint for the models.
    -> AWS::SageMaker::Model VpcConfig.Subnets"""
    security_group_ids: Annotated[
        tuple[SecurityGroupId, ...], Field(min_length=1, max_length=5), AfterValidator(check_distinct)
    ]
    """Security groups of the containers. -> VpcConfig.SecurityGroupIds"""


class Encryption(Section):
    """Customer-managed keys; without them AWS's own keys encrypt (SSE-S3, SageMaker's volume key)."""

    bucket_kms_key_arn: KmsKeyArn | None = None
    """Key of the model bucket. -> AWS::S3::Bucket BucketEncryption.KMSMasterKeyID"""
    volume_kms_key_arn: KmsKeyArn | None = None
    """Key of the instances' volumes; refused for instance types with local NVMe disks.
    -> AWS::SageMaker::EndpointConfig KmsKeyId"""
    topic_kms_key_arn: KmsKeyArn | None = None
    """Key of the alarm topic; its policy must let cloudwatch.amazonaws.com
    and events.amazonaws.com use it (the AWS-managed
    `alias/aws/sns` cannot). -> AWS::SNS::Topic KmsMasterKeyId"""


class Models(Section):
    """Who may delete models. The model bucket's policy denies it to all others: a deleted key could be written
    again, and instances would keep serving the old bytes."""

    gc_principal_arns: Annotated[tuple[PrincipalArn, ...], Field(max_length=10), AfterValidator(check_distinct)] = ()
    """Roles (or users) that run `models gc --delete` and `models remove --artefacts`, by their exact ARNs; none: no
    model is ever deleted. They may not write models. -> AWS::S3::BucketPolicy"""


class Probe(Section):
    """One valid row of every model of the fleet: the warm-up and the parity checks send it."""

    content_type: str
    """Content type of the row, such as `text/csv`. Never left out: the stock image would parse libsvm."""
    body: Annotated[str, Field(min_length=1, max_length=100_000)]
    """The row. An invalid row still loads a model, but counts as an Invocation5XXError on a multi-model
    endpoint."""


class Routes(Section):
    """How clients learn which endpoint serves a tenant (an AppConfig hosted configuration)."""

    ttl_seconds: Annotated[int, Field(ge=15, le=3600)] = 60
    """How long a client may use routes before it asks again; AppConfig answers at most every 15 s."""
    bake_minutes: Annotated[int, Field(ge=1, le=1440)] = 5
    """How long AppConfig watches the RouteErrors alarm after a change, and how long replaced endpoints live on;
    at least 2 x ttl_seconds + 70 s. -> AWS::AppConfig::DeploymentStrategy FinalBakeTimeInMinutes"""
    max_route_errors_per_minute: Count = 5
    """RouteErrors (calls to an endpoint that is not there) above which AppConfig takes the routes back."""


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
    """Share of max_requests_per_second to aim for, since new instances take minutes; AWS advises 0.5 to start.
    -> AWS::ApplicationAutoScaling::ScalingPolicy TargetValue =
    max_requests_per_second x safety_factor x 60 (the metric counts per minute)"""
    scale_out_cooldown_seconds: Seconds = 300
    """Pause between two scale-outs; shorter than an instance's boot has no effect. -> ScaleOutCooldown"""
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


class ScaleOnCache(Section):
    """More instances when the model cache thrashes, whatever the traffic: a cache-bound fleet never reaches an
    invocation target. Scale-in then waits for a calm hour (docs/adr/0003)."""

    max_unloads_per_hour: Count
    """Models unloaded for want of memory, over all instances, that the tier tolerates (ModelUnloadingTime
    SampleCount)."""
    add_instances: Count = 1
    """Instances added each time. -> ScalingPolicy StepAdjustments.ScalingAdjustment"""
    cooldown_seconds: Annotated[int, Field(ge=60, le=86_400)] = 1800
    """Pause after adding or removing one: a new instance needs time to draw its share of models.
    -> StepScalingPolicyConfiguration.Cooldown"""


class EndpointAlarmLimits(ErrorLimits):
    """Limits of every endpoint with instances."""

    max_disk_percent: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=100)] = 85
    """DiskUtilization. The disk is the second level of the model cache."""


class MultiModelAlarmLimits(EndpointAlarmLimits):
    """Limits of a multi-model endpoint."""

    min_cache_hit_ratio: Annotated[float, Field(ge=SMALLEST_LIMIT, le=1)]
    """ModelCacheHit ratio to hold. It follows from traffic and memory, so no default is right."""
    max_loading_wait_seconds: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=LONGEST_LOAD_SECONDS)] = 3.0
    """Longest ModelLoadingWaitTime a caller may meet."""
    max_unloads_per_hour: Count = 500
    """Models unloaded for want of memory, over all instances, before the cache counts as thrashing."""


class DedicatedAlarmLimits(EndpointAlarmLimits):
    """Limits of a dedicated endpoint; the first two also take a bad new version back."""

    max_model_latency_p99_milliseconds: Annotated[float, Field(ge=SMALLEST_LIMIT, le=1000 * LONGEST_CALL_SECONDS)]
    """ModelLatency p99 to hold, as SageMaker sees it: overhead and network come on top for the caller. SageMaker ends a
    call after 60 s, so a higher limit would never be passed."""


class WarmUp(Section):
    """Models loaded before their callers come: on a schedule, when the endpoint is in service, in a deploy."""

    schedule: Schedule
    """When to warm; several hours in one cron keep a list warm through the day.
    -> AWS::Scheduler::Schedule ScheduleExpression"""
    timezone: TimeZone = "UTC"
    """IANA time zone of the schedule, summer time included. -> ScheduleExpressionTimezone"""
    tenants: Annotated[tuple[TenantId, ...], AfterValidator(check_distinct)] = ()
    """Whose models to load, hottest first. A tenant on another tier is skipped."""
    tenants_file: str | None = None
    """Or a file next to this one with one tenant a line (`#` starts a comment), for long lists."""
    concurrency: Annotated[int, Field(ge=1, le=256)] | None = None
    """Loads under way at once; default: the vCPUs of the initial instances. More would starve live calls."""
    deadline_seconds: Annotated[int, Field(ge=60, le=780)] = 780
    """When to stop and report what is left; below Lambda's own limit of 900 s."""


class Guardrail(Section):
    """How SageMaker moves traffic to an updated endpoint's new instances (blue/green), and back on an alarm."""

    type: Literal["ALL_AT_ONCE", "CANARY", "LINEAR"] | None = None
    """Left out: CANARY where there are always two instances or more, else ALL_AT_ONCE.
    -> AWS::SageMaker::Endpoint DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration.Type"""
    canary_instances: Count = 1
    """Instances that take the first traffic (CANARY); at most half of instances.min.
    -> TrafficRoutingConfiguration.CanarySize"""
    linear_step_percent: Annotated[int, Field(ge=10, le=50)] = 25
    """Share of the instances a step moves (LINEAR). -> TrafficRoutingConfiguration.LinearStepSize"""
    wait_interval_in_seconds: Seconds = BAKE_SECONDS
    """How long the alarms are watched after each step; the rollback alarms need the default to go off.
    -> TrafficRoutingConfiguration.WaitIntervalInSeconds"""
    termination_wait_in_seconds: Seconds = BAKE_SECONDS
    """How long the old instances stay, and the alarms are watched, after all traffic has moved.
    -> BlueGreenUpdatePolicy.TerminationWaitInSeconds"""
    maximum_execution_timeout_in_seconds: Annotated[int, Field(ge=600, le=28_800)] = 3600
    """When an update counts as failed; above the sum of the waits.
    -> BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds"""

    def shift(self, fewest_instances: int) -> Literal["ALL_AT_ONCE", "CANARY", "LINEAR"]:
        """How traffic moves on an endpoint that may have so few instances."""
        return self.type or ("CANARY" if fewest_instances >= 2 else "ALL_AT_ONCE")


class Tier(Section):
    """What every tier has."""

    instance_type: InstanceTypeName
    """A SageMaker CPU instance type. Another type is another endpoint name: the new endpoint is built before
    the old one goes. -> AWS::SageMaker::EndpointConfig InstanceType"""
    instances: Instances
    """Bounds and first size."""
    scaling: Scaling
    """Every endpoint scales."""
    volume_size_in_gb: Annotated[int, Field(ge=1, le=512)] | None = None
    """Disk of each instance; refused for types with local NVMe disks.
    -> AWS::SageMaker::EndpointConfig VolumeSizeInGB"""
    model_data_download_timeout_in_seconds: Annotated[int, Field(ge=60, le=3600)] | None = None
    """-> AWS::SageMaker::EndpointConfig ModelDataDownloadTimeoutInSeconds; SageMaker's default if left out."""
    container_startup_health_check_timeout_in_seconds: Annotated[int, Field(ge=60, le=3600)] | None = None
    """-> AWS::SageMaker::EndpointConfig ContainerStartupHealthCheckTimeoutInSeconds; SageMaker's default if left
    out."""

    @property
    def fewest_instances(self) -> int:
        """The least lower bound the endpoint ever has, its schedules included."""
        return min([self.instances.min, *(scheduled.min for scheduled in self.scaling.schedules.values())])

    @property
    def most_instances(self) -> int:
        """The greatest upper bound the endpoint ever has, its schedules included."""
        return max([self.instances.max, *(scheduled.max for scheduled in self.scaling.schedules.values())])


class MultiModelTier(Tier):
    """A multi-model endpoint: the instances' memory is a cache of models."""

    hosting: Literal["multi-model"]
    """`multi-model`: one endpoint for all tenants of the tier."""
    default: bool = False
    """True for the one tier that serves every tenant no other tier names."""
    tenants: Annotated[tuple[TenantId, ...], AfterValidator(check_distinct)] = ()
    """Tenants of a further shared tier; the default tier lists none."""
    first_generation: Annotated[str, Field(pattern=rf"^{GENERATION_PATTERN}$")] | None = None
    """The generation whose endpoint name carries no suffix. A generation is six characters for what the instances are
    made of; every other one ends the endpoint's name, so that a change makes a new endpoint. Left out: the name always
    has one. -> AWS::SageMaker::Endpoint EndpointName"""
    models_per_instance: Count | None = None
    """Models of this fleet that fit the memory of one instance, measured: LoadedModelCount when
    ModelUnloadingTime first appears. Needed for a warm-up; the artefact's size says little."""
    model_cache: Literal["Enabled", "Disabled"] = "Enabled"
    """Disabled unloads a model after each call. -> AWS::SageMaker::Model MultiModelConfig.ModelCacheSetting"""
    scale_on_cache: ScaleOnCache | None = None
    """Step scaling on unloads, for a fleet whose limit is memory."""
    alarms: MultiModelAlarmLimits
    """When to call for a person."""
    warm_up: WarmUp | None = None
    """Which models to load ahead of their callers."""
    guardrail: Guardrail | None = None
    """For updates in place, which no edit makes: a change of a multi-model endpoint is a new endpoint."""


class DedicatedTenant(PinnedModel):
    """A whale: a tenant with an endpoint of its own."""

    model: ModelKey
    """The pinned artefact, `<tenant>/<version>.tar.gz` below `models/` in the model bucket. Changing it rolls the
    endpoint through its guardrail. -> AWS::SageMaker::Model ModelDataUrl"""


class DedicatedTier(Tier):
    """One endpoint per tenant, its model always in memory."""

    hosting: Literal["dedicated"]
    """`dedicated`: an endpoint for each tenant of the tier."""
    tenants: Mapping[TenantId, DedicatedTenant] = {}
    """The whales, one line each. Promote a tenant by adding its line, demote it by deleting the line."""
    alarms: DedicatedAlarmLimits
    """When to call for a person, and when to take a new version back."""
    guardrail: Guardrail = Guardrail()
    """How a new version gets its traffic."""


InstanceTier = MultiModelTier | DedicatedTier
"""A tier whose endpoints have instances."""
TenantEndpointTier = DedicatedTier | ServerlessTier
"""A tier with an endpoint for each tenant."""
AnyTier = Annotated[MultiModelTier | DedicatedTier | ServerlessTier, Field(discriminator="hosting")]


def _isolated_by_default(sound: dict[str, Any]) -> bool:
    """Whether nothing in the container makes calls. `sound`: the fields before this one that have no error."""
    container = sound.get("container")
    return (
        container is not None and not is_ecr_uri(container.image) and "SAGEMAKER_PROGRAM" not in container.environment
    )


class FleetConfig(Section):
    """One fleet in one environment: the whole truth of one file."""

    fleet: Word
    """Name of the fleet, the first word of every resource name."""
    environment: Word
    """Name of the environment; the file is called `<fleet>-<environment>.toml`."""
    account: Annotated[str, Field(pattern=r"^[0-9]{12}$")]
    """AWS account id, 12 digits."""
    region: Region
    """AWS region."""
    retain: bool = True
    """Whether the model bucket outlives its stack; where it does not, empty it before deleting the stack.
    -> DeletionPolicy of AWS::S3::Bucket"""
    tags: Mapping[str, str] = {}
    """Further tags on every resource; fleet, environment, tier and tenant are always set."""
    runbook_url: Annotated[str, Field(pattern=r"^https://[!-~]+$", max_length=200)]
    """Where docs/runbook.md is published; every alarm's description links its section."""
    log_retention_days: LogRetentionDays = 90
    """Days that CloudWatch keeps the logs of endpoints; the groups are SageMaker's own, and the warm gate sets it.
    -> RetentionInDays of the log group /aws/sagemaker/Endpoints/<endpoint>"""
    detailed_observability: bool = False
    """SageMaker's additional (paid) CloudWatch metrics, on by default at AWS.
    -> AWS::SageMaker::EndpointConfig MetricsConfig.EnableDetailedObservability"""
    container: Container
    """The image that serves the models."""
    network_isolation: bool = Field(default_factory=_isolated_by_default)
    """Containers without any network, in a VPC too: SageMaker itself brings images, models, requests and logs. Left
    out: true for AWS's stock images and `tierfleet`, which make no calls; false where the container may need some: an
    image of one's own, or a script (`SAGEMAKER_PROGRAM`).
    -> AWS::SageMaker::Model EnableNetworkIsolation"""
    probe: Probe
    """One valid row of every model of the fleet."""
    network: Network | None = None
    """The VPC the containers run in."""
    encryption: Encryption = Encryption()
    """Customer-managed keys."""
    models: Models = Models()
    """Who may delete models."""
    routes: Routes = Routes()
    """How clients learn which endpoint serves a tenant."""
    tiers: Annotated[Mapping[Word, AnyTier], Field(min_length=1)]
    """The tiers, one table each: `[tiers.<name>]`."""

    @property
    def multi_model_tiers(self) -> dict[str, MultiModelTier]:
        """Shared tiers by name, in name order."""
        return {name: tier for name, tier in sorted(self.tiers.items()) if isinstance(tier, MultiModelTier)}

    @property
    def dedicated_tiers(self) -> dict[str, DedicatedTier]:
        """Dedicated tiers by name, in name order."""
        return {name: tier for name, tier in sorted(self.tiers.items()) if isinstance(tier, DedicatedTier)}

    @property
    def serverless_tiers(self) -> dict[str, ServerlessTier]:
        """Serverless tiers by name, in name order."""
        return {name: tier for name, tier in sorted(self.tiers.items()) if isinstance(tier, ServerlessTier)}

    @property
    def instance_tiers(self) -> dict[str, InstanceTier]:
        """The tiers whose endpoints have instances, by name, in name order."""
        return {**self.multi_model_tiers, **self.dedicated_tiers}

    @property
    def tenant_endpoint_tiers(self) -> dict[str, TenantEndpointTier]:
        """The tiers with an endpoint for each tenant, by name, in name order."""
        return {name: tier for name, tier in sorted(self.tiers.items()) if not isinstance(tier, MultiModelTier)}

    @property
    def default_tier(self) -> str:
        """Name of the tier that serves every tenant no other tier names."""
        return next(name for name, tier in self.multi_model_tiers.items() if tier.default)
