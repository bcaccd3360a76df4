"""Every `aws` command of docs/runbook.md and docs/aws-assumptions.md works in the local emulator as the pages say."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from real_fleet import FLEET, TAIL, Fleet, whale
from served_fleet import Callers, served_fleet, warm_up

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from tests.local_cloud.aws_commands import Command, answer, blocks, commands

ACCOUNT = "750000000001"
ONE = {"instances": {"min": 1, "initial": 1}}
# The page's fleets are fraud-prod and fraud-dev, the tests' is shop-test.
NAMES = {
    r"fraud--(prod|dev)--tail--all--mme-m5-x?large": TAIL,
    r"fraud--dev--whale--m01--dedicated-m5-large": whale("w1"),
    r"fraud--(prod|dev)": "shop--test",
    r"fraud-(dev|prod)-Fleet": FLEET,
    r"Value=fraud\b": "Value=shop",
    r"Value=prod\b": "Value=test",
    r"=='fraud'": "=='shop'",
    r"=='prod'": "=='test'",
    r"111122223333|444455556666": ACCOUNT,
    r"m0[17]/": "t1/",
    r"m07\.json": "t1.json",
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("runbook"), serving="models") as running:
        yield running


@pytest.fixture(scope="module")
def shop(cloud: LocalCloud, synth: Callable[..., Path]) -> Fleet:
    """A fleet that has been called, refused a row, been warmed, and told of a route error."""
    shop = served_fleet(Account(cloud, ACCOUNT), synth)
    shop.create(
        probe={"body": "0.5,0.5"},
        container={"environment": {"SAGEMAKER_CONTAINER_LOG_LEVEL": "20"}},
        tiers={"tail": {**ONE, "warm_up": {"tenants": ["t1"]}}, "whale": ONE},
    )
    with Callers(shop.account, ["t1", "t2", "w1"]) as callers:
        callers.more(20)
    warm_up(shop, "t1", "unpublished")
    shop.account.put_metric("tierfleet", "RouteErrors", 1, Fleet="shop", Environment="test")
    shop.account.client("cloudwatch").set_alarm_state(
        AlarmName=f"{whale('w1')}--model-latency", StateValue="ALARM", StateReason="test"
    )
    give_up = time.monotonic() + 120
    while not _is_gathered(shop):
        assert time.monotonic() < give_up, "metrics and logs were not gathered"
        time.sleep(0.5)
    return shop


def _is_gathered(shop: Fleet) -> bool:
    """Whether metrics and the containers' log are there. The local emulator gathers them once a second."""
    cloudwatch, logs = shop.account.client("cloudwatch"), shop.account.client("logs")
    pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace="AWS/SageMaker")
    names = {metric["MetricName"] for page in pages for metric in page["Metrics"]}
    group = f"/aws/sagemaker/Endpoints/{TAIL}"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return False
    loads = logs.filter_log_events(logGroupName=group, filterPattern=LOADS)["events"]
    # `date` in a command of the runbook is a whole second, and what was published in that second comes after it.
    now = datetime.now(UTC).replace(microsecond=0)
    errors = cloudwatch.get_metric_statistics(
        Namespace="tierfleet",
        MetricName="RouteErrors",
        Dimensions=[{"Name": "Fleet", "Value": "shop"}, {"Name": "Environment", "Value": "test"}],
        StartTime=now - timedelta(hours=1),
        EndTime=now,
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    return bool(loads) and bool(errors) and names >= OF_SAGEMAKER


def renamed(text: str) -> str:
    for pattern, name in NAMES.items():
        text = re.sub(pattern, name, text)
    return text


def filled(text: str, account: Account) -> str:
    """With the ids in place of <application>, <log group>..., as an operator copies them from the answer before."""
    appconfig = account.client("appconfig")
    application = appconfig.list_applications()["Items"][0]["Id"]
    (function,) = [f for f in account.client("lambda").list_functions()["Functions"] if "WarmUpF" in f["FunctionName"]]
    alarms = account.client("cloudwatch").describe_alarms()["MetricAlarms"]
    ids = {
        "application": application,
        "environment": appconfig.list_environments(ApplicationId=application)["Items"][0]["Id"],
        "function": function["FunctionArn"],
        "role": function["Role"],
        "log group": function["LoggingConfig"]["LogGroup"],
        "execution role": account.client("iam").list_roles()["Roles"][0]["Arn"],
        "RouteErrors alarm": next(a["AlarmName"] for a in alarms if a.get("MetricName") == "RouteErrors"),
        "rule": account.client("events").list_rules()["Rules"][0]["Name"],
        "configuration in use": account.client("sagemaker").describe_endpoint(EndpointName=whale("w1"))[
            "EndpointConfigName"
        ],
    }
    return re.sub(r"<([\w ]+)>", lambda placeholder: f"'{ids[placeholder[1]]}'", text)


def run(page: str, account: Account) -> list[tuple[Command, Any]]:
    """Every command of a page with its answer, a ClientError where that is one."""
    setup, *rest = blocks(page)
    done = []
    for block in rest:
        for command in commands(filled(renamed(block), account), setup=renamed(setup)):
            try:
                done.append((command, answer(account, command)))
            except ClientError as error:
                done.append((command, error))
    return done


OF_SAGEMAKER = {
    "Invocation5XXErrors",
    "Invocation4XXErrors",
    "InvocationsPerInstance",
    "ModelLatency",
    "ModelCacheHit",
    "ModelLoadingTime",
    "ModelLoadingWaitTime",
    "ModelDownloadingTime",
}
WITH_TRAFFIC = {*OF_SAGEMAKER, "RouteErrors", "WarmUpFailed", "WarmUpLeft"}
LOADS = '{ $.message = "*load*" }'


def test_every_command_of_the_runbook_is_answered(shop: Fleet) -> None:
    """Metrics asked for up to `date` are there: the local emulator's clock agrees with it."""
    done = run("runbook.md", shop.account)
    refused = [(str(command), reply) for command, reply in done if isinstance(reply, ClientError)]
    assert refused == []
    assert shop.account.cloud.admin("clock")["ahead_seconds"] == 0

    metrics = {command.options["metric-name"][0]: reply for command, reply in done if "metric-name" in command.options}
    assert metrics.keys() >= WITH_TRAFFIC
    assert [name for name in sorted(WITH_TRAFFIC) if not metrics[name]["Datapoints"]] == []
    replies = {f"{command.service} {command.operation}": reply for command, reply in done}
    assert f"{whale('w1')}--model-latency" in {row[0] for row in replies["cloudwatch describe-alarms"]}
    assert replies["sagemaker describe-endpoint"][0] == "InService"
    ((_, most, suspended),) = replies["application-autoscaling describe-scalable-targets"]
    assert (most, set(suspended.values())) == (6, {False})
    assert ["ml.m5.xlarge for endpoint usage", 0.0] in replies["service-quotas list-service-quotas"]
    assert "warm-up ended" in str(replies["logs filter-log-events"])


def messages(logs: Any, group: str, stream: str | None = None) -> list[str]:
    """All that a group or one of its streams has."""
    if stream is None:
        events = logs.filter_log_events(logGroupName=group)["events"]
    else:
        events = logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    return [event["message"] for event in events]


def test_the_endpoints_log_is_what_its_containers_print(shop: Fleet) -> None:
    logs, group = shop.account.client("logs"), f"/aws/sagemaker/Endpoints/{TAIL}"
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    shop.account.wait_for(lambda: messages(logs, group) == messages(logs, group, stream["logStreamName"]))
    everything = logs.filter_log_events(logGroupName=group)["events"]
    loads = logs.filter_log_events(logGroupName=group, filterPattern=LOADS)["events"]

    assert stream["logStreamName"].startswith("AllTraffic/i-")
    assert everything
    assert all(abs(event["timestamp"] / 1000 - time.time()) < 600 for event in everything)
    assert 0 < len(loads) <= len(everything)


def test_every_command_of_the_assumptions_is_answered_or_named_as_missing(shop: Fleet) -> None:
    done = run("aws-assumptions.md", shop.account)
    refused = {f"{c.service} {c.operation}": str(reply) for c, reply in done if isinstance(reply, ClientError)}

    assert refused.keys() == {"pricing get-products"}
    assert (
        "the local emulator has no service with the operation 'AWSPriceListService.GetProducts'" in refused.popitem()[1]
    )
