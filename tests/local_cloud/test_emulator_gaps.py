"""What ministack's own types leave out and the local emulator puts back: time zones, reserved concurrency."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from local_cloud.testing.account import Account

LAMBDA_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def schedule_stack(account: Account, expression: str, zone: str) -> dict[str, Any]:
    """A schedule that sends a message to a queue."""
    return {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "fired"}},
            "Schedule": {
                "Type": "AWS::Scheduler::Schedule",
                "Properties": {
                    "ScheduleExpression": expression,
                    "ScheduleExpressionTimezone": zone,
                    "FlexibleTimeWindow": {"Mode": "OFF"},
                    "Target": {
                        "Arn": {"Fn::GetAtt": ["Queue", "Arn"]},
                        "RoleArn": f"arn:aws:iam::{account.id}:role/scheduler",
                        "Input": json.dumps({"tier": "tail"}),
                    },
                },
            },
        },
        "Outputs": {"Name": {"Value": {"Ref": "Schedule"}}, "Url": {"Value": {"Ref": "Queue"}}},
    }


def output(account: Account, key: str) -> str:
    return next(o["OutputValue"] for o in account.stack()["Outputs"] if o["OutputKey"] == key)


def test_schedule_keeps_its_time_zone(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-scheduler-schedule.html"""
    account.deploy(schedule_stack(account, "cron(45 7 ? * MON-FRI *)", "Europe/London"))
    account.deploy(schedule_stack(account, "cron(15 8 ? * MON-FRI *)", "Asia/Tokyo"))

    schedule = account.client("scheduler").get_schedule(Name=output(account, "Name"))

    assert schedule["ScheduleExpression"] == "cron(15 8 ? * MON-FRI *)"
    assert schedule["ScheduleExpressionTimezone"] == "Asia/Tokyo"


def test_schedule_fires_at_the_hour_of_its_time_zone(account: Account) -> None:
    """Tokyo is nine hours ahead of UTC all year: 00:30 there is 15:30 UTC.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """
    account.stop_clock()
    account.deploy(schedule_stack(account, "cron(30 0 * * ? *)", "Asia/Tokyo"))
    sqs, url = account.client("sqs"), output(account, "Url")
    now = datetime.fromtimestamp(account.cloud.admin("clock")["now"], UTC)
    due = now.replace(hour=15, minute=30, second=0, microsecond=0)
    seconds = (due - now).total_seconds() % 86400

    def messages(wait_seconds: int) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=wait_seconds).get(
            "Messages", []
        )
        return messages

    account.advance(seconds - 60)
    before = messages(0)
    account.advance(61)
    after = messages(10)

    assert before == []
    assert [json.loads(message["Body"]) for message in after] == [{"tier": "tail"}]


@pytest.mark.parametrize("reserved", [1, None])
def test_function_keeps_its_reserved_concurrency(account: Account, reserved: int | None) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html"""

    def stack(concurrency: int | None) -> dict[str, Any]:
        properties: dict[str, Any] = {
            "FunctionName": "warm-up",
            "Runtime": "python3.11",
            "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Code": {"ZipFile": "def handler(event, context):\n    return 1\n"},
        }
        if concurrency is not None:
            properties["ReservedConcurrentExecutions"] = concurrency
        role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": LAMBDA_TRUST}}
        return {
            "Resources": {
                "Role": role,
                "Function": {"Type": "AWS::Lambda::Function", "Properties": properties},
            }
        }

    account.deploy(stack(5))
    assert account.deploy(stack(reserved)) == "UPDATE_COMPLETE"

    answer = account.client("lambda").get_function_concurrency(FunctionName="warm-up")
    assert answer.get("ReservedConcurrentExecutions") == reserved
