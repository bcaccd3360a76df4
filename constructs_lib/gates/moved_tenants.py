"""The gate before the routes change for tenants that move to a multi-model endpoint."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from constructs import Construct, IDependable

from constructs_lib.routes.table import RouteTable


class MovedTenants(Construct):
    """Loads the models of tenants that move to a multi-model endpoint, before their calls arrive there.

    `MovedTenants(self, "Moved", gate_function=function, route_table=routes, after=whales)`

    It runs with each new version of the route document and compares it with the deployed one. A gate of its own is
    needed because a move changes neither the endpoint nor its configuration.

    Defines a custom resource of type Custom::WarmMovedTenants.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        gate_function: lambda_.IFunction,
        route_table: RouteTable,
        after: Sequence[IDependable],
    ) -> None:
        """after: the gates of the multi-model endpoints. These are then in service, with their lists loaded."""
        super().__init__(scope, construct_id)
        cdk.CustomResource(
            self,
            "Gate",
            service_token=gate_function.function_arn,
            resource_type="Custom::WarmMovedTenants",
            # CloudFormation's maximum. A full cache may unload a model for each that is loaded.
            service_timeout=cdk.Duration.hours(1),
            properties={"RouteDocumentVersion": route_table.document.ref},
        )
        self.node.add_dependency(*after, gate_function)
