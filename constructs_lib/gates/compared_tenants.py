"""The gate that sends the probe to the old and the new endpoint of each tenant that moves, and compares the scores."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct, IDependable

from constructs_lib import arns
from constructs_lib.routes.table import RouteTable
from tierfleet.config import FleetConfig
from tierfleet.runtime.warm_up.comparison import RESOURCE_TYPE


class ComparedTenants(Construct):
    """Compares what the old and the new endpoint of a tenant answer, before the routes change.

    `ComparedTenants(self, "Compared", config=config, gate_function=function, route_table=routes, after=whales)` fails
    the deployment if a new endpoint does not answer the probe, or answers it with another score. It is part of fleets
    with a tier whose `compares_moves` is true.

    Defines a custom resource of type Custom::ComparedTenants.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        gate_function: lambda_.IFunction,
        route_table: RouteTable,
        after: Sequence[IDependable],
    ) -> None:
        """after: everything that defines or warms an endpoint."""
        super().__init__(scope, construct_id)
        # Every endpoint of the fleet: only the two route documents say which is the old one and which the new.
        grant = iam.Grant.add_to_principal(
            grantee=gate_function.grant_principal,
            actions=["sagemaker:InvokeEndpoint"],
            resource_arns=[arns.endpoint(config, f"{config.fleet}--{config.environment}--*")],
        )
        resource = cdk.CustomResource(
            self,
            "Gate",
            service_token=gate_function.function_arn,
            resource_type=RESOURCE_TYPE,
            # CloudFormation's maximum.
            service_timeout=cdk.Duration.hours(1),
            properties={"RouteDocumentVersion": route_table.document.ref},
        )
        grant.apply_before(resource)
        self.node.add_dependency(*after, gate_function)
