"""What SageMaker may do on behalf of the endpoints."""

from aws_cdk import aws_iam as iam
from constructs import Construct

from constructs_lib import arns
from tierfleet.config import FleetConfig
from tierfleet.runtime.names import MODELS_PREFIX


class ExecutionRole(Construct):
    """The role of every Model of a fleet: read the models, pull the image, write logs and metrics, nothing more.

    Defines AWS::IAM::Role. It must outlive the endpoints: DeleteEndpoint uses it.
    Source: docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: FleetConfig, image_repository_arn: str) -> None:
        super().__init__(scope, construct_id)
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
        )
        bucket_arn = arns.models_bucket(config)
        statement = iam.PolicyStatement
        statements = [
            statement(sid="ReadModels", actions=["s3:GetObject"], resources=[f"{bucket_arn}/{MODELS_PREFIX}*"]),
            # Without it a missing model reads as 403 instead of 404. IfExists: a GetObject carries no prefix.
            statement(
                sid="ListModels",
                actions=["s3:ListBucket"],
                resources=[bucket_arn],
                conditions={"StringLikeIfExists": {"s3:prefix": [f"{MODELS_PREFIX}*"]}},
            ),
            statement(sid="EcrToken", actions=["ecr:GetAuthorizationToken"], resources=["*"]),
            statement(
                sid="PullImage",
                actions=[
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:BatchGetImage",
                ],
                resources=[image_repository_arn],
            ),
            statement(
                sid="WriteLogs",
                actions=[
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:PutLogEvents",
                    "logs:DescribeLogStreams",
                ],
                resources=[arns.sagemaker_logs(config)],
            ),
            statement(
                sid="PublishMetrics",
                actions=["cloudwatch:PutMetricData"],
                resources=["*"],
                conditions={"StringEquals": {"cloudwatch:namespace": ["AWS/SageMaker", "/aws/sagemaker/Endpoints"]}},
            ),
            # The guardrails read the alarms that take an update back.
            statement(
                sid="ReadRollbackAlarms",
                actions=["cloudwatch:DescribeAlarms"],
                resources=[arns.fleet_alarms(config)],
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
            statements.append(
                # EC2's describe calls and the attachment of interfaces know no resource level.
                statement(
                    sid="AttachToVpc",
                    actions=[
                        "ec2:CreateNetworkInterface",
                        "ec2:CreateNetworkInterfacePermission",
                        "ec2:DeleteNetworkInterface",
                        "ec2:DeleteNetworkInterfacePermission",
                        "ec2:DescribeDhcpOptions",
                        "ec2:DescribeNetworkInterfaces",
                        "ec2:DescribeSecurityGroups",
                        "ec2:DescribeSubnets",
                        "ec2:DescribeVpcs",
                    ],
                    resources=["*"],
                )
            )
        for item in statements:
            self.role.add_to_policy(item)
