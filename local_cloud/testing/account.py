"""An AWS account in the local emulator, as a test uses it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud import LocalCloud

_LIMIT_SECONDS = 120.0


@dataclass
class Account:
    """An empty AWS account, and the way a test deploys into it: boto3 and a template body."""

    cloud: LocalCloud
    id: str
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = self.cloud.client(service, self.id)
        return self.clients[service]

    def upload(self, key: str, body: bytes = b"model", bucket: str | None = None) -> None:
        s3, bucket = self.client("s3"), bucket or self.bucket
        if bucket not in {b["Name"] for b in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": self.cloud.region})
        s3.put_object(Bucket=bucket, Key=key, Body=body)

    @property
    def bucket(self) -> str:
        return f"models-{self.id}"

    def start_deploy(self, template: dict[str, Any], stack_name: str = "Fleet") -> None:
        """By URL, as the CDK CLI does: a template body may have 51,200 bytes only."""
        cloudformation = self.client("cloudformation")
        self.upload(f"templates/{stack_name}.json", json.dumps(template).encode())
        request = {
            "StackName": stack_name,
            "TemplateURL": f"https://s3.eu-west-1.amazonaws.com/{self.bucket}/templates/{stack_name}.json",
            "Capabilities": ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        }
        try:
            cloudformation.describe_stacks(StackName=stack_name)
        except ClientError:
            cloudformation.create_stack(**request)
        else:
            cloudformation.update_stack(**request)

    def settle(self, stack_name: str = "Fleet") -> str:
        """Wait until no operation is in progress; the stack's status."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        while (status := self.status(stack_name)).endswith("IN_PROGRESS"):
            assert time.monotonic() < deadline, f"{stack_name} is still {status}: {self.stack_events(stack_name)}"
            time.sleep(0.01)
        return status

    def deploy(self, template: dict[str, Any], stack_name: str = "Fleet") -> str:
        self.start_deploy(template, stack_name)
        return self.settle(stack_name)

    def destroy(self, stack_name: str = "Fleet") -> None:
        stack_id = self.stack(stack_name)["StackId"]
        self.client("cloudformation").delete_stack(StackName=stack_name)
        assert self.settle(stack_id) == "DELETE_COMPLETE", self.stack_events(stack_id)

    def stack(self, stack_name: str = "Fleet") -> dict[str, Any]:
        stack: dict[str, Any] = self.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
        return stack

    def status(self, stack_name: str = "Fleet") -> str:
        return str(self.stack(stack_name)["StackStatus"])

    def stack_events(self, stack_name: str = "Fleet") -> list[tuple[str, str, str]]:
        """(logical id, status, reason) of every event, oldest first."""
        paginator = self.client("cloudformation").get_paginator("describe_stack_events")
        events = [e for page in paginator.paginate(StackName=stack_name) for e in page["StackEvents"]]
        return [
            (e["LogicalResourceId"], e["ResourceStatus"], e.get("ResourceStatusReason", "")) for e in reversed(events)
        ]

    def log(self, *actions: str) -> list[tuple[str, str]]:
        """(action, resource) of the local emulator's event log, in order; all actions unless some are named."""
        entries = self.cloud.admin(f"events?account={self.id}")
        return [(e["action"], e["resource"]) for e in entries if not actions or e["action"] in actions]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"never happened; log: {self.log()}"
            time.sleep(0.01)

    def put_metric(self, namespace: str, name: str, value: float, **dimensions: str) -> None:
        self.client("cloudwatch").put_metric_data(
            Namespace=namespace,
            MetricData=[
                {
                    "MetricName": name,
                    "Value": value,
                    "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items()],
                }
            ],
        )

    def alarm_state(self, name: str) -> str:
        answer = self.client("cloudwatch").describe_alarms(
            AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        return str((answer["MetricAlarms"] + answer["CompositeAlarms"])[0]["StateValue"])

    def advance(self, seconds: float) -> None:
        self.cloud.admin("clock", {"advance_seconds": seconds})

    def stop_clock(self) -> None:
        """From here on only `advance` moves time."""
        self.cloud.admin("clock", {"mode": "manual"})


def advance_to_noon(cloud: LocalCloud) -> None:
    """Move the clock to noon (UTC), unless it shows a time from 8:00 to 16:00.

    The fleets of the tests have a warm-up at 7:45 and a schedule at 20:00. Without this, a run in the early morning
    meets calls that its tests do not expect.
    """
    second_of_day = cloud.admin("clock")["now"] % 86400
    if not 8 * 3600 <= second_of_day < 16 * 3600:
        cloud.admin("clock", {"advance_seconds": (36 * 3600 - second_of_day) % 86400})


def error_of(call: Callable[..., Any], **request: Any) -> tuple[str, str]:
    """(code, message) of the ClientError a call must raise."""
    with pytest.raises(ClientError) as raised:
        call(**request)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def assert_order(log: list[tuple[str, str]], *expected: tuple[str, str]) -> None:
    """The expected entries all occur, in this order."""
    entries = iter(log)
    for wanted in expected:
        assert any(entry == wanted for entry in entries), f"{wanted} missing or too early in\n" + "\n".join(
            map(str, log)
        )
