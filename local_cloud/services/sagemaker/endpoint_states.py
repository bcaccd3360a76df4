"""The endpoints that there are, and what time does to them: in service, failed, rolled back, gone."""

import itertools
import threading
import time
from dataclasses import replace
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, set_request_account_id, set_request_region

from local_cloud.core import event_log
from local_cloud.core.clock import clock
from local_cloud.core.errors import ServiceError
from local_cloud.services import scalable_targets
from local_cloud.services.cloudwatch import alarm_evaluation, endpoint_logs
from local_cloud.services.sagemaker import endpoint_configs, events, serving, tags
from local_cloud.services.sagemaker.endpoint import Change, Endpoint, arn_of, described
from local_cloud.services.sagemaker.names import not_found

# An estimate: AWS gives no figure.
ROLLBACK_SECONDS = 60.0
# How often a waiter looks whether real instances have started.
_LOOK_AGAIN_SECONDS = 0.02


endpoints = AccountRegionScopedDict()
generations = itertools.count(2)  # of new fleets, over all endpoints; an endpoint's first is 1
lock = threading.RLock()


def find(name: str) -> Endpoint:
    """The current state of the endpoint."""
    with lock:
        if name in endpoints:
            _refresh(endpoints[name])
        endpoint: Endpoint | None = endpoints.get(name)
    if endpoint is None:
        raise not_found("endpoint", name)
    return endpoint


def wait_until_settled(name: str) -> Endpoint | None:
    """Wait as CloudFormation does; None when the endpoint has been deleted."""
    while True:
        with lock:
            if name not in endpoints:
                return None
            try:
                endpoint = find(name)
            except ServiceError:
                return None
            if endpoint.status in ("InService", "Failed"):
                return endpoint
            moment = endpoint.next_moment()
            waits_for_instances = endpoint.waits_for_instances()
            if clock.skips_waits:
                endpoint.bring_forward()
        if waits_for_instances:
            time.sleep(_LOOK_AGAIN_SECONDS)  # no clock makes that faster
        elif not clock.skips_waits:
            clock.wait_towards(moment)


def refresh_all() -> None:
    """Bring every endpoint of the current account and region up to now."""
    with lock:
        for endpoint in endpoints.values():
            _refresh(endpoint)


def scopes() -> set[tuple[str, str]]:
    """(account, region) of everything that exists."""
    return {(account, region) for account, region, _ in list(endpoints._data)}


def remove_all() -> None:
    """End the instances of every endpoint of every account, at once."""
    with lock:
        for (account, region, _), endpoint in list(endpoints._data.items()):
            set_request_account_id(account)
            set_request_region(region)
            endpoint.status, endpoint.change = "Deleting", None
            serving.server.follow(endpoint)
        clear()


def clear() -> None:
    endpoints._data.clear()


def _refresh(endpoint: Endpoint) -> None:
    now = clock.now()
    if endpoint.status == "Deleting" and now >= endpoint.settles_at:
        endpoints.pop(endpoint.name, None)
        scalable_targets.drop_targets_of(endpoint.name)
        tags.drop(arn_of(endpoint))
        event_log.record("EndpointDeleted", endpoint.name)
    elif endpoint.status == "RollingBack" and now >= endpoint.settles_at:
        endpoint.status = "InService"
        announce(endpoint, "EndpointRolledBack", "IN_SERVICE")
    elif endpoint.change is not None:
        _refresh_change(endpoint, endpoint.change, now)
        serving.server.follow(endpoint)  # the share of the traffic changes with time


def _refresh_change(endpoint: Endpoint, change: Change, now: float) -> None:
    red = next((name for name in change.rollback_alarms if alarm_evaluation.state_of(name) == "ALARM"), None)
    if red is not None:
        _roll_back(endpoint, f"One or more configured alarm(s) have been triggered, including {red}.")
        return
    if now < change.steps[0].ends_at:
        return
    if not change.healthy and not _has_become_healthy(endpoint, change, now):
        return
    if now >= change.steps[-1].ends_at:
        endpoint.config_name, endpoint.variants = change.config_name, change.variants
        endpoint.generation = change.generation
        endpoint.status, endpoint.change = "InService", None
        endpoint.last_modified_time = now
        announce(endpoint, "EndpointInService", "IN_SERVICE")


def _has_become_healthy(endpoint: Endpoint, change: Change, now: float) -> bool:
    """Whether the instances of a change are; the rest of a timetable that waited for them moves along."""
    started = serving.server.started(endpoint, change, _containers_of(change.config_name))
    if started is None:
        change.late = True
    elif started.failure is None:
        if change.late:
            delay = now - change.steps[0].ends_at
            change.steps = tuple(replace(step, ends_at=step.ends_at + delay) for step in change.steps)
        change.healthy = True
    elif endpoint.status == "Creating":
        endpoint.status, endpoint.change, endpoint.failure_reason = "Failed", None, started.failure
        announce(endpoint, "EndpointFailed", "FAILED")
    else:
        _roll_back(endpoint, started.failure)
    return change.healthy


def _roll_back(endpoint: Endpoint, reason: str) -> None:
    endpoint.change, endpoint.failure_reason = None, reason
    endpoint.status, endpoint.settles_at = "RollingBack", clock.now() + ROLLBACK_SECONDS
    announce(endpoint, "EndpointRollingBack", "ROLLING_BACK", reason=reason)


def _containers_of(config_name: str) -> list[dict[str, Any]]:
    try:
        return endpoint_configs.containers_of(config_name)
    except ServiceError:
        return []  # the configuration was deleted under a live endpoint: AWS cannot look either


def announce(endpoint: Endpoint, action: str, status: str, **details: Any) -> None:
    serving.server.follow(endpoint)
    if endpoint.status == "InService":
        endpoint_logs.make_group(endpoint.name)
    event_log.record(action, endpoint.name, config=endpoint.config_name, **details)
    events.publish_endpoint_state_change(described(endpoint), status)
