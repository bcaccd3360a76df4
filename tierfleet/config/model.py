"""The vocabulary of a fleet file: every key, its unit, its default and what it becomes in CloudFormation.

The tables of tiers live in `hosting`, rules that need more than one table in `rules`.
The docstring below each key is the text of docs/configuration.md and of the JSON Schema.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tierfleet.config.container import Container, Probe
from tierfleet.config.hosting import AnyTier
from tierfleet.config.hosting.asynchronous import AsyncTier
from tierfleet.config.hosting.dedicated import DedicatedTier
from tierfleet.config.hosting.multi_model import MultiModelTier
from tierfleet.config.hosting.pipeline import PipelineTier
from tierfleet.config.hosting.serverless import ServerlessTier
from tierfleet.config.hosting.tier import HostedTier, InstanceTier
from tierfleet.config.section import (
    Count,
    KmsKeyArn,
    LogRetentionDays,
    PrincipalArn,
    Region,
    Section,
    SecurityGroupId,
    SubnetId,
    Word,
    check_distinct,
)
from tierfleet.images import is_ecr_uri


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
    """Customer-managed keys, instead of AWS's own."""

    bucket_kms_key_arn: KmsKeyArn | None = None
    """Key of the model bucket. -> AWS::S3::Bucket BucketEncryption.KMSMasterKeyID"""
    volume_kms_key_arn: KmsKeyArn | None = None
    """Key of the instances' volumes; refused for instance types with local NVMe disks.
    -> AWS::SageMaker::EndpointConfig KmsKeyId"""
    topic_kms_key_arn: KmsKeyArn | None = None
    """Key of the alarm topic; its policy must let cloudwatch.amazonaws.com and events.amazonaws.com use it. ->
    AWS::SNS::Topic KmsMasterKeyId"""


class Models(Section):
    """Who may delete models. The model bucket's policy denies it to all others."""

    gc_principal_arns: Annotated[tuple[PrincipalArn, ...], Field(max_length=10), AfterValidator(check_distinct)] = ()
    """Roles (or users) that run `models gc --delete` and `models remove --artefacts`, by their exact ARNs; none: no
    model is ever deleted. They may not write models. -> AWS::S3::BucketPolicy"""


class Routes(Section):
    """How clients learn which endpoint serves a tenant (an AppConfig hosted configuration)."""

    ttl_seconds: Annotated[int, Field(ge=15, le=3600)] = 60
    """How long a client may use routes before it asks again; AppConfig answers at most every 15 s."""
    bake_minutes: Annotated[int, Field(ge=1, le=1440)] = 5
    """How long AppConfig watches the RouteErrors alarm after a change, and how long replaced endpoints live on;
    at least 2 x ttl_seconds + 70 s. -> AWS::AppConfig::DeploymentStrategy FinalBakeTimeInMinutes"""
    max_route_errors_per_minute: Count = 5
    """RouteErrors (calls to an endpoint that is not there) above which AppConfig takes the routes back."""


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
    """Whether the model bucket outlives its stack; if not, empty it before you delete the stack. -> DeletionPolicy of
    AWS::S3::Bucket"""
    tags: Mapping[str, str] = {}
    """Further tags on every resource."""
    runbook_url: Annotated[str, Field(pattern=r"^https://[!-~]+$", max_length=200)]
    """Where docs/runbook.md is published; every alarm's description links its section."""
    log_retention_days: LogRetentionDays = 90
    """Days that CloudWatch keeps the logs of endpoints. -> RetentionInDays of the log group
    /aws/sagemaker/Endpoints/<endpoint>"""
    detailed_observability: bool = False
    """SageMaker's additional (paid) CloudWatch metrics. -> AWS::SageMaker::EndpointConfig
    MetricsConfig.EnableDetailedObservability"""
    container: Container
    """The image that serves the models."""
    network_isolation: bool = Field(default_factory=_isolated_by_default)
    """Containers without any network, in a VPC too. Left out: true for AWS's stock images and `tierfleet`; false for an
    image of your own, or a script (`SAGEMAKER_PROGRAM`). -> AWS::SageMaker::Model EnableNetworkIsolation"""
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
    def shared_pipeline_tiers(self) -> dict[str, PipelineTier]:
        """Pipelines whose tenants share one endpoint, by name, in name order."""
        tiers = {name: tier for name, tier in sorted(self.tiers.items()) if isinstance(tier, PipelineTier)}
        return {name: tier for name, tier in tiers.items() if not tier.endpoint_per_tenant}

    @property
    def async_tiers(self) -> dict[str, AsyncTier]:
        """Asynchronous tiers by name, in name order."""
        return {name: tier for name, tier in sorted(self.tiers.items()) if isinstance(tier, AsyncTier)}

    @property
    def instance_tiers(self) -> dict[str, InstanceTier]:
        """The tiers whose endpoints have instances, by name, in name order."""
        return {name: tier for name, tier in sorted(self.tiers.items()) if isinstance(tier, InstanceTier)}

    @property
    def tenant_endpoint_tiers(self) -> dict[str, HostedTier]:
        """The tiers with an endpoint for each tenant, by name, in name order."""
        return {name: tier for name, tier in sorted(self.tiers.items()) if tier.endpoint_per_tenant}

    @property
    def compares_moves(self) -> bool:
        """Whether a gate compares what the old and the new endpoint of a tenant answer."""
        return any(tier.compares_moves for tier in self.tiers.values())

    @property
    def every_container(self) -> tuple[Container, ...]:
        """The fleet's own container and those of tiers with several, each image once."""
        named = [
            container
            for _, tier in sorted(self.tiers.items())
            for tenant in (tier.stack_tenants or (None,))
            for container in tier.containers(self.container, tenant)
        ]
        return tuple({(each.image, each.version): each for each in [self.container, *named]}.values())

    def tier_of(self, tenant: str) -> str:
        """Name of the tier that serves a tenant."""
        return next((name for name, tier in sorted(self.tiers.items()) if tenant in tier.tenants), self.default_tier)

    def probe_of(self, tenant: str) -> Probe:
        """One valid request of a tenant."""
        return self.tiers[self.tier_of(tenant)].probe_or(self.probe)

    @property
    def default_tier(self) -> str:
        """Name of the tier that serves every tenant that no other tier names."""
        return next(name for name, tier in self.multi_model_tiers.items() if tier.default)
