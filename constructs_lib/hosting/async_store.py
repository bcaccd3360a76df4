"""Where requests to asynchronous endpoints and their results are."""

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from tierfleet.config import FleetConfig, routes
from tierfleet.runtime.names import async_topic

OUTCOMES = ("success", "error")


class AsyncStore(Construct):
    """The bucket and the two topics of a fleet's asynchronous endpoints.

    `AsyncStore(self, "Async", config=config)` defines AWS::S3::Bucket with a life cycle rule for each tier, whose
    objects are below `<tier>/`, and an AWS::SNS::Topic for results and one for failures.

    The bucket is not that of the models: rows of callers must expire, and models must not.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: FleetConfig) -> None:
        super().__init__(scope, construct_id)
        key_arn, topic_key_arn = config.encryption.bucket_kms_key_arn, config.encryption.topic_kms_key_arn
        s3.Bucket(
            self,
            "Bucket",
            bucket_name=routes.async_bucket(config),
            encryption=s3.BucketEncryption.KMS if key_arn else s3.BucketEncryption.S3_MANAGED,
            encryption_key=kms.Key.from_key_arn(self, "Key", key_arn) if key_arn else None,
            bucket_key_enabled=True if key_arn else None,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            removal_policy=cdk.RemovalPolicy.RETAIN if config.retain else cdk.RemovalPolicy.DESTROY,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id=name,
                    prefix=f"{name}/",
                    expiration=cdk.Duration.days(tier.expire_after_days),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
                )
                for name, tier in config.async_tiers.items()
            ],
        )
        topic_key = kms.Key.from_key_arn(self, "TopicKey", topic_key_arn) if topic_key_arn else None
        for outcome in OUTCOMES:
            sns.Topic(
                self,
                outcome.title(),
                topic_name=async_topic(config.fleet, config.environment, outcome),
                master_key=topic_key,
                enforce_ssl=True,
            )
