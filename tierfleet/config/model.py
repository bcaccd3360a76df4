"""The vocabulary of a fleet file: every key, its unit, its default and what it becomes in CloudFormation.

Shapes and ranges live here; rules that need more than one table live in `rules`.
The docstring below each key is the text of docs/configuration.md and of the JSON Schema.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from tierfleet.aws_limits import LONGEST_LOAD_SECONDS
from tierfleet.config.asynchronous import AsyncTier
from tierfleet.config.container import Container
from tierfleet.config.instance_tier import DedicatedAlarmLimits, EndpointAlarmLimits, Guardrail, Tier
from tierfleet.config.section import (
    SMALLEST_LIMIT,
    Count,
    KmsKeyArn,
    LogRetentionDays,
    ModelKey,
    PinnedModel,
    PrincipalArn,
    Region,
    Schedule,
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


class MultiModelAlarmLimits(EndpointAlarmLimits):
    """Limits of a multi-model endpoint."""

    min_cache_hit_ratio: Annotated[float, Field(ge=SMALLEST_LIMIT, le=1)]
    """ModelCacheHit ratio to hold. It follows from traffic and memory, so no default is right."""
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
    """IANA time zone of the schedule, summer time included. -> ScheduleExpressionTimezone"""
    tenants: Annotated[tuple[TenantId, ...], AfterValidator(check_distinct)] = ()
    """Whose models to load, hottest first. A tenant on another tier is skipped."""
    tenants_file: str | None = None
    """Or a file next to this one with one tenant a line (`#` starts a comment), for long lists."""
    concurrency: Annotated[int, Field(ge=1, le=256)] | None = None
    """Loads under way at once; default: the vCPUs of the initial instances. More would starve live calls."""
    deadline_seconds: Annotated[int, Field(ge=60, le=780)] = 780
    """When to stop and report what is left; below Lambda's own limit of 900 s."""


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


InstanceTier = MultiModelTier | DedicatedTier | AsyncTier
"""A tier whose endpoints have instances."""
TenantEndpointTier = DedicatedTier | ServerlessTier | AsyncTier
"""A tier with an endpoint for each tenant."""
AnyTier = Annotated[MultiModelTier | DedicatedTier | ServerlessTier | AsyncTier, Field(discriminator="hosting")]


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
    def async_tiers(self) -> dict[str, AsyncTier]:
        """Asynchronous tiers by name, in name order."""
        return {name: tier for name, tier in sorted(self.tiers.items()) if isinstance(tier, AsyncTier)}

    @property
    def instance_tiers(self) -> dict[str, InstanceTier]:
        """The tiers whose endpoints have instances, by name, in name order."""
        return {**self.multi_model_tiers, **self.dedicated_tiers, **self.async_tiers}

    @property
    def tenant_endpoint_tiers(self) -> dict[str, TenantEndpointTier]:
        """The tiers with an endpoint for each tenant, by name, in name order."""
        return {name: tier for name, tier in sorted(self.tiers.items()) if not isinstance(tier, MultiModelTier)}

    @property
    def default_tier(self) -> str:
        """Name of the tier that serves every tenant no other tier names."""
        return next(name for name, tier in self.multi_model_tiers.items() if tier.default)
