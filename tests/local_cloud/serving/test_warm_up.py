"""The warm-up handler as deployed, under its own role with IAM enforced: by gate, event and schedule.

No model runs in the local emulator yet, so what a run costs is counted in probes, not in loads.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from real_fleet import FLEET, TAIL, Fleet, promoted, whale

from constructs_lib import invoke_grants
from local_cloud import start
from local_cloud.testing.account import Account, advance_to_noon, error_of
from tierfleet.config import routes
from tierfleet.runtime.warm_up.run import PROBE_TAG

ACCOUNT = "300000000002"
# One probe at a time: what stops a run then stops it before a second tenant is tried.
WARM_UP = {"schedule": "cron(45 7 ? * MON-FRI *)", "timezone": "Europe/London", "concurrency": 1}
CHANGES: dict[str, Any] = {"tiers": {"tail": {"warm_up": WARM_UP}}}
# Hottest first in the file; probed the other way round, so that a full cache evicts the hottest last.
LISTED = ["t3/1.tar.gz", "t2/1.tar.gz", "t1/1.tar.gz"]


class WarmedFleet(Fleet):
    """A fleet whose warm-up functions can be read and called."""

    def function(self, logical_id: str) -> str:
        """Physical name of the function, by the start of its logical id."""
        resources = self.account.client("cloudformation").get_paginator("list_stack_resources")
        (name,) = [
            resource["PhysicalResourceId"]
            for page in resources.paginate(StackName=FLEET)
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == "AWS::Lambda::Function"
            and resource["LogicalResourceId"].startswith(logical_id)
        ]
        return str(name)

    def role(self) -> str:
        configuration = self.account.client("lambda").get_function_configuration(FunctionName=self.function("WarmUpF"))
        return str(configuration["Role"]).rpartition("/")[2]

    def logged(self, logical_id: str, message: str) -> list[dict[str, Any]]:
        """The handler's log lines with this message, oldest first."""
        configuration = self.account.client("lambda").get_function_configuration(FunctionName=self.function(logical_id))
        pages = self.account.client("logs").get_paginator("filter_log_events")
        lines = []
        for page in pages.paginate(logGroupName=configuration["LoggingConfig"]["LogGroup"]):
            for event in page["events"]:
                if event["message"].startswith('{"message"'):
                    line = json.loads(event["message"])
                    lines += [line] * (line["message"] == message)
        return lines

    def runs(self) -> list[dict[str, Any]]:
        return self.logged("WarmUpF", "warm-up ended")

    def probes(self, endpoint: str = TAIL) -> list[str]:
        calls = self.account.cloud.admin("invocations")
        return [
            call["target_model"]
            for call in calls
            if call["endpoint"] == endpoint and call["custom_attributes"] == PROBE_TAG
        ]

    def warm(self) -> dict[str, Any]:
        """Invoke the function as a person would, and wait for its report."""
        reply = self.account.client("lambda").invoke(FunctionName=self.function("WarmUpF"), Payload=b'{"tier": "tail"}')
        report: dict[str, Any] = json.loads(reply["Payload"].read())
        return report


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, synth: Any) -> Iterator[WarmedFleet]:
    """One fleet in a local emulator that enforces IAM. Its first deployment's gate has warmed it."""
    with start(tmp_path_factory.mktemp("warm-up"), account=ACCOUNT, enforce_iam=True) as cloud:
        advance_to_noon(cloud)
        fleet = WarmedFleet(Account(cloud, ACCOUNT), synth)
        fleet.create(**CHANGES)
        yield fleet


@pytest.fixture
def warmed(deployed: WarmedFleet) -> Iterator[WarmedFleet]:
    yield deployed
    deployed.account.cloud.admin("clock", {"mode": "skip"})
    deployed.account.cloud.admin("faults", {})


def test_the_gate_warms_the_listed_tenants_before_the_first_route_is_deployed(warmed: WarmedFleet) -> None:
    answers = warmed.logged("WarmUpG", "warm gate answers")

    (tail,) = [answer for answer in answers if answer["endpoint"] == TAIL]
    assert tail["succeeded"]
    assert tail["reason"].startswith(f"endpoint {TAIL} is warmed up: 3 warmed, 0 failed, 0 missing")
    assert warmed.probes()[:3] == LISTED
    assert warmed.logged("WarmUpG", "warm-up failed") == []


def test_its_role_lets_it_warm_and_nothing_else(warmed: WarmedFleet) -> None:
    """A run succeeds with these actions, and the role has no other."""
    report = warmed.warm()
    attached = warmed.account.client("iam")
    documents = [
        attached.get_role_policy(RoleName=warmed.role(), PolicyName=name)["PolicyDocument"]
        for name in attached.list_role_policies(RoleName=warmed.role())["PolicyNames"]
    ]
    actions = {
        action
        for document in documents
        for statement in document["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }

    assert (report["warmed"], report["failed"], report["stopped"]) == (["t1", "t2", "t3"], {}, None)
    assert actions == {
        "appconfig:GetLatestConfiguration",
        "appconfig:StartConfigurationSession",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "s3:GetObject",
        "s3:ListBucket",
        "sagemaker:InvokeEndpoint",
    }


def test_the_schedule_runs_it_at_its_own_hour_in_summer_time(warmed: WarmedFleet) -> None:
    account = warmed.account
    account.stop_clock()
    now = datetime.fromtimestamp(account.cloud.admin("clock")["now"], UTC)
    monday = datetime(now.year + 1, 7, 1, 7, 45, tzinfo=ZoneInfo("Europe/London"))
    monday += timedelta(days=-monday.weekday() % 7)
    assert monday.astimezone(UTC).hour == 6, "an hour that UTC would miss"

    def move_to(moment: datetime) -> None:
        account.advance(moment.timestamp() - account.cloud.admin("clock")["now"])

    runs = len(warmed.runs())
    move_to(monday - timedelta(days=1))
    account.wait_for(lambda: len(warmed.runs()) == runs + 1)  # those missed by the jump are one late run
    probes = len(warmed.probes())
    move_to(monday - timedelta(seconds=1))
    early = (len(warmed.runs()), len(warmed.probes()))
    move_to(monday + timedelta(seconds=1))
    account.wait_for(lambda: len(warmed.runs()) == runs + 2)

    assert early == (runs + 1, probes)
    assert warmed.probes()[probes:] == LISTED
    assert warmed.runs()[-1]["warmed"] == 3


def test_five_copies_of_an_in_service_event_run_one_after_the_other(warmed: WarmedFleet) -> None:
    """Reserved concurrency 1 and no retries, as Lambda documents both: a throttled copy waits in the queue.

    So five copies are five runs, never two at once; the first one's loads are all there are to pay for.
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
    """
    account = warmed.account
    account.cloud.admin("faults", {"events_per_in_service": 5})
    runs, probes = len(warmed.runs()), len(warmed.probes())
    account.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName=TAIL, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}]
    )
    account.client("sagemaker").describe_endpoint(EndpointName=TAIL)  # waits until it is in service
    account.wait_for(lambda: len(warmed.runs()) == runs + 5)

    assert warmed.probes()[probes:] == LISTED * 5, "two at once would mix their probes"
    functions, name = account.client("lambda"), warmed.function("WarmUpF")
    assert functions.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 1
    asynchronous = functions.get_function_event_invoke_config(FunctionName=name, Qualifier="$LATEST")
    assert (asynchronous["MaximumRetryAttempts"], asynchronous["MaximumEventAgeInSeconds"]) == (0, 300)


def test_a_role_that_may_not_invoke_is_one_denial_and_not_one_a_tenant(warmed: WarmedFleet) -> None:
    deny = {"Effect": "Deny", "Action": "sagemaker:InvokeEndpoint", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    roles = warmed.account.client("iam")
    probes = len(warmed.probes())
    roles.put_role_policy(RoleName=warmed.role(), PolicyName="narrowed", PolicyDocument=document)
    try:
        report = warmed.warm()
    finally:
        roles.delete_role_policy(RoleName=warmed.role(), PolicyName="narrowed")

    assert list(report["failed"]) == ["t3"]
    assert report["left"] == ["t1", "t2"]
    assert report["stopped"].startswith("access denied (AccessDeniedException")
    assert len(warmed.probes()) == probes
    assert warmed.warm()["warmed"] == ["t1", "t2", "t3"]


def test_a_run_that_fails_is_not_retried(warmed: WarmedFleet) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html"""
    failures = len(warmed.logged("WarmUpF", "warm-up failed"))
    warmed.account.client("lambda").invoke(
        FunctionName=warmed.function("WarmUpF"), InvocationType="Event", Payload=b'{"tier": "gone"}'
    )
    warmed.account.wait_for(lambda: len(warmed.logged("WarmUpF", "warm-up failed")) > failures)
    # Attempts that may follow are under way until the last one.
    warmed.account.wait_for(lambda: warmed.account.cloud.admin("functions") == {"events_under_way": 0})
    assert len(warmed.logged("WarmUpF", "warm-up failed")) == failures + 1


@pytest.fixture(scope="module")
def caller(deployed: WarmedFleet, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """InvokeEndpoint as a caller that was granted tenant t1 by constructs_lib.invoke_grants."""
    account = deployed.account
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    roles = account.client("iam")
    role_arn = roles.create_role(
        RoleName="t1-caller", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    policy = granted_to_t1(deployed, tmp_path_factory.mktemp("cdk.out"))
    roles.put_role_policy(RoleName="t1-caller", PolicyName="granted", PolicyDocument=json.dumps(policy))
    keys = account.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="caller")["Credentials"]
    return boto3.client(
        "sagemaker-runtime",
        region_name="eu-west-1",
        endpoint_url=account.cloud.endpoint_url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def granted_to_t1(deployed: WarmedFleet, outdir: Path) -> dict[str, Any]:
    stack = Stack(App(outdir=str(outdir)), "Caller")
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    invoke_grants.grant_shared(role, deployed.config, TAIL, ["t1"])
    invoke_grants.grant_future_dedicated(role, deployed.config, "t1")
    (policy,) = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    document: dict[str, Any] = policy["Properties"]["PolicyDocument"]
    return document


@pytest.mark.parametrize(
    ("endpoint", "target_model"),
    [(TAIL, "t2/1.tar.gz"), (TAIL, "t10/1.tar.gz"), (TAIL, None), (whale("w1"), None), (whale("t10"), None)],
)
def test_a_tenants_caller_is_refused_whatever_is_another_tenants(
    warmed: WarmedFleet, caller: Any, endpoint: str, target_model: str | None
) -> None:
    request = {"EndpointName": endpoint, "Body": b"0,0,0"} | ({"TargetModel": target_model} if target_model else {})

    assert error_of(caller.invoke_endpoint, **request)[0] == "AccessDeniedException"


def test_a_promoted_tenants_caller_reaches_its_own_endpoint_without_a_change_of_its_role(
    warmed: WarmedFleet, caller: Any
) -> None:
    caller.invoke_endpoint(EndpointName=TAIL, TargetModel="t1/1.tar.gz", Body=b"0,0,0")
    change = promoted("t1")
    change["tiers"]["tail"] = CHANGES["tiers"]["tail"]
    assert warmed.update(**change) == "UPDATE_COMPLETE", warmed.reasons()

    caller.invoke_endpoint(EndpointName=whale("t1"), Body=b"0,0,0")

    assert warmed.warm()["warmed"] == ["t2", "t3"], (
        "the promoted tenant is no longer warmed on the multi-model endpoint"
    )


def test_the_guards_put_the_routes_back_under_the_role_of_the_gate(warmed: WarmedFleet) -> None:
    """What a cancelled update needs of IAM: to list deployments, to stop one, to read both documents."""
    account, before = warmed.account, warmed.served_routes()
    change = promoted("t3")
    change["tiers"]["tail"] = CHANGES["tiers"]["tail"]
    account.stop_clock()
    began = len(account.log("ConfigurationDeploying"))
    warmed.start(**change)
    while len(account.log("ConfigurationDeploying")) == began:
        account.advance(60)
        time.sleep(0.02)
    account.client("cloudformation").cancel_update_stack(StackName=FLEET)
    while account.status(FLEET).endswith("IN_PROGRESS"):
        account.advance(30)
        time.sleep(0.02)

    assert account.status(FLEET) == "UPDATE_ROLLBACK_COMPLETE", warmed.reasons()
    assert warmed.served_routes() == before
    assert warmed.routes_name_live_endpoints()
    answers = [line for line in warmed.logged("WarmUpG", "route guard answers") if "is rolled back" in line["reason"]]
    assert [line["succeeded"] for line in answers] == [True, True]


def test_the_gates_role_lets_it_grow_a_new_endpoint_and_warm_who_moves_to_it(warmed: WarmedFleet) -> None:
    """The last one, since the endpoint goes: another image, and demotions, after the old endpoint has scaled out."""
    account = warmed.account
    sagemaker = account.client("sagemaker")
    demoted = CHANGES | {"container": {"environment": {"OMP_NUM_THREADS": "2"}}}
    promotion = promoted("t1", "t2")
    promotion["tiers"]["tail"] = CHANGES["tiers"]["tail"]
    assert warmed.update(**promotion) == "UPDATE_COMPLETE", warmed.reasons()
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=TAIL, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 4}]
    )
    sagemaker.describe_endpoint(EndpointName=TAIL)  # waits until it is in service
    assert warmed.update(**demoted) == "UPDATE_COMPLETE", warmed.reasons()

    new = routes.endpoint_name(warmed.config, "tail")
    (variant,) = sagemaker.describe_endpoint(EndpointName=new)["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 4
    assert warmed.probes(new) == [*LISTED, "t2/1.tar.gz", "t1/1.tar.gz"]
    assert warmed.logged("WarmUpG", "the deployed routes are not known") == []
    answers = [answer["reason"] for answer in warmed.logged("WarmUpG", "warm gate answers")]
    assert "tenants that move to tail: 2 warmed, 0 failed, 0 missing, 0 skipped, 0 left" in answers
