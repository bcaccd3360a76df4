"""SageMaker's endpoint metrics in ministack's CloudWatch, made of what the instances did.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

import threading
from collections import defaultdict
from collections.abc import Callable

from ministack.core.responses import set_request_account_id, set_request_region

from local_cloud.core.clock import clock
from local_cloud.services.cloudwatch import store
from local_cloud.services.cloudwatch.store import MINUTE_SECONDS, SLOT_SECONDS
from local_cloud.services.sagemaker import asynchronous, endpoint_states, observations

REQUESTS = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"
# Those whose documented statistics have percentiles.
_WITH_PERCENTILES = frozenset({"ModelLatency", "ModelSetupTime"})
# "If a variant's traffic becomes zero, SageMaker AI emits metrics with a value of zero."
# https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-policy.html
_ZERO_WITHOUT_TRAFFIC = ("Invocations", "InvocationsPerInstance")
# How many minutes are made up for when the clock jumps.
_MAX_CATCH_UP_MINUTES = 180

Scope = tuple[str, str]
Variant = tuple[str, str]
Gauges = dict[str, float]
# (endpoint, variant, configuration, instance id, container or "", value by metric name)
InstanceGauges = tuple[str, str, str, str, str, Gauges]

# Set to what tells LoadedModelCount and the utilisations of each instance of the current account and region.
gauges: Callable[[], list[InstanceGauges]] = list
# Set to what tells the queue of each asynchronous endpoint of the current account and region.
queues: Callable[[], list[asynchronous.QueueRow]] = list

_publishing = threading.Lock()
# The first minute of each variant with traffic so far for which nothing is published yet.
_next_idle_minute: dict[tuple[Scope, Variant], int] = {}
_sampled_minute: int | None = None


def publish() -> None:
    """Make datapoints of everything observed since the last call and, once a minute, of the gauges and of silence."""
    global _sampled_minute
    with _publishing:
        now = clock.now()
        _publish_observations(observations.take())
        minute = int(now // MINUTE_SECONDS)
        if _sampled_minute is not None and minute > _sampled_minute:
            _publish_gauges(range(max(_sampled_minute + 1, minute + 1 - _MAX_CATCH_UP_MINUTES), minute + 1))
            _publish_silence(minute)
        _sampled_minute = minute


def clear() -> None:
    with _publishing:
        _next_idle_minute.clear()


def _publish_observations(taken: list[observations.Observation]) -> None:
    grouped: defaultdict[tuple[str, str, str, str, str, str, str, int], list[float]] = defaultdict(list)
    for time, account, region, endpoint, variant, config, metric, value, container in taken:
        slot = int(time // SLOT_SECONDS)
        grouped[account, region, endpoint, variant, config, container, metric, slot].append(value)
    for (account, region, endpoint, variant, config, container, metric, slot), values in grouped.items():
        _enter((account, region))
        # Zeros begin in the minute after a variant's last call.
        if metric == "Invocations" and not container:
            following = slot * SLOT_SECONDS // MINUTE_SECONDS + 1
            idle = ((account, region), (endpoint, variant))
            _next_idle_minute[idle] = max(following, _next_idle_minute.get(idle, following))
        for dimensions in _dimension_sets(endpoint, variant, config, container):
            store.put(
                REQUESTS,
                metric,
                dimensions,
                observations.UNITS.get(metric, "None"),
                start=slot * SLOT_SECONDS,
                seconds=SLOT_SECONDS,
                values=values,
                percentiles=metric in _WITH_PERCENTILES,
            )


def _publish_gauges(minutes: range) -> None:
    """One datapoint a minute: over the instances, so that Average is by instance and Sum the whole variant."""
    for scope in endpoint_states.scopes():
        _enter(scope)
        asynchronous.publish(queues(), minutes)
        grouped: defaultdict[tuple[str, str, str, str, str], list[float]] = defaultdict(list)
        for endpoint, variant, config, _instance_id, container, values in gauges():
            for metric, value in values.items():
                grouped[endpoint, variant, config, container, metric].append(value)
        for (endpoint, variant, config, container, metric), gauged in grouped.items():
            unit = "None" if metric == "LoadedModelCount" else "Percent"
            for dimensions in _dimension_sets(endpoint, variant, config, container):
                for minute in minutes:
                    start = minute * MINUTE_SECONDS
                    store.put(INSTANCES, metric, dimensions, unit, start=start, seconds=0, values=gauged)


def _publish_silence(minute: int) -> None:
    """Zeros for each whole minute in which a variant that had traffic got none."""
    for (scope, (endpoint_name, variant_name)), following in list(_next_idle_minute.items()):
        _enter(scope)
        endpoint = endpoint_states.endpoints.get(endpoint_name)
        if endpoint is None:
            del _next_idle_minute[scope, (endpoint_name, variant_name)]
            continue
        dimensions = {"EndpointName": endpoint_name, "VariantName": variant_name}
        for idle in range(max(following, minute - _MAX_CATCH_UP_MINUTES), minute):
            for metric in _ZERO_WITHOUT_TRAFFIC:
                if metric == "InvocationsPerInstance" and all(v.serverless for v in endpoint.variants):
                    continue  # there are no instances
                start = idle * MINUTE_SECONDS
                store.put(REQUESTS, metric, dimensions, "None", start=start, seconds=MINUTE_SECONDS, values=[0.0])
        _next_idle_minute[scope, (endpoint_name, variant_name)] = max(following, minute)


def _dimension_sets(
    endpoint_name: str, variant_name: str, config_name: str, container_name: str = ""
) -> list[dict[str, str]]:
    """EndpointName with VariantName and, for one of several containers, ContainerName; while an update runs, for its
    new fleet also with EndpointConfigName.

    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    https://docs.aws.amazon.com/sagemaker/latest/dg/multi-container-metrics.html
    """
    dimensions = {"EndpointName": endpoint_name, "VariantName": variant_name}
    if container_name:
        return [{**dimensions, "ContainerName": container_name}]
    endpoint = endpoint_states.endpoints.get(endpoint_name)
    if endpoint is None or endpoint.change is None:
        return [dimensions]
    if config_name == endpoint.config_name or config_name != endpoint.change.config_name:
        return [dimensions]
    return [dimensions, {**dimensions, "EndpointConfigName": config_name}]


def _enter(scope: Scope) -> None:
    account, region = scope
    set_request_account_id(account)
    set_request_region(region)
