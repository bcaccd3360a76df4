"""Who may submit to an asynchronous endpoint, with IAM enforced: with the rights that the constructs grant."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from botocore.exceptions import ClientError

from constructs_lib.hosting.async_rights import grant_submit, queue_statements
from local_cloud import start
from local_cloud.testing.account import Account, error_of
from local_cloud.testing.fleets import fleet
from local_cloud.testing.served_account import IMAGE, ROW, Served, artefact, score
from tierfleet.config import FleetConfig, routes
from tierfleet.runtime.names import async_prefix

ACCOUNT = "600000000005"
TIER = "nightly"
TENANTS = ("n1", "n2")


def config() -> FleetConfig:
    tier = {
        "hosting": "async",
        "instance_type": "ml.m5.large",
        "instances": {"max": 1},
        "scaling": {"backlog_size_per_instance": 5},
        "tenants": {tenant: {"model": f"{tenant}/1.tar.gz"} for tenant in TENANTS},
    }
    return fleet(account=ACCOUNT, tiers={TIER: tier})


def endpoint_name(tenant: str) -> str:
    return f"shop--test--{TIER}--{tenant}--async-m5-large"


def endpoint_arn(tenant: str) -> str:
    return f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:endpoint/{endpoint_name(tenant)}"


def granted(tenant: str) -> dict[str, Any]:
    """The policy document of `grant_submit`."""
    stack = Stack(App(), "Rights")
    grant_submit(iam.User(stack, "Caller"), config(), endpoint_name(tenant), tenant)
    (policy,) = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    document: dict[str, Any] = policy["Properties"]["PolicyDocument"]
    return document


class Guarded:
    """A local emulator that enforces IAM, with an asynchronous endpoint for each tenant, whose role is the tenant's."""

    def __init__(self, account: Account) -> None:
        self.served, self.iam, self.bucket = Served(account), account.client("iam"), routes.async_bucket(config())
        s3 = account.client("s3")
        for name in (self.bucket, account.bucket):
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        for rounds, tenant in enumerate(TENANTS, 1):
            account.upload(f"models/{tenant}/1.tar.gz", artefact(rounds))
            self._create(account, tenant)

    def _create(self, account: Account, tenant: str) -> None:
        name, sagemaker = endpoint_name(tenant), self.served.sagemaker
        sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=self._role(account, tenant),
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{account.bucket}/models/{tenant}/1.tar.gz"},
        )
        paths = {kind: f"s3://{self.bucket}/{async_prefix(TIER, kind, tenant)}" for kind in ("output", "failure")}
        variant: Any = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[{**variant, "InitialInstanceCount": 1}],
            AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": paths["output"], "S3FailurePath": paths["failure"]}},
        )
        self.served.create(name, name)

    def _role(self, account: Account, tenant: str) -> str:
        trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = {"Version": "2012-10-17", "Statement": [trust]}
        role = self.iam.create_role(RoleName=tenant, AssumeRolePolicyDocument=json.dumps(document))
        model = {
            "Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{account.bucket}/models/{tenant}/*"
        }  # fmt: skip
        statements = [model, *(statement.to_statement_json() for statement in queue_statements(config(), tenant))]
        self.iam.put_role_policy(
            RoleName=tenant,
            PolicyName="rights",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )
        return str(role["Role"]["Arn"])

    def caller(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        """Clients with the access key of a new user, by service."""
        self.iam.create_user(UserName=name)
        self.iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=json.dumps(document))
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return {
            service: self.served.cloud.client(service, key["AccessKeyId"], key["SecretAccessKey"])
            for service in ("sagemaker-runtime", "s3")
        }


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with start(tmp_path_factory.mktemp("async-rights"), account=ACCOUNT, enforce_iam=True, serving="models") as cloud:
        yield Guarded(Account(cloud, ACCOUNT))


@pytest.fixture(scope="module")
def n1(guarded: Guarded) -> dict[str, Any]:
    """A caller of tenant n1."""
    return guarded.caller("n1", granted("n1"))


def submit(caller: dict[str, Any], tenant: str, **request: Any) -> Any:
    given = request or {"Body": ROW}
    return caller["sagemaker-runtime"].invoke_endpoint_async(
        EndpointName=endpoint_name(tenant), ContentType="text/csv", **given
    )


def refusal(caller: dict[str, Any], tenant: str, **request: Any) -> tuple[str, str]:
    refused: tuple[str, str] = error_of(lambda: submit(caller, tenant, **request))
    return refused


def read(guarded: Guarded, caller: dict[str, Any], location: str) -> bytes:
    """The object once it is there. Until then S3 must say that it is missing, not that it is forbidden."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    contents: list[bytes] = []

    def there() -> bool:
        try:
            contents.append(caller["s3"].get_object(Bucket=bucket, Key=key)["Body"].read())
        except caller["s3"].exceptions.NoSuchKey:
            return False
        return True

    guarded.served.wait_for(there)
    return contents[0]


def test_a_caller_without_rights_is_refused_as_aws_words_it(guarded: Guarded) -> None:
    """Neither the right to call any endpoint at once, nor all of S3, is the right to submit."""
    statements = [{"Effect": "Allow", "Action": ["sagemaker:InvokeEndpoint", "s3:*"], "Resource": "*"}]
    other = guarded.caller("other", {"Version": "2012-10-17", "Statement": statements})

    code, message = refusal(other, "n1")

    assert code == "AccessDeniedException"
    assert message == (
        f"User: arn:aws:iam::{ACCOUNT}:user/other is not authorized to perform: sagemaker:InvokeEndpointAsync on "
        f"resource: {endpoint_arn('n1')} because no identity-based policy allows the sagemaker:InvokeEndpointAsync "
        "action"
    )


def test_a_key_of_no_user_is_refused(guarded: Guarded) -> None:
    stranger = {"sagemaker-runtime": guarded.served.cloud.client("sagemaker-runtime", "AKIAUNKNOWN", "secret")}
    assert refusal(stranger, "n1")[0] == "UnrecognizedClientException"


def test_a_tenants_caller_submits_and_reads_its_result(guarded: Guarded, n1: dict[str, Any]) -> None:
    answer = submit(n1, "n1")
    assert float(read(guarded, n1, answer["OutputLocation"])) == pytest.approx(score(1), rel=1e-6)

    key = f"{async_prefix(TIER, 'input', 'n1')}rows"
    n1["s3"].put_object(Bucket=guarded.bucket, Key=key, Body=ROW)
    answer = submit(n1, "n1", InputLocation=f"s3://{guarded.bucket}/{key}")
    assert float(read(guarded, n1, answer["OutputLocation"])) == pytest.approx(score(1), rel=1e-6)

    answer = submit(n1, "n1", Body=b"not,numbers")
    assert b"not" in read(guarded, n1, answer["FailureLocation"])


@pytest.mark.parametrize("request_of", [{}, {"InputLocation": "s3://any/object"}])
def test_a_tenants_caller_may_submit_to_its_own_endpoint_only(n1: dict[str, Any], request_of: dict[str, Any]) -> None:
    code, message = refusal(n1, "n2", **request_of)
    assert code == "AccessDeniedException"
    assert f"sagemaker:InvokeEndpointAsync on resource: {endpoint_arn('n2')}" in message


def test_a_tenants_caller_may_not_invoke_its_endpoint_at_once(n1: dict[str, Any]) -> None:
    invoke = n1["sagemaker-runtime"].invoke_endpoint
    code, message = error_of(invoke, EndpointName=endpoint_name("n1"), Body=ROW)
    assert code == "AccessDeniedException"
    assert "sagemaker:InvokeEndpoint on resource" in message


def test_a_tenants_caller_has_its_own_prefixes_only(guarded: Guarded, n1: dict[str, Any]) -> None:
    s3, bucket = guarded.served.account.client("s3"), guarded.bucket
    for tenant in ("n1", "n2", "n10"):
        for kind in ("input", "output", "failure"):
            s3.put_object(Bucket=bucket, Key=f"{async_prefix(TIER, kind, tenant)}x", Body=b"0.5")

    def may(action: str, tenant: str, kind: str) -> bool:
        prefix = async_prefix(TIER, kind, tenant)
        requests: dict[str, Any] = {
            "put_object": {"Key": f"{prefix}x", "Body": b"1"},
            "get_object": {"Key": f"{prefix}x"},
            "list_objects_v2": {"Prefix": prefix},
        }
        try:
            getattr(n1["s3"], action)(Bucket=bucket, **requests[action])
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
            return False
        return True

    allowed = {
        (action, tenant, kind)
        for action in ("put_object", "get_object", "list_objects_v2")
        for tenant in ("n1", "n2", "n10")
        for kind in ("input", "output", "failure")
        if may(action, tenant, kind)
    }
    assert allowed == {
        ("put_object", "n1", "input"),
        ("get_object", "n1", "output"),
        ("get_object", "n1", "failure"),
        ("list_objects_v2", "n1", "output"),
        ("list_objects_v2", "n1", "failure"),
    }


def test_an_endpoint_reads_its_own_tenants_requests_only(guarded: Guarded, n1: dict[str, Any]) -> None:
    """A caller may name any object; the endpoint's role does not read another tenant's."""
    key = f"{async_prefix(TIER, 'input', 'n2')}rows"
    guarded.served.account.client("s3").put_object(Bucket=guarded.bucket, Key=key, Body=ROW)
    answer = submit(n1, "n1", InputLocation=f"s3://{guarded.bucket}/{key}")
    assert b"Amazon S3 did not give" in read(guarded, n1, answer["FailureLocation"])
