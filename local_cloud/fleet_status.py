"""What a fleet looks like in the stand-in, read through AWS's own API."""

from dataclasses import asdict, dataclass
from typing import Any

from local_cloud.processes import LocalCloud
from tierfleet.config import FleetConfig
from tierfleet.runtime.names import ROUTES_PROFILE, routes_application
from tierfleet.runtime.routes import NoRoutesDeployedError, deployed_routes


@dataclass(frozen=True)
class EndpointStatus:
    """One endpoint of the fleet: its state, its instances now and its scaling bounds."""

    name: str
    status: str
    instances: int
    min_instances: int | None
    max_instances: int | None


@dataclass(frozen=True)
class FleetStatus:
    """Endpoints in name order, alarms that are red, stacks with their status, the deployed exceptions of the routes."""

    stacks: dict[str, str]
    endpoints: tuple[EndpointStatus, ...]
    red_alarms: tuple[str, ...]
    routes: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON-ready data."""
        return asdict(self)

    def to_text(self) -> str:
        """The same as lines of text."""
        lines = [f"{name}: {status}" for name, status in self.stacks.items()] or ["no stack is deployed"]
        for endpoint in self.endpoints:
            bounds = f" of {endpoint.min_instances} to {endpoint.max_instances}" if endpoint.max_instances else ""
            lines.append(f"  {endpoint.name}  {endpoint.status}  {endpoint.instances}{bounds} instances")
        lines += [f"route: {who} -> {endpoint}" for who, endpoint in self.routes.items()]
        lines.append(f"alarms: {', '.join(self.red_alarms) or 'none is red'}")
        return "\n".join(lines)


def fleet_status(cloud: LocalCloud, fleet: FleetConfig) -> FleetStatus:
    """The fleet's status; empty where nothing is deployed."""
    prefix = f"{fleet.fleet}--{fleet.environment}--"

    def client(service: str) -> Any:
        return cloud.client(service, fleet.account, region=fleet.region)

    targets = {
        target["ResourceId"].split("/")[1]: target
        for page in client("application-autoscaling")
        .get_paginator("describe_scalable_targets")
        .paginate(ServiceNamespace="sagemaker")
        for target in page["ScalableTargets"]
    }
    sagemaker = client("sagemaker")
    endpoints = []
    for page in sagemaker.get_paginator("list_endpoints").paginate(NameContains=prefix):
        for found in page["Endpoints"]:
            endpoint = sagemaker.describe_endpoint(EndpointName=found["EndpointName"])
            target = targets.get(found["EndpointName"], {})
            endpoints.append(
                EndpointStatus(
                    name=found["EndpointName"],
                    status=endpoint["EndpointStatus"],
                    instances=sum(v["CurrentInstanceCount"] for v in endpoint.get("ProductionVariants", [])),
                    min_instances=target.get("MinCapacity"),
                    max_instances=target.get("MaxCapacity"),
                )
            )
    alarms = client("cloudwatch").describe_alarms(StateValue="ALARM", AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    stack_names = [f"{fleet.fleet}-{fleet.environment}-{stack}" for stack in ("Models", "Fleet")]
    stacks = {
        stack["StackName"]: stack["StackStatus"]
        for stack in client("cloudformation").describe_stacks()["Stacks"]
        if stack["StackName"] in stack_names
    }
    return FleetStatus(
        stacks={name: stacks[name] for name in stack_names if name in stacks},
        endpoints=tuple(sorted(endpoints, key=lambda endpoint: endpoint.name)),
        red_alarms=tuple(sorted(a["AlarmName"] for a in alarms["MetricAlarms"] + alarms["CompositeAlarms"])),
        routes=_routes(client("appconfigdata"), fleet),
    )


def _routes(appconfigdata: Any, fleet: FleetConfig) -> dict[str, str]:
    """What a client that starts now is told: the default endpoint, then the exceptions."""
    try:
        document = deployed_routes(
            appconfigdata,
            application_id=routes_application(fleet.fleet, fleet.environment),
            environment_id=fleet.environment,
            profile_id=ROUTES_PROFILE,
        )
    except NoRoutesDeployedError:
        return {}
    exceptions = {tenant: document.route_of(tenant).endpoint for tenant in document.tenants}
    default = document.default_route()
    return {**({"everyone else": default.endpoint} if default else {}), **exceptions}
