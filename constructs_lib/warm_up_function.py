"""The Lambda function of the warm-up: its code, its role and its log group."""

import shutil
from pathlib import Path
from typing import Any, cast

import aws_cdk as cdk
import jsii
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from constructs_lib import arns
from constructs_lib.routes.table import RouteTable
from tierfleet.config import FleetConfig
from tierfleet.runtime.names import ALL_TENANTS, CATALOG_PREFIX, ROUTES_PREFIX

_ROOT = Path(__file__).resolve().parent.parent
_NOT_CODE = shutil.ignore_patterns("__pycache__", "*.pyc")


@jsii.implements(cdk.ILocalBundling)
class _CopySources:
    """The asset: the handler and tierfleet/runtime, copied without Docker."""

    def try_bundle(self, output_dir: str, *_options: Any) -> bool:
        shutil.copy(_ROOT / "lambda" / "warm_up" / "warm_up.py", output_dir)
        package = Path(output_dir) / "tierfleet"
        shutil.copytree(_ROOT / "tierfleet" / "runtime", package / "runtime", ignore=_NOT_CODE)
        shutil.copy(_ROOT / "tierfleet" / "__init__.py", package)
        return True


def warm_up_code() -> lambda_.Code:
    """The handler and tierfleet/runtime."""
    return lambda_.Code.from_asset(
        str(_ROOT / "lambda" / "warm_up"),
        # Of the output, because tierfleet/runtime changes the function without changing this folder.
        asset_hash_type=cdk.AssetHashType.OUTPUT,
        bundling=cdk.BundlingOptions(
            # BundlingOptions demands an image, which local bundling never pulls.
            image=cdk.DockerImage.from_registry("never-used"),
            local=cast(cdk.ILocalBundling, _CopySources()),
        ),
    )


def warm_up_function(
    scope: Construct,
    construct_id: str,
    *,
    config: FleetConfig,
    route_table: RouteTable,
    code: lambda_.Code,
    **options: Any,
) -> lambda_.Function:
    """Define the function with its role and its log group, below `scope`.

    It reads the catalog and the routes, and calls the multi-model endpoints of the fleet. options: further arguments of
    aws_lambda.Function.
    """
    log_group = logs.LogGroup(
        scope,
        f"{construct_id}Logs",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    role = iam.Role(
        scope,
        f"{construct_id}Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        description=f"Warm-up of {config.fleet}-{config.environment}",
    )
    log_group.grant_write(role)
    bucket_arn = arns.models_bucket(config)
    role.add_to_policy(
        iam.PolicyStatement(
            sid="ReadCatalogAndRoutes",
            actions=["s3:GetObject"],
            resources=[f"{bucket_arn}/{prefix}*" for prefix in (CATALOG_PREFIX, ROUTES_PREFIX)],
        )
    )
    role.add_to_policy(
        # S3 answers GetObject of a missing key with 403, because the role may not list the whole bucket. So the
        # warm-up lists that one key instead.
        iam.PolicyStatement(
            sid="ListCatalog",
            actions=["s3:ListBucket"],
            resources=[bucket_arn],
            conditions={"StringLike": {"s3:prefix": [f"{CATALOG_PREFIX}*"]}},
        )
    )
    if config.encryption.bucket_kms_key_arn:
        role.add_to_policy(
            iam.PolicyStatement(
                sid="DecryptCatalog",
                actions=["kms:Decrypt"],
                resources=[config.encryption.bucket_kms_key_arn],
            )
        )
    role.add_to_policy(
        # A pattern, because the old and the new endpoint are both warmed while the instance type of a tier changes.
        iam.PolicyStatement(
            sid="WarmSharedEndpoints",
            actions=["sagemaker:InvokeEndpoint"],
            resources=[
                arns.endpoint(config, f"{config.fleet}--{config.environment}--*--{ALL_TENANTS}--*"),
            ],
        )
    )
    route_table.grant_read_deployed(role)
    return lambda_.Function(
        scope,
        construct_id,
        description=f"Warm-up of {config.fleet}-{config.environment}",
        runtime=lambda_.Runtime.PYTHON_3_14,
        architecture=lambda_.Architecture.ARM_64,
        handler="warm_up.handler",
        code=code,
        role=role,
        log_group=log_group,
        memory_size=512,
        # Lambda's maximum. Models that a run could not reach are counted, and an alarm of warm_up.py tells of them.
        timeout=cdk.Duration.minutes(15),
        environment={
            "TIERFLEET_FLEET": config.fleet,
            "TIERFLEET_ENVIRONMENT": config.environment,
            "TIERFLEET_MODELS_BUCKET": arns.models_bucket_name(config),
            "TIERFLEET_ROUTES_APPLICATION_ID": route_table.application_id,
            "TIERFLEET_ROUTES_ENVIRONMENT_ID": route_table.environment_id,
            "TIERFLEET_ROUTES_PROFILE_ID": route_table.profile_id,
        },
        **options,
    )
