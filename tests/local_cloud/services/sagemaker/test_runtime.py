"""InvokeEndpoint: what the front accepts, and who may call it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aws_requests import create_config, create_model

from local_cloud import start
from local_cloud.testing.account import Account, error_of


@pytest.fixture
def fleet(account: Account) -> Account:
    """A multi-model endpoint `tail` and a dedicated endpoint `whale`, both in service."""
    create_model(account)
    url = f"s3://{account.bucket}/models/m37/1.tar.gz"
    create_model(account, "whale", Mode="SingleModel", ModelDataUrl=url)
    for name in ("tail", "whale"):
        create_config(account, name, name)
        account.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=name)
        account.client("sagemaker").describe_endpoint(EndpointName=name)
    return account


def invoke(account: Account, endpoint: str, **request: Any) -> Any:
    runtime = account.client("sagemaker-runtime")
    return runtime.invoke_endpoint(EndpointName=endpoint, **{"Body": b"1,2,3", **request})


def test_invocation_reaches_the_seam_as_it_was_sent(fleet: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html"""
    reply = invoke(
        fleet,
        "tail",
        TargetModel="m37/2026 11.tar.gz",
        ContentType="text/csv",
        Accept="application/json",
        CustomAttributes="warm-up",
        InferenceId="i-1",
    )

    assert reply["InvokedProductionVariant"] == "AllTraffic"
    assert json.loads(reply["Body"].read()) == {"local_cloud": "no model was run"}
    assert fleet.cloud.admin("invocations")[-1] == {
        "endpoint": "tail",
        "variant": "AllTraffic",
        "body": "1,2,3",
        "content_type": "text/csv",
        "accept": "application/json",
        "target_model": "m37/2026 11.tar.gz",
        "custom_attributes": "warm-up",
        "inference_id": "i-1",
    }


@pytest.mark.parametrize(
    ("endpoint", "request_fields", "complaint"),
    [
        ("tail", {}, "missing a target model header"),
        ("whale", {"TargetModel": "m01/1.tar.gz"}, "TARGET_MODEL_HEADER_NOT_SUPPORTED"),
        ("absent", {}, "Endpoint absent of account"),
        ("whale", {"TargetVariant": "Other"}, "Variant Other not found"),
        ("whale", {"Body": b"x" * 6_291_457}, "exceeds 6291456 bytes"),
    ],
)
def test_invalid_invocation_is_a_validation_error(
    fleet: Account, endpoint: str, request_fields: dict[str, Any], complaint: str
) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html"""
    code, message = error_of(invoke, account=fleet, endpoint=endpoint, **request_fields)

    assert code == "ValidationError"
    assert complaint in message


def test_endpoint_answers_only_once_it_is_in_service(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html"""
    create_model(account)
    create_config(account, "tail", "tail")
    account.stop_clock()
    account.client("sagemaker").create_endpoint(EndpointName="tail", EndpointConfigName="tail")

    creating = error_of(invoke, account=account, endpoint="tail", TargetModel="m37/1.tar.gz")
    account.advance(181)

    assert creating[0] == "ValidationError"
    assert invoke(account, "tail", TargetModel="m37/1.tar.gz")["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_endpoint_answers_while_it_is_updated_and_rolled_back(fleet: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html"""
    fleet.stop_clock()
    create_config(fleet, "second", "whale")
    fleet.client("sagemaker").update_endpoint(EndpointName="whale", EndpointConfigName="second")
    fleet.cloud.admin("faults", {"unhealthy_model_data": ["m37"]})

    statuses = []
    for seconds in (0, 181, 61):
        fleet.advance(seconds)
        statuses.append(fleet.client("sagemaker").describe_endpoint(EndpointName="whale")["EndpointStatus"])
        invoke(fleet, "whale")

    assert statuses == ["Updating", "RollingBack", "InService"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A local emulator of its own that enforces IAM, with both endpoints and a user `caller` without any rights."""
    account_id = "300000000001"
    with start(tmp_path_factory.mktemp("guarded"), account=account_id, enforce_iam=True) as cloud:
        account = Account(cloud, account_id)
        create_model(account)
        create_config(account, "tail", "tail")
        account.client("sagemaker").create_endpoint(EndpointName="tail", EndpointConfigName="tail")
        account.client("sagemaker").describe_endpoint(EndpointName="tail")
        account.client("iam").create_user(UserName="caller")
        yield account


def allow(account: Account, *statements: dict[str, Any]) -> None:
    """Replace what the user `caller` may do."""
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    account.client("iam").put_user_policy(UserName="caller", PolicyName="rights", PolicyDocument=json.dumps(document))


@pytest.fixture(scope="module")
def caller(guarded: Account) -> dict[str, Any]:
    """Clients with the access key of the user `caller`, by service."""
    key = guarded.client("iam").create_access_key(UserName="caller")["AccessKey"]
    return {
        service: guarded.cloud.client(service, key["AccessKeyId"], key["SecretAccessKey"])
        for service in ("sagemaker", "sagemaker-runtime", "appconfigdata", "s3")
    }


def endpoint_arn(account: Account, name: str) -> str:
    return f"arn:aws:sagemaker:eu-west-1:{account.id}:endpoint/{name}"


def tenant_rights(account: Account, tenant: str) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": "sagemaker:InvokeEndpoint",
        "Resource": endpoint_arn(account, "tail"),
        "Condition": {"StringLike": {"sagemaker:TargetModel": f"{tenant}/*"}},
    }


def test_caller_without_rights_is_denied(guarded: Account, caller: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html"""
    allow(guarded, {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"})

    code, message = error_of(
        caller["sagemaker-runtime"].invoke_endpoint,
        EndpointName="tail",
        TargetModel="m37/1.tar.gz",
        Body=b"1",
    )

    assert code == "AccessDeniedException"
    assert f"sagemaker:InvokeEndpoint on resource: {endpoint_arn(guarded, 'tail')}" in message
    assert f"arn:aws:iam::{guarded.id}:user/caller" in message


@pytest.mark.parametrize(
    ("target_model", "allowed"),
    [("m37/1.tar.gz", True), ("m38/1.tar.gz", False), ("m370/1.tar.gz", False), (None, False)],
)
def test_tenant_may_invoke_only_its_own_models(
    guarded: Account, caller: dict[str, Any], target_model: str | None, allowed: bool
) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoint-security.html"""
    allow(guarded, tenant_rights(guarded, "m37"))
    request = {"EndpointName": "tail", "Body": b"1"} | ({"TargetModel": target_model} if target_model else {})

    if allowed:
        caller["sagemaker-runtime"].invoke_endpoint(**request)
    else:
        assert error_of(caller["sagemaker-runtime"].invoke_endpoint, **request)[0] == "AccessDeniedException"


def test_permission_is_checked_before_existence(guarded: Account, caller: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html"""
    allow(guarded, tenant_rights(guarded, "m37"))

    code, _ = error_of(caller["sagemaker-runtime"].invoke_endpoint, EndpointName="absent", Body=b"1")

    assert code == "AccessDeniedException"


def test_control_plane_checks_the_resource_of_the_action(guarded: Account, caller: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html"""
    allow(
        guarded,
        {
            "Effect": "Allow",
            "Action": "sagemaker:DescribeEndpoint",
            "Resource": endpoint_arn(guarded, "tail"),
        },
    )

    caller["sagemaker"].describe_endpoint(EndpointName="tail")

    assert error_of(caller["sagemaker"].describe_endpoint, EndpointName="o")[0] == "AccessDeniedException"
    assert error_of(caller["sagemaker"].list_endpoints)[0] == "AccessDeniedException"


def test_configuration_session_checks_application_environment_and_profile(
    guarded: Account, caller: dict[str, Any]
) -> None:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsappconfig.html"""
    appconfig = guarded.client("appconfig")
    application = appconfig.create_application(Name="fleet")["Id"]
    environment = appconfig.create_environment(ApplicationId=application, Name="dev")["Id"]
    profiles = [
        appconfig.create_configuration_profile(ApplicationId=application, Name=name, LocationUri="hosted")["Id"]
        for name in ("routes", "other")
    ]
    arn = f"arn:aws:appconfig:eu-west-1:{guarded.id}:application/{application}/environment/{environment}"
    allow(
        guarded,
        {
            "Effect": "Allow",
            "Action": ["appconfig:StartConfigurationSession", "appconfig:GetLatestConfiguration"],
            "Resource": f"{arn}/configuration/{profiles[0]}",
        },
    )
    names = {"ApplicationIdentifier": "fleet", "EnvironmentIdentifier": "dev"}

    token = caller["appconfigdata"].start_configuration_session(**names, ConfigurationProfileIdentifier="routes")[
        "InitialConfigurationToken"
    ]
    caller["appconfigdata"].get_latest_configuration(ConfigurationToken=token)

    denied = error_of(
        caller["appconfigdata"].start_configuration_session, **names, ConfigurationProfileIdentifier="other"
    )
    assert denied[0].startswith("AccessDenied")


def test_loopback_counts_as_secure_transport(guarded: Account, caller: dict[str, Any]) -> None:
    """A bucket that demands TLS must stay readable here.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html
    """
    guarded.upload("catalog/m37.json", b"{}")
    everything = f"arn:aws:s3:::{guarded.bucket}/*"
    refuse_plain_http = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": everything,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [refuse_plain_http]})
    guarded.client("s3").put_bucket_policy(Bucket=guarded.bucket, Policy=policy)
    allow(guarded, {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{everything[:-1]}catalog/*"})

    answer = caller["s3"].get_object(Bucket=guarded.bucket, Key="catalog/m37.json")
    denied = error_of(caller["s3"].get_object, Bucket=guarded.bucket, Key="models/m37/1.tar.gz")

    assert answer["Body"].read() == b"{}"
    assert denied[0] == "AccessDenied"
