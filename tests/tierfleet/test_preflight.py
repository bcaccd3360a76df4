"""What the preflight says of an account, by the answers that AWS documents."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from local_cloud.testing.fleets import fleet
from tierfleet.config.quotas import quotas
from tierfleet.preflight import capacity, deployment, identity, image, keys, network, storage
from tierfleet.preflight.finding import Account, Finding
from tierfleet.preflight.run import CHECKS, preflight
from tierfleet.runtime.names import models_bucket

BUCKET = models_bucket("shop", "test", "123456789012", "eu-west-1")
KEY = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"


class Aws:
    """A Stubber for each service that a check asks for; each expects the announced calls, in order."""

    def __init__(self) -> None:
        self._session = boto3.Session("test", "test", region_name="eu-west-1")
        self.stubs: dict[str, Stubber] = {}

    def stub(self, service: str) -> Stubber:
        if service not in self.stubs:
            self.stubs[service] = Stubber(self._session.client(service))
            self.stubs[service].activate()
        return self.stubs[service]

    def account(self, **changes: Any) -> Account:
        return Account(config=fleet(**changes), client=lambda service: self.stub(service).client)


@pytest.fixture
def aws() -> Iterator[Aws]:
    aws = Aws()
    yield aws
    for stub in aws.stubs.values():
        stub.assert_no_pending_responses()


def only(findings: Iterator[Finding]) -> Finding:
    [finding] = list(findings)
    return finding


def caller(account: str) -> dict[str, str]:
    return {"Account": account, "Arn": f"arn:aws:iam::{account}:user/ada", "UserId": "A"}


def test_credentials_of_the_fleets_account_are_fine_and_those_of_another_are_not(aws: Aws) -> None:
    aws.stub("sts").add_response("get_caller_identity", caller("123456789012"))
    assert only(identity.check(aws.account())).message == "account 123456789012, as user/ada"
    aws.stub("sts").add_response("get_caller_identity", caller("999999999999"))
    finding = only(identity.check(aws.account()))
    assert (finding.status, "999999999999" in finding.message) == ("problem", True)


def quota(name: str, value: float) -> dict[str, Any]:
    return {"ServiceCode": "sagemaker", "QuotaName": name, "QuotaCode": f"L-{abs(hash(name)) % 10**6}", "Value": value}


def test_a_quota_must_do_for_an_update_too(aws: Aws) -> None:
    needed = quotas(fleet())
    *types, total, per_endpoint = needed
    defaults = [quota(q.name, 0.0) for q in needed]
    own = [
        *(quota(type_.name, float(type_.while_updating)) for type_ in types),
        quota(total.name, float(total.at_maximum)),
        quota(per_endpoint.name, 1.0),
    ]
    aws.stub("service-quotas").add_response("list_aws_default_service_quotas", {"Quotas": defaults})
    aws.stub("service-quotas").add_response("list_service_quotas", {"Quotas": own})
    *first, second, third = capacity.check(aws.account())
    assert {finding.status for finding in first} == {"ok"}
    assert (second.status, "enough until an update" in second.message) == ("problem", True)
    assert (third.status, "too few" in third.message) == ("problem", True)
    assert f"--desired-value {total.while_updating} --region eu-west-1" in second.remedy
    assert f"--quota-code {own[-2]['QuotaCode']}" in second.remedy


def test_a_type_that_service_quotas_does_not_know_is_a_problem(aws: Aws) -> None:
    for operation in ("list_aws_default_service_quotas", "list_service_quotas"):
        aws.stub("service-quotas").add_response(operation, {"Quotas": []})
    assert {finding.status for finding in capacity.check(aws.account())} == {"problem"}


STOCK = {"registryId": "141502667606", "repositoryName": "sagemaker-xgboost", "imageIds": [{"imageTag": "1.7-1"}]}


def test_the_stock_image_of_the_region_is_looked_up_by_its_tag(aws: Aws) -> None:
    aws.stub("ecr").add_response("batch_get_image", {"images": [{"registryId": "141502667606"}]}, STOCK)
    assert only(image.check(aws.account())).status == "ok"


def test_an_image_that_is_not_there_is_a_problem(aws: Aws) -> None:
    failure = {"imageId": {"imageTag": "1.7-1"}, "failureCode": "ImageNotFound", "failureReason": "no such tag"}
    aws.stub("ecr").add_response("batch_get_image", {"images": [], "failures": [failure]}, STOCK)
    finding = only(image.check(aws.account()))
    assert (finding.status, "no such tag" in finding.message) == ("problem", True)
    aws.stub("ecr").add_client_error("batch_get_image", "RepositoryNotFoundException", "no", 400)
    assert "no such repository" in only(image.check(aws.account())).message


def test_an_image_by_digest_is_looked_up_by_its_digest(aws: Aws) -> None:
    digest = "sha256:" + "0" * 64
    uri = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/tools/server@{digest}"
    expected = {"registryId": "123456789012", "repositoryName": "tools/server", "imageIds": [{"imageDigest": digest}]}
    aws.stub("ecr").add_response("batch_get_image", {"images": [{"registryId": "123456789012"}]}, expected)
    assert only(image.check(aws.account(container={"image": uri, "version": None}))).status == "ok"


@pytest.mark.parametrize(
    ("script", "words"),
    [(None, "no docker command"), ("exit 1", "cannot reach a Docker daemon"), ("exit 0", "Docker is ready")],
)
def test_our_own_image_needs_docker_where_it_is_deployed(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, script: str | None, words: str
) -> None:
    if script is not None:
        docker = tmp_path / "docker"
        docker.write_text(f"#!/bin/sh\n{script}\n")
        docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    account = aws.account(container={"image": "tierfleet", "version": None})
    assert words in only(image.check(account)).message


HEAD = {"Bucket": BUCKET, "ExpectedBucketOwner": "123456789012"}


def test_a_bucket_name_that_is_free_is_fine(aws: Aws) -> None:
    aws.stub("s3").add_client_error("head_bucket", "404", "Not Found", 404, expected_params=HEAD)
    finding = only(storage.check(aws.account()))
    assert (finding.status, "is free" in finding.message) == ("ok", True)


@pytest.mark.parametrize("status", [301, 403])
def test_a_bucket_of_someone_else_is_a_problem(aws: Aws, status: int) -> None:
    aws.stub("s3").add_client_error("head_bucket", str(status), "", status, expected_params=HEAD)
    assert only(storage.check(aws.account())).status == "problem"


def test_a_bucket_in_another_region_is_a_problem(aws: Aws) -> None:
    aws.stub("s3").add_response("head_bucket", {"BucketRegion": "us-east-1"}, HEAD)
    assert "is in us-east-1" in only(storage.check(aws.account())).message


def test_the_bucket_of_asynchronous_tiers_is_checked_too(aws: Aws) -> None:
    nightly = {
        "hosting": "async",
        "instance_type": "ml.m5.large",
        "instances": {"max": 1},
        "scaling": {"backlog_size_per_instance": 5},
    }
    s3 = aws.stub("s3")
    s3.add_client_error("head_bucket", "404", "Not Found", 404, expected_params=HEAD)
    own = {**HEAD, "Bucket": HEAD["Bucket"].replace("--models--", "--async--")}
    s3.add_client_error("head_bucket", "403", "", 403, expected_params=own)
    findings = list(storage.check(aws.account(tiers={"nightly": nightly})))
    assert [finding.status for finding in findings] == ["ok", "problem"]
    assert own["Bucket"] in findings[1].message


def test_missing_models_of_both_kinds_of_tier_are_named(aws: Aws) -> None:
    s3 = aws.stub("s3")
    s3.add_response("head_bucket", {"BucketRegion": "eu-west-1"}, HEAD)
    s3.add_response("list_objects_v2", {"KeyCount": 0}, {"Bucket": BUCKET, "Prefix": "models/", "MaxKeys": 1})
    s3.add_client_error("head_object", "404", "Not Found", 404)
    findings = list(storage.check(aws.account()))
    assert [finding.status for finding in findings] == ["ok", "problem", "problem"]
    assert "1 of 1 dedicated tenants' artefacts are not in the bucket: w1" in findings[2].message


def test_published_models_are_found(aws: Aws) -> None:
    s3 = aws.stub("s3")
    s3.add_response("head_bucket", {"BucketRegion": "eu-west-1"}, HEAD)
    s3.add_response("list_objects_v2", {"Contents": [{"Key": "models/a/1.tar.gz"}]})
    s3.add_response("head_object", {}, {"Bucket": BUCKET, "Key": "models/w1/2027-01-01.tar.gz"})
    assert {finding.status for finding in storage.check(aws.account())} == {"ok"}


def metadata(**changes: str) -> dict[str, Any]:
    fields = {"KeyId": "0aa1", "KeyState": "Enabled", "KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "SYMMETRIC_DEFAULT"}
    return {"KeyMetadata": {**fields, **changes}}


@pytest.mark.parametrize(
    ("changes", "status"),
    [({}, "ok"), ({"KeyState": "PendingDeletion"}, "problem"), ({"KeyUsage": "SIGN_VERIFY"}, "problem"),
     ({"KeySpec": "RSA_2048"}, "problem")],
)  # fmt: skip
def test_a_key_must_be_enabled_and_symmetric(aws: Aws, changes: dict[str, str], status: str) -> None:
    aws.stub("kms").add_response("describe_key", metadata(**changes), {"KeyId": KEY})
    account = aws.account(encryption={"bucket_kms_key_arn": KEY})
    assert only(keys.check(account)).status == status


def test_a_key_that_is_not_there_is_a_problem(aws: Aws) -> None:
    aws.stub("kms").add_client_error("describe_key", "NotFoundException", "no")
    assert only(keys.check(aws.account(encryption={"volume_kms_key_arn": KEY}))).status == "problem"


def publish(*services: str, actions: Any = ("kms:Decrypt", "kms:GenerateDataKey*")) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": list(actions), "Resource": "*"}


@pytest.mark.parametrize(
    ("statements", "refused"),
    [
        ([publish("cloudwatch.amazonaws.com", "events.amazonaws.com")], ""),
        ([publish("cloudwatch.amazonaws.com"), publish("events.amazonaws.com", actions=["kms:*"])], ""),
        ([publish("cloudwatch.amazonaws.com")], "events.amazonaws.com"),
        ([publish("cloudwatch.amazonaws.com", "events.amazonaws.com", actions=["kms:Decrypt"])], "cloudwatch"),
        ([{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}], "cloudwatch"),
    ],
)
def test_the_topics_key_names_the_publishers(aws: Aws, statements: list[dict[str, Any]], refused: str) -> None:
    aws.stub("kms").add_response("describe_key", metadata())
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    aws.stub("kms").add_response("get_key_policy", {"Policy": policy}, {"KeyId": KEY, "PolicyName": "default"})
    finding = only(keys.check(aws.account(encryption={"topic_kms_key_arn": KEY})))
    assert finding.status == ("problem" if refused else "ok")
    assert refused in finding.message


NETWORK = {
    "subnets": ["subnet-0000000000000000a", "subnet-0000000000000000b"],
    "security_group_ids": ["sg-0000000000000000c"],
}


def subnet(name: str, zone: str = "a", *, vpc: str = "vpc-1", free: int = 200) -> dict[str, Any]:
    return {
        "SubnetId": name,
        "VpcId": vpc,
        "AvailabilityZone": f"eu-west-1{zone}",
        "AvailableIpAddressCount": free,
    }


def vpc(
    aws: Aws,
    subnets: list[dict[str, Any]],
    *,
    endpoints: list[dict[str, Any]] | None = None,
    tables: list[dict[str, Any]] | None = None,
) -> list[Finding]:
    ec2 = aws.stub("ec2")
    ec2.add_response(
        "describe_subnets",
        {"Subnets": subnets},
        {"SubnetIds": ["subnet-0000000000000000a", "subnet-0000000000000000b"]},
    )
    ec2.add_response(
        "describe_security_groups", {"SecurityGroups": [{"VpcId": "vpc-1", "GroupId": "sg-0000000000000000c"}]}
    )
    if endpoints is not None:
        ec2.add_response("describe_vpc_endpoints", {"VpcEndpoints": endpoints})
        ec2.add_response("describe_route_tables", {"RouteTables": tables or []})
    return list(network.check(aws.account(network=NETWORK)))


def test_without_a_network_nothing_is_asked(aws: Aws) -> None:
    assert list(network.check(aws.account())) == []


def test_a_subnet_that_does_not_exist_is_a_problem(aws: Aws) -> None:
    aws.stub("ec2").add_client_error(
        "describe_subnets", "InvalidSubnetID.NotFound", "The subnet ID 'subnet-0000000000000000a' ..."
    )
    assert "subnet-0000000000000000a" in only(network.check(aws.account(network=NETWORK))).message


def test_one_vpc_and_two_zones_are_needed(aws: Aws) -> None:
    [finding] = vpc(aws, [subnet("subnet-0000000000000000a"), subnet("subnet-0000000000000000b", vpc="vpc-2")])
    assert "2 VPCs: vpc-1, vpc-2" in finding.message
    findings = vpc(
        aws,
        [subnet("subnet-0000000000000000a"), subnet("subnet-0000000000000000b")],
        endpoints=[{"VpcEndpointType": "Interface"}],
    )
    assert findings[0].message == "all subnets are in eu-west-1a"


def test_the_subnets_need_room_for_two_fleets(aws: Aws) -> None:
    both = [subnet("subnet-0000000000000000a", free=1), subnet("subnet-0000000000000000b", "b", free=2)]
    findings = vpc(aws, both, endpoints=[{"VpcEndpointType": "Interface"}])
    assert "3 free addresses; an update at the maximum needs" in findings[0].message


def test_each_subnet_needs_a_way_to_s3(aws: Aws) -> None:
    gateway = {"VpcEndpointType": "Gateway", "RouteTableIds": ["rtb-1"]}
    own = {
        "RouteTableId": "rtb-1",
        "Associations": [{"SubnetId": "subnet-0000000000000000a", "Main": False}],
        "Routes": [],
    }
    main = {"RouteTableId": "rtb-2", "Associations": [{"Main": True}], "Routes": []}
    both = [subnet("subnet-0000000000000000a"), subnet("subnet-0000000000000000b", "b")]
    _, first, second = vpc(aws, both, endpoints=[gateway], tables=[own, main])
    assert (first.status, "gateway endpoint" in first.message) == ("ok", True)
    assert (second.status, "subnet-0000000000000000b does not reach S3" in second.message) == ("problem", True)
    main["Routes"] = [{"NatGatewayId": "nat-1"}]
    _, _, second = vpc(aws, both, endpoints=[gateway], tables=[own, main])
    assert (second.status, "by a NAT gateway" in second.message) == ("ok", True)


def test_a_region_that_is_not_bootstrapped_is_a_problem(aws: Aws) -> None:
    ssm = aws.stub("ssm")
    ssm.add_client_error("get_parameter", "ParameterNotFound", "no")
    assert only(deployment.bootstrap(aws.account())).remedy == "cdk bootstrap aws://123456789012/eu-west-1"
    for version, status in (("5", "problem"), ("6", "ok"), ("21", "ok")):
        ssm.add_response("get_parameter", {"Parameter": {"Value": version}})
        assert only(deployment.bootstrap(aws.account())).status == status


def test_the_templates_ask_for_that_version_of_the_bootstrap_stack(templates: Any) -> None:
    assert templates
    for template in templates.values():
        rule = template.get("Rules", {}).get("CheckBootstrapVersion")
        if rule is not None:
            refused = rule["Assertions"][0]["Assert"]["Fn::Not"][0]["Fn::Contains"][0]
            assert refused == [str(version) for version in range(1, deployment.BOOTSTRAP_VERSION)]


@pytest.mark.parametrize(
    ("status", "expected"),
    [("UPDATE_COMPLETE", "ok"), ("UPDATE_ROLLBACK_COMPLETE", "ok"), ("ROLLBACK_COMPLETE", "problem"),
     ("UPDATE_ROLLBACK_FAILED", "problem"), ("UPDATE_IN_PROGRESS", "problem")],
)  # fmt: skip
def test_a_stack_must_take_an_update(aws: Aws, status: str, expected: str) -> None:
    cloudformation = aws.stub("cloudformation")
    cloudformation.add_client_error(
        "describe_stacks", "ValidationError", "Stack with id shop-test-Models does not exist"
    )
    aws.stub("s3").add_client_error("head_bucket", "404", "Not Found", 404, expected_params=HEAD)
    stack = {"StackName": "shop-test-Fleet", "CreationTime": "2027-01-01", "StackStatus": status}
    cloudformation.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "shop-test-Fleet"})
    models, fleet_stack = deployment.stacks(aws.account())
    assert (models.status, fleet_stack.status) == ("ok", expected)


def test_a_bucket_that_outlived_its_stack_is_a_problem(aws: Aws) -> None:
    """The default, `retain = true`: a stack that is created again cannot create the bucket again."""
    for stack in ("Models", "Fleet"):
        aws.stub("cloudformation").add_client_error(
            "describe_stacks", "ValidationError", f"Stack with id shop-test-{stack} does not exist"
        )
    aws.stub("s3").add_response("head_bucket", {"BucketRegion": "eu-west-1"}, HEAD)
    models, fleet_stack = deployment.stacks(aws.account())
    assert (models.status, fleet_stack.status) == ("problem", "ok")
    assert BUCKET in models.message
    assert models.remedy is not None
    assert "cdk import shop-test/Models" in models.remedy


def test_what_aws_refuses_is_unknown_and_hides_nothing_else() -> None:
    def client(service: str) -> Any:
        raise EndpointConnectionError(endpoint_url=f"https://{service}")

    begun: list[str] = []
    findings = preflight(Account(config=fleet(), client=client), begins=begun.append)
    assert begun == [area for area, _, _ in CHECKS]
    # Without keys and a network there is nothing to ask about them.
    assert {finding.area for finding in findings} == set(begun) - {"keys", "network"}
    assert {finding.status for finding in findings} == {"unknown"}


def test_access_denied_names_the_permission_that_is_missing(aws: Aws) -> None:
    def denied(service: str, operation: str) -> None:
        aws.stub(service).add_client_error(operation, "AccessDeniedException", "not authorized", 403)

    denied("service-quotas", "list_aws_default_service_quotas")
    account = aws.account()

    def client(service: str) -> Any:
        if service != "service-quotas":
            raise EndpointConnectionError(endpoint_url=f"https://{service}")
        return aws.stub(service).client

    findings = preflight(Account(config=account.config, client=client))
    [finding] = [finding for finding in findings if finding.area == "quotas"]
    assert "servicequotas:ListServiceQuotas" in finding.message


@pytest.mark.parametrize(
    ("actions", "missing"),
    [
        (["ecr:BatchGetImage"], ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"]),
        (["ecr:Batch*", "ecr:GetDownloadUrl*"], []),
        ("ecr:*", []),
    ],
)
def test_a_repository_policy_may_allow_a_pull_by_wildcards(actions: Any, missing: list[str]) -> None:
    statement = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": actions}
    assert image.not_allowed(json.dumps({"Statement": [statement]})) == missing


def test_two_checks_of_one_bucket_ask_s3_once(aws: Aws) -> None:
    for stack in ("Models", "Fleet"):
        aws.stub("cloudformation").add_client_error(
            "describe_stacks", "ValidationError", f"Stack with id shop-test-{stack} does not exist"
        )
    aws.stub("s3").add_client_error("head_bucket", "404", "Not Found", 404, expected_params=HEAD)
    account = aws.account()
    assert {finding.status for finding in [*deployment.stacks(account), *storage.check(account)]} == {"ok"}
