"""The event that scaling has reached its maximum."""

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from tierfleet.config import FleetConfig


class CapacityEvents(Construct):
    """Tells the topic when an endpoint has scaled to its maximum.

    `CapacityEvents(self, "Capacity", config=config, topic=topic)` defines one AWS::Events::Rule for the whole fleet, so
    that promoting a tenant does not change it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: FleetConfig, topic: sns.ITopic) -> None:
        super().__init__(scope, construct_id)
        events.Rule(
            self,
            "ScaledToMax",
            description=f"An endpoint of {config.fleet}-{config.environment} reached instances.max",
            event_pattern=events.EventPattern(
                source=["aws.application-autoscaling"],
                detail_type=["Application Auto Scaling Scaling Activity State Change"],
                detail={
                    "scaledToMax": [True],
                    "resourceId": events.Match.prefix(f"endpoint/{config.fleet}--{config.environment}--"),
                },
            ),
            targets=[targets.SnsTopic(topic)],
        )
