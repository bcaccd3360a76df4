"""SageMaker endpoints: their states over time, updates to a new fleet, guardrail rollback."""

import threading
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import AccountRegionScopedDict

from local_cloud import (
    alarm_evaluation,
    event_log,
    sagemaker_endpoint_configs,
    sagemaker_events,
    sagemaker_tags,
    scaling_state,
    serving,
    traffic_shift,
)
from local_cloud.clock import clock
from local_cloud.errors import ServiceError
from local_cloud.sagemaker_names import already_exists, arn, check_name, list_page, not_found
from local_cloud.traffic_shift import PROVISION_SECONDS, Step

# Estimates: AWS gives no figures.
ROLLBACK_SECONDS = 60.0
DELETE_SECONDS = 20.0


@dataclass
class Variant:
    name: str
    instance_type: str | None
    instance_count: int
    weight: float

    def described(self) -> dict[str, Any]:
        return {
            "VariantName": self.name,
            "CurrentInstanceCount": self.instance_count,
            "DesiredInstanceCount": self.instance_count,
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
        }


@dataclass
class Change:
    """A fleet on its way in: on creation, on an update, on a change of capacity."""

    config_name: str
    variants: list[Variant]
    steps: tuple[Step, ...]
    started_at: float
    rollback_alarms: tuple[str, ...] = ()


@dataclass
class Endpoint:
    name: str
    config_name: str
    creation_time: float
    last_modified_time: float
    status: str
    variants: list[Variant]
    change: Change | None = None
    settles_at: float = 0.0  # the end of RollingBack or Deleting
    failure_reason: str | None = None
    deployment_config: dict[str, Any] = field(default_factory=dict)

    def next_moment(self) -> float:
        """When the state changes next, if no alarm interferes."""
        if self.change is None:
            return self.settles_at
        return next((s.ends_at for s in self.change.steps if s.ends_at > clock.now()), clock.now())

    def new_fleet_traffic_percent(self) -> int:
        """How much of the traffic the incoming fleet already takes."""
        if self.change is None:
            return 0
        return next((s.new_fleet_traffic_percent for s in self.change.steps if s.ends_at > clock.now()), 100)


_endpoints = AccountRegionScopedDict()
_lock = threading.RLock()


def create_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    name, config_name = request["EndpointName"], request["EndpointConfigName"]
    check_name("endpointName", name)
    with _lock:
        refresh_all()
        if name in _endpoints:
            raise already_exists("endpoint", name)
        variants = _variants_of(config_name)
        deployment_config = request.get("DeploymentConfig", {})
        traffic_shift.check(deployment_config)
        now = clock.now()
        change = Change(config_name, variants, (Step(now + PROVISION_SECONDS, 100),), now)
        endpoint = Endpoint(name, config_name, now, now, "Creating", variants, change)
        endpoint.deployment_config = deployment_config
        _endpoints[name] = endpoint
        sagemaker_tags.put(arn("endpoint", name), request.get("Tags", []))
        _announce(endpoint, "EndpointCreating", "CREATING")
    return {"EndpointArn": arn("endpoint", name)}


def update_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    with _lock:
        endpoint = find(request["EndpointName"])
        _refuse_in_progress(endpoint)
        if endpoint.status == "Failed":
            raise ServiceError("ValidationException", f'Cannot update failed endpoint "{_arn(endpoint)}".')
        variants = _variants_of(request["EndpointConfigName"])
        _refuse_retyping_autoscaled(endpoint, variants)
        deployment_config = request.get("DeploymentConfig", {})
        if request.get("RetainDeploymentConfig"):
            deployment_config = endpoint.deployment_config
        traffic_shift.check(deployment_config)
        excluded = {p["VariantPropertyType"] for p in request.get("ExcludeRetainedVariantProperties", [])}
        if excluded and not request.get("RetainAllVariantProperties"):
            raise ServiceError(
                "ValidationException",
                "ExcludeRetainedVariantProperties can only be used when RetainAllVariantProperties is true.",
            )
        if request.get("RetainAllVariantProperties"):
            _retain(endpoint, variants, excluded)
        alarms = deployment_config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        now = clock.now()
        steps = traffic_shift.timetable(deployment_config, now, sum(v.instance_count for v in variants))
        alarm_names = tuple(alarm["AlarmName"] for alarm in alarms)
        endpoint.change = Change(request["EndpointConfigName"], variants, steps, now, alarm_names)
        endpoint.deployment_config = deployment_config
        endpoint.status, endpoint.last_modified_time, endpoint.failure_reason = "Updating", now, None
        _announce(endpoint, "EndpointUpdating", "UPDATING", to_config=request["EndpointConfigName"])
    return {"EndpointArn": _arn(endpoint)}


def update_weights_and_capacities(request: dict[str, Any]) -> dict[str, Any]:
    with _lock:
        endpoint = find(request["EndpointName"])
        _refuse_in_progress(endpoint)
        wanted = {w["VariantName"]: w for w in request["DesiredWeightsAndCapacities"]}
        unknown = set(wanted) - {v.name for v in endpoint.variants}
        if unknown:
            raise ServiceError("ValidationException", f"Could not find variant(s) {sorted(unknown)}.")
        variants = [
            Variant(
                v.name,
                v.instance_type,
                wanted.get(v.name, {}).get("DesiredInstanceCount", v.instance_count),
                wanted.get(v.name, {}).get("DesiredWeight", v.weight),
            )
            for v in endpoint.variants
        ]
        now = clock.now()
        step = Step(now + PROVISION_SECONDS, 100)
        endpoint.change = Change(endpoint.config_name, variants, (step,), now)
        endpoint.status, endpoint.last_modified_time = "Updating", now
        _announce(endpoint, "EndpointScaling", "UPDATING", instances={v.name: v.instance_count for v in variants})
    return {"EndpointArn": _arn(endpoint)}


def delete_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    with _lock:
        endpoint = find(request["EndpointName"])
        _refuse_in_progress(endpoint)
        endpoint.status, endpoint.settles_at = "Deleting", clock.now() + DELETE_SECONDS
        _announce(endpoint, "EndpointDeleting", "DELETING")
    return {}


def describe_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    with _lock:
        endpoint = find(request["EndpointName"])
        described = _described(endpoint)
        if clock.mode == "skip" and (endpoint.change or endpoint.settles_at > clock.now()):
            clock.move_to(endpoint.next_moment())  # a poll waits, and whoever waits moves the clock
        return described


def list_endpoints(request: dict[str, Any]) -> dict[str, Any]:
    with _lock:
        refresh_all()
        fields = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
        summaries = [{f: _described(e)[f] for f in fields} for e in _endpoints.values()]
    return list_page(request, summaries, "EndpointName")


def find(name: str) -> Endpoint:
    """The endpoint as it stands now."""
    with _lock:
        if name in _endpoints:
            _refresh(_endpoints[name])
        endpoint: Endpoint | None = _endpoints.get(name)
    if endpoint is None:
        raise not_found("endpoint", name)
    return endpoint


def wait_until_settled(name: str) -> Endpoint | None:
    """Wait as CloudFormation does; None when the endpoint has been deleted."""
    while True:
        with _lock:
            if name not in _endpoints:
                return None
            try:
                endpoint = find(name)
            except ServiceError:
                return None
            if endpoint.status in ("InService", "Failed"):
                return endpoint
            moment = endpoint.next_moment()
        clock.wait_towards(moment)


def refresh_all() -> None:
    """Bring every endpoint of the current account and region up to now."""
    with _lock:
        for endpoint in _endpoints.values():
            _refresh(endpoint)


def scopes() -> set[tuple[str, str]]:
    """(account, region) of everything that exists."""
    return {(account, region) for account, region, _ in list(_endpoints._data)}


def clear() -> None:
    _endpoints._data.clear()


def _refresh(endpoint: Endpoint) -> None:
    now = clock.now()
    if endpoint.status == "Deleting" and now >= endpoint.settles_at:
        _endpoints.pop(endpoint.name, None)
        scaling_state.drop_targets_of(endpoint.name)
        sagemaker_tags.drop(_arn(endpoint))
        event_log.record("EndpointDeleted", endpoint.name)
    elif endpoint.status == "RollingBack" and now >= endpoint.settles_at:
        endpoint.status = "InService"
        _announce(endpoint, "EndpointRolledBack", "IN_SERVICE")
    elif endpoint.change is not None:
        _refresh_change(endpoint, endpoint.change, now)


def _refresh_change(endpoint: Endpoint, change: Change, now: float) -> None:
    red = next((name for name in change.rollback_alarms if alarm_evaluation.state_of(name) == "ALARM"), None)
    if red is not None:
        _roll_back(endpoint, f"One or more configured alarm(s) have been triggered, including {red}.")
        return
    if now < change.steps[0].ends_at:
        return
    if reason := _failure_to_start(change.config_name):
        if endpoint.status == "Creating":
            endpoint.status, endpoint.change, endpoint.failure_reason = "Failed", None, reason
            _announce(endpoint, "EndpointFailed", "FAILED")
        else:
            _roll_back(endpoint, reason)
        return
    if now >= change.steps[-1].ends_at:
        endpoint.config_name, endpoint.variants = change.config_name, change.variants
        endpoint.status, endpoint.change = "InService", None
        endpoint.last_modified_time = now
        _announce(endpoint, "EndpointInService", "IN_SERVICE")


def _roll_back(endpoint: Endpoint, reason: str) -> None:
    endpoint.change, endpoint.failure_reason = None, reason
    endpoint.status, endpoint.settles_at = "RollingBack", clock.now() + ROLLBACK_SECONDS
    _announce(endpoint, "EndpointRollingBack", "ROLLING_BACK", reason=reason)


def _failure_to_start(config_name: str) -> str | None:
    try:
        containers = sagemaker_endpoint_configs.containers_of(config_name)
    except ServiceError:
        return None  # the configuration was deleted under a live endpoint: AWS cannot look either
    return next((r for c in containers if (r := serving.server.failure_to_start(c))), None)


def _variants_of(config_name: str) -> list[Variant]:
    config = sagemaker_endpoint_configs.describe_endpoint_config({"EndpointConfigName": config_name})
    return [
        Variant(
            variant["VariantName"],
            variant.get("InstanceType"),
            int(variant.get("InitialInstanceCount", 1)),
            float(variant.get("InitialVariantWeight", 1)),
        )
        for variant in config["ProductionVariants"]
    ]


def _retain(endpoint: Endpoint, variants: list[Variant], excluded: set[str]) -> None:
    running = {variant.name: variant for variant in endpoint.variants}
    for variant in variants:
        if (kept := running.get(variant.name)) is None:
            continue
        if "DesiredInstanceCount" not in excluded:
            variant.instance_count = kept.instance_count
        if "DesiredWeight" not in excluded:
            variant.weight = kept.weight


def _refuse_in_progress(endpoint: Endpoint) -> None:
    if endpoint.status not in ("InService", "Failed"):
        raise ServiceError("ValidationException", f'Cannot update in-progress endpoint "{_arn(endpoint)}".')


def _refuse_retyping_autoscaled(endpoint: Endpoint, variants: list[Variant]) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html; the wording is ours."""
    new_types = {variant.name: variant.instance_type for variant in variants}
    autoscaled = scaling_state.autoscaled_variants(endpoint.name)
    for variant in endpoint.variants:
        if variant.name in autoscaled and new_types.get(variant.name) != variant.instance_type:
            raise ServiceError(
                "ValidationException",
                f'Cannot change or remove the instance type of variant "{variant.name}" of endpoint '
                f'"{_arn(endpoint)}" while it is a target for auto scaling. Deregister it first.',
            )


def _described(endpoint: Endpoint) -> dict[str, Any]:
    described = {
        "EndpointName": endpoint.name,
        "EndpointArn": _arn(endpoint),
        "EndpointConfigName": endpoint.config_name,
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.creation_time,
        "LastModifiedTime": endpoint.last_modified_time,
        "ProductionVariants": [variant.described() for variant in endpoint.variants],
    }
    if endpoint.failure_reason:
        described["FailureReason"] = endpoint.failure_reason
    if endpoint.deployment_config:
        described["LastDeploymentConfig"] = endpoint.deployment_config
    if endpoint.change is not None and endpoint.status == "Updating":
        described["PendingDeploymentSummary"] = {
            "EndpointConfigName": endpoint.change.config_name,
            "ProductionVariants": [variant.described() for variant in endpoint.change.variants],
            "StartTime": endpoint.change.started_at,
        }
    return described


def _announce(endpoint: Endpoint, action: str, status: str, **details: Any) -> None:
    event_log.record(action, endpoint.name, config=endpoint.config_name, **details)
    sagemaker_events.publish_endpoint_state_change(_described(endpoint), status)


def _arn(endpoint: Endpoint) -> str:
    return arn("endpoint", endpoint.name)
