"""The warm-up function: its three callers, its settings, its log lines, and what its asset may import."""

import io
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import warm_up
from botocore.exceptions import EndpointConnectionError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from loopback import BUCKET

from tierfleet.runtime import metrics
from tierfleet.runtime.route_parts import PartReader, part_key
from tierfleet.runtime.warm_up import custom_resource, gate, tier_run
from tierfleet.runtime.warm_up import run as warm
from tierfleet.runtime.warm_up.endpoint_gate import RUNS_OF_ONE_GATE
from tierfleet.runtime.warm_up.invocation import ANSWER_MARGIN_SECONDS, Settings

ROOT = Path(__file__).parents[4]
OLD, NEW = "fraud--prod--tail--all--mme-m5-large", "fraud--prod--tail--all--mme-m5-xlarge"
STACK = "arn:aws:cloudformation:eu-west-1:111122223333:stack/Fraud-prod-Fleet/1a2b"
SETTINGS = {
    "TIERFLEET_FLEET": "fraud",
    "TIERFLEET_ENVIRONMENT": "prod",
    "TIERFLEET_MODELS_BUCKET": BUCKET,
    "TIERFLEET_ROUTES_APPLICATION_ID": "app1234",
    "TIERFLEET_ROUTES_ENVIRONMENT_ID": "env1234",
    "TIERFLEET_ROUTES_PROFILE_ID": "prof123",
}
SERVICES = {
    "runtime": "sagemaker-runtime",
    "s3": "s3",
    "appconfig": "appconfig",
    "appconfigdata": "appconfigdata",
    "sagemaker": "sagemaker",
    "cloudformation": "cloudformation",
    "lambda_": "lambda",
    "logs": "logs",
}


def document(endpoint: str, *tenants: str) -> bytes:
    return json.dumps(
        {
            "version": 1,
            "fleet": "fraud",
            "environment": "prod",
            "default_tier": "tail",
            "tiers": {
                "tail": {"hosting": "multi-model", "endpoint": endpoint},
                "rare": {"hosting": "multi-model", "endpoint": "fraud--prod--rare--all--mme-m5-large"},
                "whale": {"hosting": "dedicated"},
            },
            "tenants": {"m01": {"tier": "whale", "endpoint": "fraud--prod--whale--m01--dedicated-m5-large"}},
            "warm_up": {
                "probe": {"content_type": "text/csv", "body": "0,0,0"},
                "tiers": {"tail": {"tenants": list(tenants), "concurrency": 1, "deadline_seconds": 780}},
            },
        }
    ).encode()


def body(content: bytes) -> StreamingBody:
    return StreamingBody(io.BytesIO(content), len(content))


class Context:
    """Lambda's context, as far as the function reads it."""

    invoked_function_arn = "arn:aws:lambda:eu-west-1:111122223333:function:gate"

    def __init__(self, seconds: float = 900) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@pytest.fixture(scope="module")
def aws_clients() -> dict[str, Any]:
    session = boto3.Session("test", "test", region_name="eu-west-1")
    return {name: session.client(service) for name, service in SERVICES.items()}


class StubbedAws:
    """A Stubber per client; each expects exactly the calls that a test announces, in order."""

    def __init__(self, aws_clients: dict[str, Any]) -> None:
        self.stubs = {name: Stubber(client) for name, client in aws_clients.items()}

    def deployed(self, content: bytes) -> None:
        stub = self.stubs["appconfigdata"]
        stub.add_response(
            "start_configuration_session",
            {"InitialConfigurationToken": "one"},
            {
                "ApplicationIdentifier": "app1234",
                "EnvironmentIdentifier": "env1234",
                "ConfigurationProfileIdentifier": "prof123",
            },
        )
        stub.add_response("get_latest_configuration", {"Configuration": body(content)}, {"ConfigurationToken": "one"})

    def hosted(self, content: bytes) -> None:
        profile = {"ApplicationId": "app1234", "ConfigurationProfileId": "prof123"}
        stub = self.stubs["appconfig"]
        stub.add_response(
            "list_hosted_configuration_versions",
            {"Items": [{"VersionNumber": 7}, {"VersionNumber": 6}]},
            profile,
        )
        stub.add_response(
            "get_hosted_configuration_version", {"Content": body(content)}, {**profile, "VersionNumber": 7}
        )

    def probed(self, endpoint: str, *tenants: str) -> None:
        for tenant in tenants:
            pointer = {"tenant": tenant, "version": "1", "target_model": f"{tenant}/1.tar.gz"}
            self.stubs["s3"].add_response(
                "get_object",
                {"Body": body(json.dumps(pointer).encode())},
                {"Bucket": BUCKET, "Key": f"catalog/{tenant}.json"},
            )
            self.stubs["runtime"].add_response(
                "invoke_endpoint",
                {"Body": body(b"0.5")},
                {
                    "EndpointName": endpoint,
                    "TargetModel": f"{tenant}/1.tar.gz",
                    "ContentType": "text/csv",
                    "Body": b"0,0,0",
                    "CustomAttributes": "tierfleet-warm-up",
                    "InferenceId": "tierfleet-warm-up",
                },
            )

    def refused(self, endpoint: str, *tenants: str) -> None:
        """The endpoint answers 424, in the order of the probes."""
        for tenant in tenants:
            pointer = {"tenant": tenant, "version": "1", "target_model": f"{tenant}/1.tar.gz"}
            self.stubs["s3"].add_response("get_object", {"Body": body(json.dumps(pointer).encode())})
            self.stubs["runtime"].add_client_error(
                "invoke_endpoint",
                "ModelError",
                "boom",
                http_status_code=424,
                expected_params={
                    "EndpointName": endpoint,
                    "TargetModel": f"{tenant}/1.tar.gz",
                    "ContentType": "text/csv",
                    "Body": b"0,0,0",
                    "CustomAttributes": "tierfleet-warm-up",
                    "InferenceId": "tierfleet-warm-up",
                },
            )

    def unpublished(self, tenant: str) -> None:
        key = {"Bucket": BUCKET, "Key": f"catalog/{tenant}.json"}
        self.stubs["s3"].add_client_error("get_object", "NoSuchKey", "no", expected_params=key)

    def replaced(self, *tenants: str, old_instances: int = 2, new_instances: int = 2) -> None:
        """NEW is in service and will replace OLD, which serves now, with these tenants on the warm-up list."""
        self.stack("UPDATE_IN_PROGRESS")
        self.endpoint(NEW, "Config-New")
        self.deployed(document(OLD, *tenants))
        self.endpoint(OLD, "Config-Old", ProductionVariants=instances(old_instances))
        self.endpoint(NEW, "Config-New", ProductionVariants=instances(new_instances))

    def stack(self, status: str) -> None:
        stack = {"StackName": "Fraud-prod-Fleet", "CreationTime": "2027-09-14", "StackStatus": status}
        self.stubs["cloudformation"].add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": STACK})

    def endpoint(self, name: str, config: str, **fields: Any) -> None:
        self.stubs["sagemaker"].add_response(
            "describe_endpoint",
            {
                "EndpointName": name,
                "EndpointArn": f"arn:aws:sagemaker:eu-west-1:111122223333:endpoint/{name}",
                "EndpointConfigName": config,
                "EndpointStatus": "InService",
                "CreationTime": "2027-09-14",
                "LastModifiedTime": "2027-09-14",
                **fields,
            },
            {"EndpointName": name},
        )


@pytest.fixture
def aws(aws_clients: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[StubbedAws]:
    stubbed = StubbedAws(aws_clients)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    read_part = PartReader(lambda: aws_clients["s3"])
    monkeypatch.setattr(warm_up, "AWS", SimpleNamespace(**aws_clients, read_part=read_part))
    for stub in stubbed.stubs.values():
        stub.activate()
    yield stubbed
    for stub in stubbed.stubs.values():
        stub.assert_no_pending_responses()
        stub.deactivate()


class ResponseUrl:
    """CloudFormation's end: keeps what was put to it; refuses the first `refusals` attempts."""

    def __init__(self) -> None:
        self.url = ""
        self.refusals = 0
        self.content_types: list[str | None] = []
        self.answers: list[dict[str, Any]] = []


@pytest.fixture(scope="module")
def response_server() -> Iterator[ResponseUrl]:
    received = ResponseUrl()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            received.content_types.append(self.headers["Content-Type"])
            if received.refusals:
                received.refusals -= 1
                self.send_error(503)
                return
            assert len(content) <= 4096
            received.answers.append(json.loads(content))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_address[1]}/answer?signature=x"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    yield received
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cloudformation(response_server: ResponseUrl, monkeypatch: pytest.MonkeyPatch) -> ResponseUrl:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    response_server.refusals = 0
    response_server.answers.clear()
    response_server.content_types.clear()
    return response_server


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def metrics_of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("Tier", "WarmUpStarted", "WarmUpWarmed", "WarmUpFailed", "WarmUpMissing", "WarmUpSkipped", "WarmUpLeft")
    return [{name: line[name] for name in names if name in line} for line in lines if "_aws" in line]


# --- the schedule, or a person ---


def test_the_schedule_warms_the_tiers_list_on_the_deployed_endpoint(
    aws: StubbedAws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.deployed(document(OLD, "m02", "m01", "m03", "m04"))
    aws.unpublished("m04")
    aws.probed(OLD, "m03", "m02")
    report = warm_up.handler({"tier": "tail"}, Context())
    assert (report["warmed"], report["missing"]) == (["m02", "m03"], ["m04"])
    assert report["skipped"] == {"m01": "it is on tier whale"}
    lines = logged(capsys)
    assert metrics_of(lines) == [
        {"Tier": "tail", "WarmUpStarted": 1},
        {
            "Tier": "tail",
            "WarmUpWarmed": 2,
            "WarmUpFailed": 0,
            "WarmUpMissing": 1,
            "WarmUpSkipped": 1,
            "WarmUpLeft": 0,
        },
    ]
    ended = next(line for line in lines if line.get("message") == "warm-up ended")
    assert (ended["endpoint"], ended["warmed"], ended["stopped"]) == (OLD, 2, None)


def test_a_failed_tenant_is_logged_with_its_reason(aws: StubbedAws, capsys: pytest.CaptureFixture[str]) -> None:
    aws.deployed(document(OLD, "m02"))
    aws.probed(OLD, "m02")
    aws.stubs["runtime"]._queue.clear()
    aws.stubs["runtime"].add_client_error(
        "invoke_endpoint",
        "ModelError",
        modeled_fields={"OriginalStatusCode": 503, "OriginalMessage": "Prediction failed"},
    )
    report = warm_up.handler({"tier": "tail"}, Context())
    lines = logged(capsys)
    reasons = {line["tenant"]: line["reason"] for line in lines if line.get("message") == "tenant not warmed"}
    assert reasons == report["failed"]
    assert "Prediction failed" in reasons["m02"]
    assert metrics_of(lines)[-1]["WarmUpFailed"] == 1


def test_a_person_may_name_the_tenants(aws: StubbedAws) -> None:
    aws.deployed(document(OLD, "m02"))
    aws.probed(OLD, "m08", "m07")
    report = warm_up.handler({"tier": "tail", "tenants": ["m07", "m08"]}, Context())
    assert report["warmed"] == ["m07", "m08"]


def test_the_run_ends_before_the_function_does(aws: StubbedAws) -> None:
    aws.deployed(document(OLD, "m02", "m03"))
    report = warm_up.handler({"tier": "tail"}, Context(seconds=ANSWER_MARGIN_SECONDS))
    assert report["left"] == ["m02", "m03"]
    assert report["stopped"] == "the deadline of 0 seconds was near"


@pytest.mark.parametrize(("function_seconds", "deadline_seconds"), [(900, 780), (630, 600)])
def test_a_run_is_capped_by_the_function_and_by_780_seconds(
    aws: StubbedAws, monkeypatch: pytest.MonkeyPatch, function_seconds: int, deadline_seconds: int
) -> None:
    plans = []
    real_warm = tier_run.warm
    monkeypatch.setattr(tier_run, "warm", lambda plan, **clients: plans.append(plan) or real_warm(plan, **clients))
    aws.deployed(document(OLD).replace(b'"deadline_seconds": 780', b'"deadline_seconds": 5000'))
    warm_up.handler({"tier": "tail"}, Context(function_seconds))
    assert [plan.deadline_seconds for plan in plans] == [deadline_seconds]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({}, 'no "tier"'),
        ({"tier": 7}, 'no "tier"'),
        ({"tier": "tail", "tenants": "m02"}, "\"tenants\" is 'm02'"),
        ({"tier": "tail", "tenants": [2]}, "a list of tenant ids"),
    ],
)
def test_an_event_of_no_caller_is_one_clear_error(aws: StubbedAws, event: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        warm_up.handler(event, Context())


def test_a_run_that_cannot_start_counts_as_a_failure(aws: StubbedAws, capsys: pytest.CaptureFixture[str]) -> None:
    aws.deployed(b"{")
    with pytest.raises(Exception, match="malformed"):
        warm_up.handler({"tier": "tail"}, Context())
    lines = logged(capsys)
    assert metrics_of(lines) == [{"Tier": "tail", "WarmUpFailed": 1}]
    assert "malformed" in lines[0]["reason"]


# --- the endpoint's event ---


def endpoint_event(name: str, status: str = "IN_SERVICE") -> dict[str, Any]:
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Endpoint State Change",
        "detail": {"EndpointName": name, "EndpointStatus": status},
    }


def test_an_endpoint_that_comes_into_service_is_warmed(aws: StubbedAws) -> None:
    aws.deployed(document(OLD, "m02", "m03"))
    aws.probed(OLD, "m03", "m02")
    assert warm_up.handler(endpoint_event(OLD), Context())["warmed"] == ["m02", "m03"]


def test_five_events_for_one_change_are_one_probe_per_tenant_each(aws: StubbedAws) -> None:
    for _ in range(5):
        aws.deployed(document(OLD, "m02", "m03"))
        aws.probed(OLD, "m03", "m02")
        assert warm_up.handler(endpoint_event(OLD), Context())["warmed"] == ["m02", "m03"]


def test_another_status_is_skipped_without_a_call(aws: StubbedAws) -> None:
    assert "UPDATING" in warm_up.handler(endpoint_event(OLD, "UPDATING"), Context())["skipped"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (NEW, "no tier's multi-model endpoint"),
        ("fraud--prod--whale--m01--dedicated-m5-large", "no tier's multi-model endpoint"),
        ("fraud--prod--rare--all--mme-m5-large", "has no warm_up"),
    ],
)
def test_an_endpoint_that_no_warm_up_is_for_is_skipped_with_a_note(
    aws: StubbedAws, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    aws.deployed(document(OLD, "m02"))
    assert reason in warm_up.handler(endpoint_event(name), Context())["skipped"]
    assert [line["message"] for line in logged(capsys)] == ["warm-up skipped"]


def test_an_endpoint_of_the_first_deployment_is_left_to_the_gate(aws: StubbedAws) -> None:
    stub = aws.stubs["appconfigdata"]
    stub.add_client_error("start_configuration_session", "ResourceNotFoundException")
    assert "no routes are deployed yet" in warm_up.handler(endpoint_event(NEW), Context())["skipped"]


# --- the parts of a large route document ---


def parts_request(cloudformation: ResponseUrl, kind: str = "Create", *parts: dict[str, str]) -> dict[str, Any]:
    request = gate_request(cloudformation, kind)
    properties = {"ServiceToken": "arn:aws:lambda:x", "Parts": list(parts)}
    return {**request, "ResourceType": "Custom::RouteParts", "ResourceProperties": properties}


def part_of(content: bytes) -> dict[str, str]:
    return {"Key": part_key(content), "SourceBucket": "assets", "SourceKey": "asset.json"}


def test_parts_of_the_routes_are_in_the_bucket_before_the_answer(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    s3, key = aws.stubs["s3"], part_key(b"{}")
    s3.add_client_error("head_object", "403", "Forbidden", 403, expected_params={"Bucket": BUCKET, "Key": key})
    s3.add_response("get_object", {"Body": body(b"{}")}, {"Bucket": "assets", "Key": "asset.json"})
    sent = {"Bucket": BUCKET, "Key": key, "Body": b"{}", "ContentType": "application/json", "IfNoneMatch": "*"}
    s3.add_response("put_object", {}, sent)
    warm_up.handler(parts_request(cloudformation, "Create", part_of(b"{}")), Context())
    answer = only_answer(cloudformation)
    assert (answer["Status"], answer["Reason"]) == ("SUCCESS", "1 of 1 parts of the routes are new")
    assert answer["PhysicalResourceId"] == f"{BUCKET}/routes/"


def test_parts_that_are_not_what_they_should_be_fail_the_deployment(
    aws: StubbedAws, cloudformation: ResponseUrl
) -> None:
    s3 = aws.stubs["s3"]
    s3.add_client_error("head_object", "404", "Not Found", 404)
    s3.add_response("get_object", {"Body": body(b"other")})
    warm_up.handler(parts_request(cloudformation, "Update", part_of(b"{}")), Context())
    answer = only_answer(cloudformation)
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("FAILED", OLD)
    assert "SHA-256 is not the one in its name" in answer["Reason"]


def test_parts_stay_when_the_resource_goes(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    warm_up.handler(parts_request(cloudformation, "Delete", part_of(b"{}")), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"


def test_the_gate_warms_a_list_that_lies_in_the_bucket(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    whole = json.loads(document(NEW, "m02"))
    content = json.dumps(whole.pop("warm_up")).encode()
    split = {**whole, "models_bucket": BUCKET, "parts": {"warm_up": part_key(content)}}
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    aws.hosted(json.dumps(split).encode())
    aws.stubs["s3"].add_response("get_object", {"Body": body(content)}, {"Bucket": BUCKET, "Key": part_key(content)})
    aws.probed(NEW, "m02")
    warm_up.handler(gate_request(cloudformation), Context())
    assert only_answer(cloudformation)["Data"]["Warmed"] == 1


# --- the gate ---


def gate_request(
    cloudformation: ResponseUrl, kind: str = "Update", *, tier: str | None = "tail", name: str = NEW
) -> dict[str, Any]:
    properties = {
        "ServiceToken": "arn:aws:lambda:x",
        "EndpointName": name,
        "EndpointConfigName": "Config-New",
    }
    request = {
        "RequestType": kind,
        "ResponseURL": cloudformation.url,
        "StackId": STACK,
        "RequestId": "request-1",
        "LogicalResourceId": "TailGate",
        "ResourceType": "Custom::WarmGate",
        "ResourceProperties": {**properties, "Tier": tier} if tier else properties,
    }
    return request if kind == "Create" else {**request, "PhysicalResourceId": OLD}


def only_answer(cloudformation: ResponseUrl) -> dict[str, Any]:
    assert len(cloudformation.answers) == 1
    return cloudformation.answers[0]


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_the_gate_warms_the_new_endpoint_with_the_document_about_to_be_deployed(
    aws: StubbedAws, cloudformation: ResponseUrl, kind: str
) -> None:
    aws.replaced("m02")
    aws.hosted(document(NEW, "m02", "m01", "m03"))
    aws.unpublished("m03")
    aws.probed(NEW, "m02")
    warm_up.handler(gate_request(cloudformation, kind), Context())
    assert only_answer(cloudformation) == {
        "Status": "SUCCESS",
        "Reason": f"endpoint {NEW} is warmed up: 1 warmed, 0 failed, 1 missing, 1 skipped, 0 left",
        "PhysicalResourceId": NEW,
        "StackId": STACK,
        "RequestId": "request-1",
        "LogicalResourceId": "TailGate",
        "Data": {"Warmed": 1, "Failed": 0, "Missing": 1, "Skipped": 1, "Left": 0},
    }
    assert cloudformation.content_types == [""]


def instances(count: int) -> list[dict[str, Any]]:
    return [{"VariantName": "AllTraffic", "CurrentInstanceCount": 1, "DesiredInstanceCount": count}]


def test_a_new_endpoint_gets_the_instances_of_its_predecessor_before_it_is_warmed(
    aws: StubbedAws, cloudformation: ResponseUrl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.replaced("m02", old_instances=5)
    aws.stubs["sagemaker"].add_response(
        "update_endpoint_weights_and_capacities",
        {"EndpointArn": "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/x"},
        {
            "EndpointName": NEW,
            "DesiredWeightsAndCapacities": [{"VariantName": "AllTraffic", "DesiredInstanceCount": 5}],
        },
    )
    for status in ("Updating", "InService"):
        aws.stack("UPDATE_IN_PROGRESS")
        aws.endpoint(NEW, "Config-New", EndpointStatus=status)
    aws.hosted(document(NEW, "m02"))
    aws.probed(NEW, "m02")
    time = Time()
    monkeypatch.setattr(gate, "wait", partial(gate.wait, sleep=time.sleep, clock=time.clock))
    warm_up.handler(gate_request(cloudformation), Context())
    assert only_answer(cloudformation)["Data"]["Warmed"] == 1
    assert {"message": "new endpoint grows", "endpoint": NEW, "instances": 5, "like": OLD} in logged(capsys)


def test_a_predecessor_that_is_gone_asks_for_no_instances(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    aws.deployed(document(OLD, "m02"))
    aws.stubs["sagemaker"].add_client_error(
        "describe_endpoint", "ValidationException", f'Could not find endpoint "arn:...:endpoint/{OLD}".'
    )
    aws.hosted(document(NEW, "m02"))
    aws.probed(NEW, "m02")
    warm_up.handler(gate_request(cloudformation), Context())
    assert only_answer(cloudformation)["Data"]["Warmed"] == 1


def test_a_new_endpoint_that_cannot_get_the_instances_of_its_predecessor_fails_the_deployment(
    aws: StubbedAws, cloudformation: ResponseUrl
) -> None:
    aws.replaced("m02", old_instances=5)
    aws.stubs["sagemaker"].add_client_error("update_endpoint_weights_and_capacities", "ResourceLimitExceeded", "quota")
    warm_up.handler(gate_request(cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == "FAILED"
    assert "quota" in only_answer(cloudformation)["Reason"]


@pytest.mark.parametrize(("deployed", "status"), [(OLD, "FAILED"), (NEW, "SUCCESS")])
def test_a_new_endpoint_that_answers_no_probe_never_gets_the_routes(
    aws: StubbedAws, cloudformation: ResponseUrl, deployed: str, status: str
) -> None:
    """An endpoint that serves already only stays cold."""
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    aws.deployed(document(deployed, "m02", "m03"))
    if deployed == OLD:
        aws.endpoint(OLD, "Config-Old", ProductionVariants=instances(2))
        aws.endpoint(NEW, "Config-New", ProductionVariants=instances(2))
    aws.hosted(document(NEW, "m02", "m03"))
    aws.refused(NEW, "m03", "m02")
    warm_up.handler(gate_request(cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == status
    if status == "FAILED":
        assert (
            f"{NEW} does not serve, {OLD} still does; none of 2 probes was answered"
            in only_answer(cloudformation)["Reason"]
        )


@pytest.mark.parametrize(("old_answers", "status"), [(True, "FAILED"), (False, "SUCCESS")])
def test_a_tenant_that_only_the_old_endpoint_answers_fails_the_deployment(
    aws: StubbedAws, cloudformation: ResponseUrl, old_answers: bool, status: str
) -> None:
    """A bad model, which neither endpoint answers, holds up no deployment."""
    aws.replaced("m02", "m03")
    aws.hosted(document(NEW, "m02", "m03"))
    aws.refused(NEW, "m03")
    aws.probed(NEW, "m02")
    (aws.probed if old_answers else aws.refused)(OLD, "m03")
    warm_up.handler(gate_request(cloudformation), Context())
    answer = only_answer(cloudformation)
    assert answer["Status"] == status
    if old_answers:
        assert "1 of 2 probes failed" in answer["Reason"]
        assert "m03: the model failed (ModelError: boom)" in answer["Reason"]
    else:
        assert (answer["Data"]["Warmed"], answer["Data"]["Failed"]) == (1, 1)


def test_the_gate_warms_by_name_whatever_the_document_calls_the_tiers_endpoint(
    aws: StubbedAws, cloudformation: ResponseUrl
) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "config-new")
    aws.hosted(document(OLD, "m02"))
    aws.probed(NEW, "m02")
    warm_up.handler(gate_request(cloudformation), Context())
    assert only_answer(cloudformation)["Data"]["Warmed"] == 1


def test_the_gate_answers_a_delete_at_once_even_without_settings(
    aws: StubbedAws, cloudformation: ResponseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIERFLEET_FLEET")
    warm_up.handler(gate_request(cloudformation, "Delete"), Context())
    answer = only_answer(cloudformation)
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", OLD)


@pytest.mark.parametrize("status", ["UPDATE_ROLLBACK_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"])
def test_the_gate_lets_a_rollback_pass_at_once(aws: StubbedAws, cloudformation: ResponseUrl, status: str) -> None:
    aws.stack(status)
    warm_up.handler(gate_request(cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"
    assert status in only_answer(cloudformation)["Reason"]


def test_the_gate_lets_a_missing_endpoint_pass_and_says_so(
    aws: StubbedAws, cloudformation: ResponseUrl, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.stubs["sagemaker"].add_client_error(
        "describe_endpoint", "ValidationException", f'Could not find endpoint "arn:...:endpoint/{NEW}".'
    )
    warm_up.handler(gate_request(cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"
    assert "does not exist" in logged(capsys)[0]["reason"]


@pytest.mark.parametrize("tier", ["tail", None])
def test_the_gate_fails_when_sagemaker_rolled_the_endpoint_back(
    aws: StubbedAws, cloudformation: ResponseUrl, tier: str | None
) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-Old", FailureReason="alarm went off")
    warm_up.handler(gate_request(cloudformation, tier=tier), Context())
    answer = only_answer(cloudformation)
    assert answer["Status"] == "FAILED"
    for part in (
        "Config-Old",
        "Config-New",
        "guardrail rolled the update back",
        "alarm went off",
        "log group",
    ):
        assert part in answer["Reason"]


@pytest.mark.parametrize("tier", ["tail", None])
@pytest.mark.parametrize("status", ["Failed", "OutOfService", "Deleting", "UpdateRollbackFailed"])
def test_the_gate_fails_for_an_endpoint_that_will_not_serve(
    aws: StubbedAws, cloudformation: ResponseUrl, tier: str | None, status: str
) -> None:
    aws.stack("CREATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New", EndpointStatus=status, FailureReason="the container did not pass the ping")
    warm_up.handler(gate_request(cloudformation, "Create", tier=tier), Context())
    answer = only_answer(cloudformation)
    assert answer["Status"] == "FAILED"
    assert f"{NEW} is {status}, not InService" in answer["Reason"]
    assert "the container did not pass the ping" in answer["Reason"]


GROUP = f"/aws/sagemaker/Endpoints/{NEW}"
KEPT = {"logGroupName": GROUP, "retentionInDays": 30}


def whale_with_logs(aws: StubbedAws, cloudformation: ResponseUrl) -> dict[str, Any]:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    request = gate_request(cloudformation, tier=None)
    request["ResourceProperties"]["LogRetentionDays"] = "30"
    return request


def test_the_gate_sets_how_long_the_endpoints_logs_are_kept(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stubs["logs"].add_response("put_retention_policy", {}, KEPT)
    warm_up.handler(whale_with_logs(aws, cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"


def test_a_log_group_that_is_not_there_yet_is_created(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stubs["logs"].add_client_error("put_retention_policy", "ResourceNotFoundException", "no", expected_params=KEPT)
    aws.stubs["logs"].add_response("create_log_group", {}, {"logGroupName": GROUP})
    aws.stubs["logs"].add_response("put_retention_policy", {}, KEPT)
    warm_up.handler(whale_with_logs(aws, cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"


def test_logs_whose_retention_cannot_be_set_fail_no_deployment(
    aws: StubbedAws, cloudformation: ResponseUrl, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.stubs["logs"].add_client_error("put_retention_policy", "AccessDeniedException", "no")
    warm_up.handler(whale_with_logs(aws, cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"
    [line] = [line for line in logged(capsys) if line.get("group") == GROUP]
    assert "access denied" in line["reason"]


def test_logs_that_cannot_be_reached_fail_no_deployment(
    aws: StubbedAws, cloudformation: ResponseUrl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(**_: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://logs")

    monkeypatch.setattr(warm_up.AWS.logs, "put_retention_policy", unreachable)
    warm_up.handler(whale_with_logs(aws, cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"
    [line] = [line for line in logged(capsys) if line.get("group") == GROUP]
    assert "EndpointConnectionError" in line["reason"]


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(("status", "before"), [("Creating", "Config-New"), ("Updating", "Config-Old")])
def test_the_gate_waits_for_the_endpoint_before_it_warms_it(
    aws: StubbedAws, cloudformation: ResponseUrl, monkeypatch: pytest.MonkeyPatch, status: str, before: str
) -> None:
    for _ in range(2):
        aws.stack("UPDATE_IN_PROGRESS")
        aws.endpoint(NEW, before, EndpointStatus=status)
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    aws.hosted(document(NEW, "m02"))
    aws.probed(NEW, "m02")
    time = Time()
    monkeypatch.setattr(gate, "wait", partial(gate.wait, sleep=time.sleep, clock=time.clock))
    warm_up.handler(gate_request(cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"
    assert only_answer(cloudformation)["Data"]["Warmed"] == 1
    assert time.pauses == [1.0, 2.0]


def wait_800_seconds(cloudformation: ResponseUrl, time: Time) -> Any:
    return gate.wait(
        gate_request(cloudformation),
        cloudformation=warm_up.AWS.cloudformation,
        sagemaker=warm_up.AWS.sagemaker,
        most_seconds=800,
        sleep=time.sleep,
        clock=time.clock,
    )


def test_a_stack_that_rolls_back_meanwhile_ends_the_wait(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New", EndpointStatus="Creating")
    aws.stack("UPDATE_ROLLBACK_IN_PROGRESS")
    answer = wait_800_seconds(cloudformation, Time())
    assert isinstance(answer, custom_resource.Answer)
    assert answer.succeeded


def test_a_wait_never_outlasts_its_run(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    for _ in range(57):
        aws.stack("CREATE_IN_PROGRESS")
        aws.endpoint(NEW, "Config-New", EndpointStatus="Creating")
    time = Time()
    waiting = wait_800_seconds(cloudformation, time)
    assert isinstance(waiting, gate.Waiting)
    assert 780 < time.now <= 800


def next_run(aws: StubbedAws, request: dict[str, Any], run: int) -> None:
    payload = json.dumps({**request, "TierfleetRun": run}).encode()
    expected = {"FunctionName": Context.invoked_function_arn, "InvocationType": "Event", "Payload": payload}
    aws.stubs["lambda_"].add_response("invoke", {"StatusCode": 202}, expected)


@pytest.mark.parametrize("run", [None, 2])
def test_a_gate_whose_run_ends_before_the_wait_starts_its_next_run_and_does_not_answer(
    aws: StubbedAws, cloudformation: ResponseUrl, run: int | None
) -> None:
    aws.stack("CREATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New", EndpointStatus="Creating")
    request = gate_request(cloudformation, "Create")
    next_run(aws, request, (run or 1) + 1)
    result = warm_up.handler(request if run is None else {**request, "TierfleetRun": run}, Context(30.5))
    assert result == {"waiting": f"endpoint {NEW} is Creating"}
    assert cloudformation.answers == []


def test_a_warm_up_after_a_long_wait_gets_a_run_of_its_own(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stack("CREATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    request = gate_request(cloudformation, "Create")
    next_run(aws, request, 2)
    warm_up.handler(request, Context(600))
    assert cloudformation.answers == []


def test_the_last_run_warms_with_the_time_it_has(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stack("CREATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    aws.hosted(document(NEW, "m02"))
    aws.probed(NEW, "m02")
    request = {**gate_request(cloudformation, "Create"), "TierfleetRun": RUNS_OF_ONE_GATE}
    warm_up.handler(request, Context(600))
    assert only_answer(cloudformation)["Data"]["Warmed"] == 1


def test_an_endpoint_that_takes_longer_than_the_stack_waits_fails_the_gate(
    aws: StubbedAws, cloudformation: ResponseUrl
) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-Old", EndpointStatus="Updating")
    request = {**gate_request(cloudformation), "TierfleetRun": RUNS_OF_ONE_GATE - 1}
    warm_up.handler(request, Context(30.5))
    answer = only_answer(cloudformation)
    assert answer["Status"] == "FAILED"
    assert f"endpoint {NEW} is Updating after 45 minutes" in answer["Reason"]


def test_a_next_run_that_cannot_start_is_answered(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stack("CREATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New", EndpointStatus="Creating")
    aws.stubs["lambda_"].add_client_error("invoke", "AccessDeniedException", "not authorized")
    warm_up.handler(gate_request(cloudformation, "Create"), Context(30.5))
    assert only_answer(cloudformation)["Status"] == "FAILED"


def test_the_gate_of_a_whale_only_checks(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    warm_up.handler(gate_request(cloudformation, tier=None), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"
    assert only_answer(cloudformation)["Data"] == {}


def test_a_tier_without_warm_up_passes_the_gate(
    aws: StubbedAws, cloudformation: ResponseUrl, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    aws.hosted(document(OLD, "m02"))
    warm_up.handler(gate_request(cloudformation, tier="rare"), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"
    assert metrics_of(logged(capsys)) == []


def test_a_failure_while_warming_does_not_fail_the_deployment_but_counts(
    aws: StubbedAws, cloudformation: ResponseUrl, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    aws.hosted(b"{")
    warm_up.handler(gate_request(cloudformation), Context())
    answer = only_answer(cloudformation)
    assert answer["Status"] == "SUCCESS"
    assert "stays cold" in answer["Reason"]
    assert "malformed" in answer["Reason"]
    assert metrics_of(logged(capsys)) == [{"Tier": "tail", "WarmUpFailed": 1}]


def test_a_cold_tenant_does_not_fail_the_deployment(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stack("CREATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    aws.hosted(document(NEW, "m02", "m03"))
    aws.stubs["s3"].add_client_error("get_object", "AccessDenied", "Access Denied")
    warm_up.handler(gate_request(cloudformation, "Create"), Context())
    answer = only_answer(cloudformation)
    assert answer["Status"] == "SUCCESS"
    assert (answer["Data"]["Failed"], answer["Data"]["Left"]) == (1, 1)


def test_an_unexpected_error_is_answered_too(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stubs["cloudformation"].add_client_error("describe_stacks", "AccessDenied", "not authorized")
    warm_up.handler(gate_request(cloudformation), Context())
    answer = only_answer(cloudformation)
    assert answer["Status"] == "FAILED"
    assert "access denied" in answer["Reason"]


def test_missing_settings_fail_the_gate_in_one_sentence(
    aws: StubbedAws, cloudformation: ResponseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIERFLEET_MODELS_BUCKET")
    aws.stack("CREATE_IN_PROGRESS")
    aws.endpoint(NEW, "Config-New")
    warm_up.handler(gate_request(cloudformation, "Create"), Context())
    answer = only_answer(cloudformation)
    assert answer["Status"] == "FAILED"
    assert "TIERFLEET_MODELS_BUCKET" in answer["Reason"]


RARE = "fraud--prod--rare--all--mme-m5-large"


def moving_request(cloudformation: ResponseUrl, kind: str = "Update") -> dict[str, Any]:
    """The request of the resource that warms tenants that move to a multi-model endpoint."""
    request = gate_request(cloudformation, kind)
    request |= {"LogicalResourceId": "Moved", "ResourceProperties": {"RouteDocumentVersion": "8"}}
    return request | {"PhysicalResourceId": "Moved"} if kind != "Create" else request


def routed(**tenants: str) -> bytes:
    """The document of before with these tenants' tiers instead."""
    content = json.loads(document(OLD, "m02"))
    content["tenants"] = {tenant: {"tier": tier, "endpoint": f"own-{tenant}"} for tenant, tier in tenants.items()}
    return json.dumps(content).encode()


def test_tenants_that_move_to_a_multi_model_endpoint_are_warmed_there_before_the_deployment(
    aws: StubbedAws, cloudformation: ResponseUrl, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.hosted(routed(m05="rare", m06="whale"))
    aws.deployed(routed(m01="whale", m02="rare", m06="whale"))
    aws.probed(RARE, "m05")
    aws.probed(OLD, "m02", "m01")  # hottest last
    warm_up.handler(moving_request(cloudformation), Context())
    answer = only_answer(cloudformation)
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "Moved")
    assert answer["Reason"].startswith("tenants that move to rare, tail: 3 warmed, 0 failed")
    assert answer["Data"] == {"Warmed": 3, "Failed": 0, "Missing": 0, "Skipped": 0, "Left": 0}
    assert [line["Tier"] for line in metrics_of(logged(capsys)) if "WarmUpWarmed" in line] == ["rare", "tail"]


def test_no_call_is_made_if_no_tenant_moves(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.hosted(routed(m06="whale", m07="whale"))
    aws.deployed(routed(m06="whale"))
    warm_up.handler(moving_request(cloudformation), Context())
    assert only_answer(cloudformation)["Reason"] == "no tenant moves to a multi-model endpoint"


def test_before_the_first_deployment_of_routes_no_tenant_moves(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stack("CREATE_IN_PROGRESS")
    aws.hosted(routed(m01="whale"))
    aws.stubs["appconfigdata"].add_client_error("start_configuration_session", "ResourceNotFoundException")
    warm_up.handler(moving_request(cloudformation, "Create"), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"
    assert only_answer(cloudformation)["PhysicalResourceId"] == "Moved"


@pytest.mark.parametrize("status", ["UPDATE_ROLLBACK_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"])
def test_a_rollback_warms_no_tenant(aws: StubbedAws, cloudformation: ResponseUrl, status: str) -> None:
    aws.stack(status)
    warm_up.handler(moving_request(cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"


def test_tenants_that_cannot_be_warmed_do_not_fail_the_deployment(
    aws: StubbedAws, cloudformation: ResponseUrl, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.stack("UPDATE_IN_PROGRESS")
    aws.stubs["appconfig"].add_client_error("list_hosted_configuration_versions", "AccessDeniedException", "no")
    warm_up.handler(moving_request(cloudformation), Context())
    assert only_answer(cloudformation)["Status"] == "SUCCESS"
    assert "stay cold: access denied" in only_answer(cloudformation)["Reason"]
    assert metrics_of(logged(capsys)) == [{"WarmUpFailed": 1}]


def test_what_there_is_no_time_for_is_left_and_the_deployment_goes_on(
    aws: StubbedAws, cloudformation: ResponseUrl, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two tiers share what the run has left; at its end nothing is started."""
    aws.stack("UPDATE_IN_PROGRESS")
    aws.hosted(routed(m05="rare"))
    aws.deployed(routed(m01="whale"))
    warm_up.handler(moving_request(cloudformation), Context(seconds=ANSWER_MARGIN_SECONDS))
    assert only_answer(cloudformation)["Status"] == "SUCCESS"
    assert only_answer(cloudformation)["Data"] == {"Warmed": 0, "Failed": 0, "Missing": 0, "Skipped": 0, "Left": 2}
    assert sum(line.get("WarmUpLeft", 0) for line in metrics_of(logged(capsys))) == 2


def test_a_request_without_properties_is_answered_too(aws: StubbedAws, cloudformation: ResponseUrl) -> None:
    aws.stack("CREATE_IN_PROGRESS")
    request = gate_request(cloudformation, "Create")
    del request["ResourceProperties"]
    warm_up.handler(request, Context())
    assert only_answer(cloudformation)["Status"] == "FAILED"


def test_a_refused_answer_is_put_again_and_a_long_reason_is_cut(cloudformation: ResponseUrl) -> None:
    cloudformation.refusals, waits = 3, []
    answer = custom_resource.Answer(succeeded=False, reason="é" * 5000)
    request = gate_request(cloudformation)
    custom_resource.send(request, answer, physical_resource_id=NEW, sleep=waits.append)
    assert waits == [1.0, 2.0, 4.0]
    assert len(only_answer(cloudformation)["Reason"]) <= 600


def test_an_answer_that_never_arrives_is_an_error(cloudformation: ResponseUrl) -> None:
    cloudformation.refusals = 99
    answer = custom_resource.Answer(succeeded=True, reason="done")
    with pytest.raises(OSError, match="503"):
        custom_resource.send(gate_request(cloudformation), answer, physical_resource_id=NEW, sleep=[].append)
    assert len(cloudformation.content_types) == custom_resource.ANSWER_ATTEMPTS


def test_every_attempt_to_answer_fits_in_the_margin() -> None:
    waits = sum(0.5 * 2**attempt for attempt in range(1, custom_resource.ANSWER_ATTEMPTS))
    attempts = custom_resource.ANSWER_ATTEMPTS * custom_resource.ANSWER_TIMEOUT_SECONDS
    assert attempts + waits < ANSWER_MARGIN_SECONDS


# --- documentation, settings and asset ---


def test_the_documentation_has_every_metric_and_the_real_limits() -> None:
    text = (ROOT / "docs/warm-up.md").read_text()
    for name in metrics.UNITS:
        assert (f"`{name}`" in text) == name.startswith("WarmUp")
    for limit in (
        f"{tier_run.LONGEST_RUN_SECONDS} s",
        f"less {ANSWER_MARGIN_SECONDS} s",
        f"last {warm.LONGEST_PROBE_SECONDS} s",
        f"up to {warm.LONGEST_LOAD_SECONDS} s",
        f"up to {warm.MOST_ATTEMPTS} attempts",
        f"from {warm.FIRST_BACKOFF_SECONDS:g} s to {warm.LONGEST_BACKOFF_SECONDS:g} s",
        f"`{warm.PROBE_TAG}`",
    ):
        assert limit in text


def test_settings_name_every_missing_variable_at_once() -> None:
    assert Settings.read(SETTINGS).models_bucket == BUCKET
    with pytest.raises(ValueError, match="TIERFLEET_FLEET, TIERFLEET_ROUTES_PROFILE_ID"):
        Settings.read({**SETTINGS, "TIERFLEET_FLEET": "", "TIERFLEET_ROUTES_PROFILE_ID": ""})


ASSET_CHECK = """
import json, sys
sys.path[:0] = sys.argv[1:]
import socket
socket.socket.connect = None
import warm_up
ours = sorted(name for name in sys.modules if name.split(".")[0] == "tierfleet")
assert ours and all(name == "tierfleet" or name.startswith("tierfleet.runtime") for name in ours), ours
assert vars(warm_up.AWS) == {}, "importing the handler created a client"
known = set(sys.stdlib_module_names) | {"tierfleet", "warm_up", "__main__"}
known |= {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3"}
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules} - known)))
"""


def test_the_asset_needs_boto3_and_the_standard_library_only(tmp_path: Path) -> None:
    asset, packages = tmp_path / "asset", tmp_path / "packages"
    shutil.copytree(ROOT / "tierfleet/runtime", asset / "tierfleet/runtime")
    shutil.copy(ROOT / "tierfleet/__init__.py", asset / "tierfleet")
    shutil.copy(ROOT / "lambda/warm_up/warm_up.py", asset)
    packages.mkdir()
    site_packages = Path(boto3.__file__).parents[1]
    for name in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py"):
        (packages / name).symlink_to(site_packages / name)
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ASSET_CHECK, str(asset), str(packages)],
        cwd=asset,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert all(name.startswith("_") or name.startswith("six") for name in json.loads(result.stdout)), result.stdout


def guard_request(cloudformation: ResponseUrl, kind: str) -> dict[str, Any]:
    properties = {
        "ApplicationId": "app1234", "EnvironmentId": "env1234", "ConfigurationProfileId": "prof123", "WaitSeconds": "0",
    }  # fmt: skip
    request = {
        **gate_request(cloudformation, kind),
        "ResourceType": "Custom::RouteGuard",
        "ResourceProperties": {**properties, "ConfigurationVersion": "1"},
        "OldResourceProperties": {**properties, "ConfigurationVersion": "2"},
    }
    return request if kind == "Create" else {**request, "PhysicalResourceId": "route-guard"}


def test_the_route_guard_keeps_one_id_so_that_an_update_never_replaces_it(
    aws: StubbedAws, cloudformation: ResponseUrl
) -> None:
    warm_up.handler(guard_request(cloudformation, "Create"), Context())
    aws.stack("UPDATE_IN_PROGRESS")
    warm_up.handler(guard_request(cloudformation, "Update"), Context())
    answers = [(answer["Status"], answer["PhysicalResourceId"]) for answer in cloudformation.answers]
    assert answers == [("SUCCESS", "route-guard")] * 2


def test_a_route_guard_that_cannot_ask_appconfig_stops_the_rollback(
    aws: StubbedAws, cloudformation: ResponseUrl
) -> None:
    aws.stack("UPDATE_ROLLBACK_IN_PROGRESS")
    aws.stubs["appconfig"].add_client_error("list_deployments", "AccessDeniedException", "no")
    warm_up.handler(guard_request(cloudformation, "Update"), Context())
    answer = only_answer(cloudformation)
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("FAILED", "route-guard")
