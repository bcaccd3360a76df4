"""The bucket of the models: stateful, retained, and protected from overwriting."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from constructs_lib import arns
from constructs_lib.metric import Metric
from tierfleet.config import FleetConfig
from tierfleet.runtime.names import MODELS_PREFIX, ROUTES_PREFIX

_REQUEST_METRICS = "models"


def model_bytes_downloaded(config: FleetConfig) -> Metric:
    """Bytes of models read from S3. SageMaker counts downloads, but does not publish their size."""
    dimensions = (("BucketName", arns.models_bucket_name(config)), ("FilterId", _REQUEST_METRICS))
    return Metric("AWS/S3", "BytesDownloaded", "Sum", dimensions)


class ModelStore(Construct):
    """The bucket of a fleet's models (`models/<tenant>/<version>.tar.gz`) and catalog (`catalog/<tenant>.json`).

    `ModelStore(self, "Models", config=config)` defines AWS::S3::Bucket and its policy. The policy allows TLS only, and
    no model key is ever written twice, because the caches of the instances would keep serving the old bytes. Deleting a
    key would allow a second write. So principals that write models cannot delete them: only the principals in
    `models.gc_principal_arns` delete models, and they cannot write them.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: FleetConfig) -> None:
        super().__init__(scope, construct_id)
        key_arn = config.encryption.bucket_kms_key_arn
        bucket = s3.Bucket(
            self,
            "Bucket",
            bucket_name=arns.models_bucket_name(config),
            encryption=s3.BucketEncryption.KMS if key_arn else s3.BucketEncryption.S3_MANAGED,
            encryption_key=kms.Key.from_key_arn(self, "Key", key_arn) if key_arn else None,
            # Without it every load of a model is a call of KMS, which has a rate limit for the account.
            bucket_key_enabled=True if key_arn else None,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            versioned=True,
            removal_policy=cdk.RemovalPolicy.RETAIN if config.retain else cdk.RemovalPolicy.DESTROY,
            metrics=[s3.BucketMetrics(id=_REQUEST_METRICS, prefix=MODELS_PREFIX)],
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="old-pointers-and-broken-uploads",
                    # No model key is written twice, so these are old pointers and what garbage collection has deleted.
                    noncurrent_version_expiration=cdk.Duration.days(30),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
                )
            ],
        )
        written_once = [bucket.arn_for_objects(f"{prefix}*") for prefix in (MODELS_PREFIX, ROUTES_PREFIX)]
        # Source: docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html. The parts of a
        # multipart upload cannot carry the header; completing it must.
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                sid="ModelsAreWrittenOnce",
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["s3:PutObject"],
                resources=written_once,
                conditions={
                    "Null": {"s3:if-none-match": "true"},
                    "Bool": {"s3:ObjectCreationOperation": "true"},
                },
            )
        )
        # If-None-Match passes where the newest version of a key is a delete marker.
        # Source: docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        collectors = list(config.models.gc_principal_arns)
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                sid="ModelsAreKept",
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["s3:DeleteObject", "s3:DeleteObjectVersion"],
                resources=written_once,
                # aws:PrincipalArn of a session is the ARN of its role.
                conditions={"ArnNotEquals": {"aws:PrincipalArn": collectors}} if collectors else None,
            )
        )
        if collectors:
            bucket.add_to_resource_policy(
                iam.PolicyStatement(
                    sid="WhoDeletesModelsWritesNone",
                    effect=iam.Effect.DENY,
                    principals=[iam.AnyPrincipal()],
                    actions=["s3:PutObject"],
                    resources=written_once,
                    conditions={"ArnEquals": {"aws:PrincipalArn": collectors}},
                )
            )
