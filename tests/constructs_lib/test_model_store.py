"""Where the models live."""

from typing import Any

import pytest
from aws_cdk.assertions import Match, Template
from synthesis import BUCKET, only, template_of

from constructs_lib.model_store import ModelStore, model_bytes_downloaded
from local_cloud.testing.fleets import Synth, fleet
from tierfleet.template_limits import check_assembly

KEY = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"

COLLECTOR = "arn:aws:iam::123456789012:role/pipelines/models-gc"
WRITTEN_ONCE = [{"Fn::Join": ["", [Match.any_value(), f"/{prefix}/*"]]} for prefix in ("models", "routes")]


def store_template(**changes: Any) -> Template:
    config = fleet(**changes)
    return template_of(config, lambda stack: ModelStore(stack, "Models", config=config))


@pytest.fixture(scope="module")
def plain() -> Template:
    return store_template()


@pytest.fixture(scope="module")
def for_development() -> Template:
    return store_template(retain=False, encryption={"bucket_kms_key_arn": KEY})


def test_the_bucket_has_its_literal_name_so_that_no_stack_refers_to_another(plain: Template) -> None:
    plain.has_resource_properties("AWS::S3::Bucket", {"BucketName": BUCKET})


def test_the_bucket_outlives_its_stack(plain: Template) -> None:
    plain.has_resource("AWS::S3::Bucket", {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"})


def test_the_bucket_goes_with_its_stack_where_retain_is_false(for_development: Template) -> None:
    for_development.has_resource("AWS::S3::Bucket", {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"})


def test_nothing_of_the_bucket_is_public(plain: Template) -> None:
    blocked = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
    plain.has_resource_properties("AWS::S3::Bucket", {"PublicAccessBlockConfiguration": blocked})


def test_old_versions_of_pointers_expire(plain: Template) -> None:
    bucket = only(plain, "AWS::S3::Bucket")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    [rule] = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert not {key for key in rule if key.startswith("Expiration")}


def test_s3_encrypts_with_its_own_key_by_default(plain: Template) -> None:
    [rule] = only(plain, "AWS::S3::Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}


def test_s3_encrypts_with_the_customers_key_where_one_is_set(for_development: Template) -> None:
    [rule] = only(for_development, "AWS::S3::Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {
        "BucketKeyEnabled": True,
        "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY},
    }


def test_no_model_is_ever_written_twice(plain: Template) -> None:
    plain.has_resource_properties(
        "AWS::S3::BucketPolicy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [
                        {
                            "Sid": "ModelsAreWrittenOnce",
                            "Effect": "Deny",
                            "Principal": {"AWS": "*"},
                            "Action": "s3:PutObject",
                            "Condition": {
                                "Null": {"s3:if-none-match": "true"},
                                "Bool": {"s3:ObjectCreationOperation": "true"},
                            },
                            "Resource": WRITTEN_ONCE,
                        }
                    ]
                )
            }
        },
    )


def denied(template: Template, sid: str) -> dict[str, Any] | None:
    statements = only(template, "AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    matching = [statement for statement in statements if statement.get("Sid") == sid]
    assert all((s["Effect"], s["Principal"]) == ("Deny", {"AWS": "*"}) for s in matching)
    return next(iter(matching), None)


def test_only_who_is_named_deletes_models(plain: Template) -> None:
    kept = denied(plain, "ModelsAreKept")
    assert kept is not None
    assert (kept["Action"], kept.get("Condition")) == (["s3:DeleteObject", "s3:DeleteObjectVersion"], None)
    assert denied(plain, "WhoDeletesModelsWritesNone") is None


def test_who_deletes_models_cannot_write_them_and_who_writes_them_cannot_delete_them() -> None:
    template = store_template(models={"gc_principal_arns": [COLLECTOR]})
    kept, no_writer = denied(template, "ModelsAreKept"), denied(template, "WhoDeletesModelsWritesNone")
    assert kept is not None
    assert no_writer is not None
    assert kept["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": [COLLECTOR]}}
    assert (no_writer["Action"], no_writer["Condition"]) == (
        "s3:PutObject",
        {"ArnEquals": {"aws:PrincipalArn": [COLLECTOR]}},
    )
    assert kept["Resource"] == no_writer["Resource"]


def test_the_policy_of_as_many_and_as_long_arns_as_allowed_fits(synth: Synth) -> None:
    longest = [f"arn:aws:iam::123456789012:role/{'p' * 510}/{'r' * 63}{number}" for number in range(10)]
    assert check_assembly(synth(fleet(models={"gc_principal_arns": longest}))) == []


def test_plain_http_is_refused(plain: Template) -> None:
    refused = {"Effect": "Deny", "Action": "s3:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    statement = Match.object_like(refused)
    plain.has_resource_properties(
        "AWS::S3::BucketPolicy", {"PolicyDocument": {"Statement": Match.array_with([statement])}}
    )


def test_the_bytes_read_are_counted_under_the_filter_that_the_bucket_defines(plain: Template) -> None:
    [configuration] = only(plain, "AWS::S3::Bucket")["MetricsConfigurations"]
    assert configuration["Prefix"] == "models/"
    metric = model_bytes_downloaded(fleet())
    assert dict(metric.dimensions) == {"BucketName": BUCKET, "FilterId": configuration["Id"]}
