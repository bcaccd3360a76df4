"""One fleet in one environment."""

import aws_cdk as cdk
from constructs import Construct

from stacks.fleet_stack import FleetStack
from stacks.models_stack import ModelsStack
from tierfleet.config import FleetConfig


class FleetStage(cdk.Stage):
    """The stacks of one fleet file: `<fleet>-<environment>/Models` and `<fleet>-<environment>/Fleet`."""

    def __init__(self, scope: Construct, config: FleetConfig) -> None:
        super().__init__(
            scope,
            f"{config.fleet}-{config.environment}",
            env=cdk.Environment(account=config.account, region=config.region),
        )
        models = ModelsStack(self, "Models", config=config)
        fleet = FleetStack(self, "Fleet", config=config)
        fleet.add_stack_dependency(models, "endpoints need the bucket and its models")
        tags = {"fleet": config.fleet, "environment": config.environment, **config.tags}
        # Sorted, so that another order in the fleet file changes no template.
        for key, value in sorted(tags.items()):
            cdk.Tags.of(self).add(key, value)
