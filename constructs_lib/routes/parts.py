"""The parts of a large route document that are objects in the model bucket."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_appconfig as appconfig
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from constructs_lib import arns
from tierfleet.config import FleetConfig
from tierfleet.runtime.names import ROUTES_PREFIX
from tierfleet.runtime.route_parts import RESOURCE_TYPE


class RouteParts(Construct):
    """Writes the parts to the model bucket before AppConfig hosts the document that names them, and keeps them there.

    `RouteParts(self, "Parts", config=config, parts=parts, function=function, document=document)`

    The parts are assets of the deployment, because a template has no room for them. Defines a custom resource of type
    Custom::RouteParts. The document depends on it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        parts: Mapping[str, bytes],
        function: lambda_.IFunction,
        document: appconfig.CfnHostedConfigurationVersion,
    ) -> None:
        super().__init__(scope, construct_id)
        assets = {key: self._asset(number, parts[key]) for number, key in enumerate(sorted(parts), 1)}
        targets = f"{arns.models_bucket(config)}/{ROUTES_PREFIX}*"
        for actions, resource_arns in (
            (["s3:GetObject"], [asset.bucket.arn_for_objects(asset.s3_object_key) for asset in assets.values()]),
            (["s3:PutObject"], [targets]),
        ):
            iam.Grant.add_to_principal(grantee=function.grant_principal, actions=actions, resource_arns=resource_arns)
        if config.encryption.bucket_kms_key_arn:
            iam.Grant.add_to_principal(
                grantee=function.grant_principal,
                actions=["kms:GenerateDataKey"],
                resource_arns=[config.encryption.bucket_kms_key_arn],
            )
        resource = cdk.CustomResource(
            self,
            "Parts",
            service_token=function.function_arn,
            resource_type=RESOURCE_TYPE,
            service_timeout=cdk.Duration.minutes(15),
            properties={
                "Parts": [
                    {"Key": key, "SourceBucket": asset.s3_bucket_name, "SourceKey": asset.s3_object_key}
                    for key, asset in assets.items()
                ]
            },
        )
        # A reference alone does not wait for the function's permissions.
        resource.node.add_dependency(function)
        document.node.add_dependency(resource)

    def _asset(self, number: int, content: bytes) -> s3_assets.Asset:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "part.json"
            file.write_bytes(content)
            return s3_assets.Asset(self, f"Part{number}", path=str(file))
