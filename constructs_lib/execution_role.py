"""What SageMaker may do on behalf of the endpoints."""

from collections.abc import Collection, Sequence

from aws_cdk import aws_iam as iam
from constructs import Construct

from constructs_lib import arns
from tierfleet.config import FleetConfig
from tierfleet.runtime.names import ALL_TENANTS, MODELS_PREFIX, hashed_tenant


class ExecutionRole(Construct):
    """The role of a Model: it reads the models, pulls the image, and writes logs and metrics.

    `ExecutionRole(self, "ExecutionRole", config=config, image_repository_arns=[arn], tenant="m01")` reads
    `models/m01/*`, `further_models`, and nothing else of the bucket. Without `tenant` it reads all models: the shared
    endpoints of a fleet have that role. A tenant's role reads every version, not only the pinned one, because instances
    of the old version may start during an update and after its rollback.

    Defines AWS::IAM::Role with an inline policy, so that whatever refers to the role waits for both. The role must
    outlive the endpoints, because DeleteEndpoint uses it.
    Source: docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        image_repository_arns: Sequence[str],
        tenant: str | None = None,
        further_models: Collection[str] = (),
        further_statements: Sequence[iam.PolicyStatement] = (),
    ) -> None:
        """further_models: artefacts below `models/` that all tenants of a tier load. The role reads every version.
        further_statements: what the endpoint's hosting needs beyond that."""
        super().__init__(scope, construct_id)
        folders = ["*"] if tenant is None else sorted({f"{key.partition('/')[0]}/*" for key in further_models})
        own = [] if tenant is None else [f"{tenant}/*"]
        self.model_keys = [f"{MODELS_PREFIX}{folder}" for folder in dict.fromkeys([*own, *folders])]
        """Patterns of the keys it reads."""
        # An endpoint's name is fleet, environment, tier, tenant and type. Tier and type may change while the old
        # endpoint still runs. The new name may hold the tenant's hash where the old one has its id.
        words = [ALL_TENANTS] if tenant is None else [tenant, hashed_tenant(tenant)]
        self.endpoint_names = [f"{config.fleet}--{config.environment}--*--{word}--*" for word in words]
        """Patterns of the endpoints. The role writes their logs and reads their rollback alarms."""
        bucket_arn = arns.models_bucket(config)
        statement = iam.PolicyStatement
        statements = [
            statement(
                sid="ReadModels",
                actions=["s3:GetObject"],
                resources=[f"{bucket_arn}/{keys}" for keys in self.model_keys],
            ),
            # The prefix is required, so that nothing else of the bucket can be listed.
            statement(
                sid="ListModels",
                actions=["s3:ListBucket"],
                resources=[bucket_arn],
                conditions={"StringLike": {"s3:prefix": self.model_keys}},
            ),
            # The token is for the whole registry: IAM knows no resource for it.
            statement(sid="EcrToken", actions=["ecr:GetAuthorizationToken"], resources=["*"]),
            statement(
                sid="PullImage",
                actions=[
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:BatchGetImage",
                ],
                resources=list(dict.fromkeys(image_repository_arns)),
            ),
            statement(
                sid="WriteLogs",
                actions=[
                    # The first line of a container creates the group, with this role. Without the right the endpoint
                    # works, and its logs are nowhere.
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:PutLogEvents",
                    "logs:DescribeLogStreams",
                ],
                resources=[arns.endpoint_logs(config, name) for name in self.endpoint_names],
            ),
            statement(
                sid="PublishMetrics",
                actions=["cloudwatch:PutMetricData"],
                resources=["*"],
                # PutMetricData has no resource level: the namespace is all that can be limited.
                conditions={"StringEquals": {"cloudwatch:namespace": ["AWS/SageMaker", "/aws/sagemaker/Endpoints"]}},
            ),
            # The guardrails read the alarms that roll an update back.
            statement(
                sid="ReadRollbackAlarms",
                actions=["cloudwatch:DescribeAlarms"],
                resources=[arns.alarm(config, name) for name in self.endpoint_names],
            ),
        ]
        if config.encryption.bucket_kms_key_arn:
            statements.append(
                statement(
                    sid="DecryptModels",
                    actions=["kms:Decrypt"],
                    resources=[config.encryption.bucket_kms_key_arn],
                )
            )
        if config.encryption.volume_kms_key_arn:
            statements.append(
                statement(
                    sid="EncryptVolumes",
                    actions=["kms:CreateGrant"],
                    resources=[config.encryption.volume_kms_key_arn],
                    conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
                )
            )
        if config.network:
            statements += _network_statements(config, config.network.subnets, config.network.security_group_ids)
        statements += further_statements
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "sagemaker.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": config.account},
                    # Not the ARN of one model or endpoint: SageMaker's guide forbids that here.
                    "ArnLike": {"aws:SourceArn": arns.any_sagemaker_resource(config)},
                },
            ),
            description=f"SageMaker endpoints of {config.fleet}-{config.environment}",
            inline_policies={"Endpoint": iam.PolicyDocument(statements=statements)},
        )


def _network_statements(
    config: FleetConfig, subnet_ids: Sequence[str], security_group_ids: Sequence[str]
) -> list[iam.PolicyStatement]:
    """Network interfaces in the fleet's own subnets, with its own security groups.

    Resource types and condition keys: Service Authorization Reference, "Actions, resources, and condition keys for
    Amazon EC2". The Describe actions have no resource level.
    """
    interfaces = arns.ec2(config, "network-interface/*")
    subnets = [arns.ec2(config, f"subnet/{subnet}") for subnet in subnet_ids]
    groups = [arns.ec2(config, f"security-group/{group}") for group in security_group_ids]
    return [
        iam.PolicyStatement(
            sid="CreateInterfaces",
            actions=["ec2:CreateNetworkInterface"],
            resources=[interfaces, *subnets, *groups],
        ),
        iam.PolicyStatement(
            sid="UseInterfaces",
            actions=[
                "ec2:CreateNetworkInterfacePermission",
                "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ],
            resources=[interfaces],
            conditions={"ArnEquals": {"ec2:Subnet": subnets}},
        ),
        iam.PolicyStatement(
            sid="DescribeNetwork",
            actions=[
                "ec2:DescribeDhcpOptions",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ],
            resources=["*"],
        ),
    ]
