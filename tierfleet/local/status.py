"""What a fleet looks like in the local emulator, read through AWS's own API."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.host.processes import LocalCloud
from tierfleet.config import FleetConfig
from tierfleet.runtime.appconfig import NoRoutesDeployedError, deployed_routes
from tierfleet.runtime.aws_errors import Kind, classify
from tierfleet.runtime.names import ROUTES_PROFILE, routes_application
from tierfleet.runtime.route_parts import PartReader


@dataclass(frozen=True)
class EndpointStatus:
    """One endpoint of the fleet: its state, its instances now and its scaling bounds."""

    name: str
    status: str
    instances: int
    min_instances: int | None
    max_instances: int | None


@dataclass(frozen=True)
class InstanceStatus:
    """One instance: a real model server process."""

    endpoint: str
    instance: str
    status: str
    shared: bool
    retiring: bool
    """Whether it answers its last requests."""
    traffic_percent: int
    """Share of its endpoint's traffic that its fleet gets, 0 to 100."""
    requests_per_second: float | None
    """Since the last look; None at the first."""
    hit_ratio: float | None
    """Share of calls with their model in memory, 0 to 1, since the last look. None without calls or if dedicated."""
    loaded_models: int
    disk_models: int
    memory_used_mib: float | None
    memory_budget_mib: float
    load_wait_p95_milliseconds: float | None
    """Of the last 2,000 calls that waited for a model."""
    cpu_percent: float


class InstanceWatch:
    """Looks at the instances of one fleet again and again; what changes with time is of the time between two looks."""

    def __init__(self, cloud: LocalCloud, fleet: FleetConfig) -> None:
        self._cloud = cloud
        self._of_fleet = (fleet.account, fleet.region, f"{fleet.fleet}--{fleet.environment}--")
        self._before: dict[str, dict[str, int]] = {}
        self._looked_at = time.monotonic()

    def look(self) -> tuple[InstanceStatus, ...]:
        """The instances now, in the order of starting; none where endpoints answer a constant."""
        account, region, prefix = self._of_fleet
        now = time.monotonic()
        seconds, self._looked_at = now - self._looked_at, now
        rows = [
            row
            for row in self._cloud.admin("instances")
            if (row["account"], row["region"]) == (account, region) and row["endpoint"].startswith(prefix)
        ]
        before, self._before = self._before, {row["instance"]: row["counters"] for row in rows}
        return tuple(_instance_status(row, before.get(row["instance"]), seconds) for row in rows)


@dataclass(frozen=True)
class ErrorStatus:
    """One class of error that InvokeEndpoint answered."""

    endpoint: str
    kind: str
    """The error code, with the container's status if it had one."""
    count: int
    """Since the local emulator started."""
    per_second: float | None
    """Since the last look; None at the first."""


class ErrorWatch:
    """Looks at what the callers of one fleet were told, again and again."""

    def __init__(self, cloud: LocalCloud, fleet: FleetConfig) -> None:
        self._cloud = cloud
        self._of_fleet = (fleet.account, fleet.region, f"{fleet.fleet}--{fleet.environment}--")
        self._before: dict[tuple[str, str], int] | None = None
        self._looked_at = time.monotonic()

    def look(self) -> tuple[ErrorStatus, ...]:
        """The commonest class first; none where endpoints answer a constant."""
        account, region, prefix = self._of_fleet
        now = time.monotonic()
        seconds, self._looked_at = now - self._looked_at, now
        counts = {
            (row["endpoint"], kind): count
            for row in self._cloud.admin("errors")
            if (row["account"], row["region"]) == (account, region) and row["endpoint"].startswith(prefix)
            for kind, count in row["errors"].items()
        }
        before, self._before = self._before, counts
        return tuple(
            ErrorStatus(*key, count, (count - before.get(key, 0)) / seconds if before is not None and seconds else None)
            for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        )


def _instance_status(row: dict[str, Any], before: dict[str, int] | None, seconds: float) -> InstanceStatus:
    counters = row["counters"]
    requests = counters["requests"] - (before or {}).get("requests", 0)
    hits = counters["hits"] - (before or {}).get("hits", 0)
    return InstanceStatus(
        endpoint=row["endpoint"],
        instance=row["instance"],
        status=row["status"],
        shared=row["multi_model"],
        retiring=row["retiring"],
        traffic_percent=row["traffic_percent"],
        requests_per_second=requests / seconds if before is not None and seconds > 0 else None,
        hit_ratio=hits / requests if requests and row["multi_model"] else None,
        loaded_models=len(row["loaded_models"]),
        disk_models=len(row["disk_models"]),
        memory_used_mib=row["memory_used_mib"],
        memory_budget_mib=row["memory_budget_mib"],
        load_wait_p95_milliseconds=counters["load_wait_p95_milliseconds"],
        cpu_percent=row["cpu_percent"],
    )


@dataclass(frozen=True)
class FleetStatus:
    """What a fleet looks like now."""

    stacks: dict[str, str]
    """Status by name."""
    endpoints: tuple[EndpointStatus, ...]
    """In name order."""
    red_alarms: tuple[str, ...]
    """Names, in order."""
    routes: dict[str, str]
    """Endpoint by tenant that has one of its own, after `everyone else`."""
    alarm_descriptions: dict[str, str] = field(default_factory=dict)
    """Of red alarms that have one, by name."""
    clock_ahead_seconds: float = 0.0
    """How far the emulator's clock is ahead of this machine's: 0 unless it was moved, negative if behind."""

    def to_json(self, instances: Sequence[InstanceStatus] = (), errors: Sequence[ErrorStatus] = ()) -> dict[str, Any]:
        """The same, with the instances and what callers were told, as JSON-ready data."""
        return {
            **asdict(self),
            "instances": [asdict(instance) for instance in instances],
            "errors": [asdict(error) for error in errors],
        }


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
        for summary in page["Endpoints"]:
            try:
                endpoint = sagemaker.describe_endpoint(EndpointName=summary["EndpointName"])
            except ClientError as error:
                if classify(error).kind is not Kind.UNKNOWN_ENDPOINT:
                    raise
                continue  # deleted since it was listed
            target = targets.get(summary["EndpointName"], {})
            endpoints.append(
                EndpointStatus(
                    name=summary["EndpointName"],
                    status=endpoint["EndpointStatus"],
                    # A serverless variant has no count of instances.
                    instances=sum(v.get("CurrentInstanceCount", 0) for v in endpoint.get("ProductionVariants", [])),
                    min_instances=target.get("MinCapacity"),
                    max_instances=target.get("MaxCapacity"),
                )
            )
    alarms = client("cloudwatch").describe_alarms(StateValue="ALARM", AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    red = [*alarms["MetricAlarms"], *alarms["CompositeAlarms"]]
    stack_names = [f"{fleet.fleet}-{fleet.environment}-{stack}" for stack in ("Models", "Fleet")]
    stacks = {
        stack["StackName"]: stack["StackStatus"]
        for stack in client("cloudformation").describe_stacks()["Stacks"]
        if stack["StackName"] in stack_names
    }
    return FleetStatus(
        stacks={name: stacks[name] for name in stack_names if name in stacks},
        endpoints=tuple(sorted(endpoints, key=lambda endpoint: endpoint.name)),
        red_alarms=tuple(sorted(alarm["AlarmName"] for alarm in red)),
        routes=_routes(client, fleet),
        alarm_descriptions={
            alarm["AlarmName"]: alarm["AlarmDescription"] for alarm in red if alarm.get("AlarmDescription")
        },
        clock_ahead_seconds=cloud.admin("clock")["ahead_seconds"],
    )


def _routes(client: Callable[[str], Any], fleet: FleetConfig) -> dict[str, str]:
    """What a client that starts now is told: the default endpoint, then the exceptions."""
    try:
        document = deployed_routes(
            client("appconfigdata"),
            application_id=routes_application(fleet.fleet, fleet.environment),
            environment_id=fleet.environment,
            profile_id=ROUTES_PROFILE,
            read_part=PartReader(lambda: client("s3")),
        )
    except NoRoutesDeployedError:
        return {}
    exceptions = {tenant: document.route_of(tenant).endpoint for tenant in document.tenants}
    default = document.default_route()
    return {**({"everyone else": default.endpoint} if default else {}), **exceptions}
