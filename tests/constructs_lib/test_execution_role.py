"""What SageMaker may do for a fleet."""

from typing import Any

import pytest
from aws_cdk.assertions import Match, Template
from synthesis import only, template_of

from constructs_lib.execution_role import ExecutionRole
from local_cloud.testing.fleets import fleet
from tierfleet.runtime.names import hashed_tenant

BUCKET = "arn:aws:s3:::shop--test--models--123456789012--eu-west-1"
REPOSITORY = "arn:aws:ecr:eu-west-1:141502667606:repository/sagemaker-xgboost"
BUCKET_KEY = "arn:aws:kms:eu-west-1:123456789012:key/0bb10bb1-0bb1-0bb1-0bb1-0bb10bb10bb1"
VOLUME_KEY = "arn:aws:kms:eu-west-1:123456789012:key/0bb20bb2-0bb2-0bb2-0bb2-0bb20bb20bb2"


def role_template(**changes: Any) -> Template:
    config = fleet(**changes)
    return template_of(
        config, lambda stack: ExecutionRole(stack, "Role", config=config, image_repository_arns=[REPOSITORY])
    )


def by_sid(template: Template) -> dict[str, Any]:
    [policy] = only(template, "AWS::IAM::Role")["Policies"]
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}


@pytest.fixture(scope="module")
def plain() -> Template:
    return role_template()


@pytest.fixture(scope="module")
def configured() -> Template:
    return role_template(
        encryption={"bucket_kms_key_arn": BUCKET_KEY, "volume_kms_key_arn": VOLUME_KEY},
        network={
            "subnets": ["subnet-0000000000000000a", "subnet-0000000000000000b"],
            "security_group_ids": ["sg-0000000000000000c"],
        },
    )


def test_only_sagemaker_of_this_account_and_region_takes_the_role(plain: Template) -> None:
    plain.has_resource_properties(
        "AWS::IAM::Role",
        {
            "AssumeRolePolicyDocument": {
                "Statement": [
                    {
                        "Action": "sts:AssumeRole",
                        "Effect": "Allow",
                        "Principal": {"Service": "sagemaker.amazonaws.com"},
                        "Condition": {
                            "StringEquals": {"aws:SourceAccount": "123456789012"},
                            "ArnLike": {"aws:SourceArn": "arn:aws:sagemaker:eu-west-1:123456789012:*"},
                        },
                    }
                ],
                "Version": "2012-10-17",
            },
            "ManagedPolicyArns": Match.absent(),
        },
    )


def test_it_reads_the_models_and_nothing_else_of_the_bucket(plain: Template) -> None:
    statements = by_sid(plain)
    assert (statements["ReadModels"]["Action"], statements["ReadModels"]["Resource"]) == (
        "s3:GetObject",
        f"{BUCKET}/models/*",
    )
    assert statements["ListModels"]["Resource"] == BUCKET
    assert statements["ListModels"]["Condition"] == {"StringLike": {"s3:prefix": ["models/*"]}}
    assert {action for s in statements.values() for action in as_list(s["Action"]) if action.startswith("s3:")} == {
        "s3:GetObject",
        "s3:ListBucket",
    }


def test_it_pulls_from_the_repository_of_the_image_alone(plain: Template) -> None:
    assert by_sid(plain)["PullImage"]["Resource"] == REPOSITORY


def test_it_publishes_metrics_under_sagemakers_namespaces_only(plain: Template) -> None:
    condition = by_sid(plain)["PublishMetrics"]["Condition"]
    assert condition == {"StringEquals": {"cloudwatch:namespace": ["AWS/SageMaker", "/aws/sagemaker/Endpoints"]}}


def test_it_reads_the_alarms_that_take_an_update_back(plain: Template) -> None:
    statement = by_sid(plain)["ReadRollbackAlarms"]
    assert statement["Action"] == "cloudwatch:DescribeAlarms"
    assert statement["Resource"] == "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:shop--test--*--all--*"


def test_it_needs_no_key_and_no_network_interface_by_default(plain: Template) -> None:
    actions = {action for s in by_sid(plain).values() for action in as_list(s["Action"])}
    assert not {action for action in actions if action.startswith(("kms:", "ec2:"))}


def test_it_decrypts_models_and_grants_the_volume_key_where_they_are_set(configured: Template) -> None:
    statements = by_sid(configured)
    assert (statements["DecryptModels"]["Action"], statements["DecryptModels"]["Resource"]) == (
        "kms:Decrypt",
        BUCKET_KEY,
    )
    assert (statements["EncryptVolumes"]["Action"], statements["EncryptVolumes"]["Resource"]) == (
        "kms:CreateGrant",
        VOLUME_KEY,
    )
    assert statements["EncryptVolumes"]["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}


def test_a_tenants_own_role_reads_its_artefacts_and_writes_its_logs_alone() -> None:
    config = fleet()
    statements = by_sid(
        template_of(
            config,
            lambda stack: ExecutionRole(
                stack,
                "Role",
                config=config,
                image_repository_arns=[REPOSITORY],
                tenant="w1",
            ),
        )
    )
    assert statements["ReadModels"]["Resource"] == f"{BUCKET}/models/w1/*"
    assert statements["ListModels"]["Condition"] == {"StringLike": {"s3:prefix": ["models/w1/*"]}}
    # Its tier and its type may change while the old endpoint still runs; a long name has the tenant's hash.
    mine = ["shop--test--*--w1--*", f"shop--test--*--{hashed_tenant('w1')}--*"]
    logs = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/Endpoints/"
    assert statements["WriteLogs"]["Resource"] == sorted(logs + name for name in mine)
    alarms = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:"
    assert statements["ReadRollbackAlarms"]["Resource"] == sorted(alarms + name for name in mine)


def test_it_makes_interfaces_in_the_fleets_subnets_with_its_security_groups_only(configured: Template) -> None:
    here = "arn:aws:ec2:eu-west-1:123456789012"
    statements = by_sid(configured)
    assert statements["CreateInterfaces"]["Action"] == "ec2:CreateNetworkInterface"
    assert sorted(statements["CreateInterfaces"]["Resource"]) == [
        f"{here}:network-interface/*",
        f"{here}:security-group/sg-0000000000000000c",
        f"{here}:subnet/subnet-0000000000000000a",
        f"{here}:subnet/subnet-0000000000000000b",
    ]
    assert statements["UseInterfaces"]["Resource"] == f"{here}:network-interface/*"
    assert statements["UseInterfaces"]["Condition"] == {
        "ArnEquals": {
            "ec2:Subnet": [f"{here}:subnet/subnet-0000000000000000a", f"{here}:subnet/subnet-0000000000000000b"]
        }
    }
    assert all(action.startswith("ec2:Describe") for action in statements["DescribeNetwork"]["Action"])


def test_only_what_knows_no_resource_level_is_allowed_everywhere(configured: Template) -> None:
    everywhere = {sid for sid, statement in by_sid(configured).items() if statement["Resource"] == "*"}
    assert everywhere == {"EcrToken", "PublishMetrics", "DescribeNetwork"}


def test_whoever_refers_to_the_role_waits_for_its_policy(plain: Template) -> None:
    plain.resource_count_is("AWS::IAM::Policy", 0)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
