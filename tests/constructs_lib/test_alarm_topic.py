"""Where alarms go."""

from typing import Any

import pytest
from aws_cdk.assertions import Match, Template
from synthesis import only, template_of

from constructs_lib import arns
from constructs_lib.alarm_topic import AlarmTopic
from local_cloud.testing.fleets import fleet

KEY = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"


def topic_template(**changes: Any) -> Template:
    config = fleet(**changes)
    return template_of(config, lambda stack: AlarmTopic(stack, "Alarms", config=config))


@pytest.fixture(scope="module")
def plain() -> Template:
    return topic_template()


def test_the_topic_has_the_name_that_the_fleet_stack_addresses(plain: Template) -> None:
    name = only(plain, "AWS::SNS::Topic")["TopicName"]
    assert arns.alarm_topic(fleet()) == f"arn:aws:sns:eu-west-1:123456789012:{name}"


def test_the_topic_has_no_key_by_default(plain: Template) -> None:
    assert "KmsMasterKeyId" not in only(plain, "AWS::SNS::Topic")


def test_the_topic_takes_a_customers_key() -> None:
    template = topic_template(encryption={"topic_kms_key_arn": KEY})
    template.has_resource_properties("AWS::SNS::Topic", {"KmsMasterKeyId": KEY})


@pytest.mark.parametrize(
    ("service", "condition"),
    [
        (
            "cloudwatch.amazonaws.com",
            {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:*"},
            },
        ),
        # EventBridge drops the event where the topic's policy has a condition.
        ("events.amazonaws.com", None),
    ],
)
def test_alarms_and_events_may_publish(plain: Template, service: str, condition: dict[str, Any] | None) -> None:
    statements = only(plain, "AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    [statement] = [s for s in statements if s["Principal"] == {"Service": service}]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sns:Publish")
    assert statement.get("Condition") == condition


def test_plain_http_is_refused(plain: Template) -> None:
    refused = {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    plain.has_resource_properties(
        "AWS::SNS::TopicPolicy",
        {"PolicyDocument": {"Statement": Match.array_with([Match.object_like(refused)])}},
    )
