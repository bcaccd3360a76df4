"""The part of a fleet that outlives its endpoints."""

import aws_cdk as cdk
from constructs import Construct

from constructs_lib.alarm_topic import AlarmTopic
from constructs_lib.hosting.async_store import AsyncStore
from constructs_lib.model_store import ModelStore
from tierfleet.config import FleetConfig


class ModelsStack(cdk.Stack):
    """The model bucket and the alarm topic. Deploy it first, publish models, then deploy the fleet.

    With an asynchronous tier it also has the bucket and the topics of results. All have literal names, so no other
    stack needs a reference to this one.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: FleetConfig) -> None:
        super().__init__(
            scope,
            construct_id,
            description=f"tierfleet: models and alarm topic of {config.fleet}-{config.environment}",
        )
        ModelStore(self, "Models", config=config)
        AlarmTopic(self, "Alarms", config=config)
        if config.async_tiers:
            AsyncStore(self, "Async", config=config)
