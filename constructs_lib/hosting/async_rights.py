"""What an asynchronous endpoint's role may do with its queue's objects and topics, and what its callers may."""

from aws_cdk import aws_iam as iam

from constructs_lib import arns
from constructs_lib.hosting.async_store import OUTCOMES
from tierfleet.config import FleetConfig
from tierfleet.runtime.names import async_prefix


def queue_statements(config: FleetConfig, tenant: str) -> list[iam.PolicyStatement]:
    """The statements of the execution role: read the tenant's requests, write its results, and tell the topics.

    The tier is a wildcard: it may change while the old endpoint still runs.
    Source: docs.aws.amazon.com/sagemaker/latest/dg/async-inference-create-endpoint-prerequisites.html
    """
    bucket, statement = arns.async_bucket(config), iam.PolicyStatement
    keys = {kind: f"{async_prefix('*', kind, tenant)}*" for kind in ("input", "output", "failure")}
    statements = [
        statement(sid="ReadRequests", actions=["s3:GetObject"], resources=[f"{bucket}/{keys['input']}"]),
        statement(
            sid="WriteResults",
            actions=["s3:PutObject", "s3:AbortMultipartUpload"],
            resources=[f"{bucket}/{keys[kind]}" for kind in ("output", "failure")],
        ),
        statement(
            sid="ListResults",
            actions=["s3:ListBucket"],
            resources=[bucket],
            conditions={"StringLike": {"s3:prefix": list(keys.values())}},
        ),
        statement(
            sid="TellOfResults",
            actions=["sns:Publish"],
            resources=[arns.async_topic(config, outcome) for outcome in OUTCOMES],
        ),
    ]
    # S3 asks for Decrypt when a multipart upload is completed, and SNS for both actions on an encrypted topic.
    key_arns = [config.encryption.bucket_kms_key_arn, config.encryption.topic_kms_key_arn]
    if used := sorted({key_arn for key_arn in key_arns if key_arn}):
        statements.append(
            statement(sid="EncryptResults", actions=["kms:Decrypt", "kms:GenerateDataKey"], resources=used)
        )
    return statements


def grant_submit(grantee: iam.IGrantable, config: FleetConfig, endpoint_name: str, tenant: str) -> iam.Grant:
    """Lets the grantee submit requests to the endpoint of this name or pattern, and read their results.

    ListBucket makes S3 say 404 instead of 403 while a result is missing. No condition key narrows InvokeEndpointAsync.
    Source: docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
    """
    bucket = arns.async_bucket(config)
    keys = {kind: f"{async_prefix('*', kind, tenant)}*" for kind in ("input", "output", "failure")}
    results = [keys["output"], keys["failure"]]
    grants = [
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["sagemaker:InvokeEndpointAsync"],
            resource_arns=[arns.endpoint(config, endpoint_name)],
        ),
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["s3:PutObject"], resource_arns=[f"{bucket}/{keys['input']}"]
        ),
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["s3:GetObject"], resource_arns=[f"{bucket}/{key}" for key in results]
        ),
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["s3:ListBucket"],
            resource_arns=[bucket],
            conditions={"StringLike": {"s3:prefix": results}},
        ),
    ]
    if key_arn := config.encryption.bucket_kms_key_arn:
        grants.append(
            iam.Grant.add_to_principal(
                grantee=grantee, actions=["kms:Decrypt", "kms:GenerateDataKey"], resource_arns=[key_arn]
            )
        )
    combined = grants[0]
    for grant in grants[1:]:
        combined = combined.combine(grant)
    return combined
