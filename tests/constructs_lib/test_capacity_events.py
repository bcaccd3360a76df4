"""Scaling that reached its ceiling."""

from aws_cdk import aws_sns as sns
from synthesis import TOPIC_ARN, only, template_of

from constructs_lib.capacity_events import CapacityEvents
from local_cloud.testing.fleets import fleet


def test_one_rule_tells_the_topic_of_every_endpoint_of_the_fleet_that_reached_its_maximum() -> None:
    config = fleet()
    template = template_of(
        config,
        lambda stack: CapacityEvents(
            stack, "Capacity", config=config, topic=sns.Topic.from_topic_arn(stack, "Topic", TOPIC_ARN)
        ),
    )
    rule = only(template, "AWS::Events::Rule")
    assert rule["EventPattern"] == {
        "source": ["aws.application-autoscaling"],
        "detail-type": ["Application Auto Scaling Scaling Activity State Change"],
        "detail": {"scaledToMax": [True], "resourceId": [{"prefix": "endpoint/shop--test--"}]},
    }
    assert [target["Arn"] for target in rule["Targets"]] == [TOPIC_ARN]
