"""SageMaker's endpoint operations: create, update to a new fleet, scale, delete, describe, list."""

from typing import Any

from local_cloud.core.clock import clock
from local_cloud.core.errors import ServiceError
from local_cloud.services import scalable_targets
from local_cloud.services.sagemaker import endpoint_configs, endpoint_states, serverless, tags, traffic_shift
from local_cloud.services.sagemaker.endpoint import Change, Endpoint, Variant, arn_of, described
from local_cloud.services.sagemaker.endpoint_states import announce, find, lock
from local_cloud.services.sagemaker.names import already_exists, arn, check_name, list_page
from local_cloud.services.sagemaker.traffic_shift import PROVISION_SECONDS, Step

# An estimate: AWS gives no figure.
DELETE_SECONDS = 20.0


def create_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    name, config_name = request["EndpointName"], request["EndpointConfigName"]
    check_name("endpointName", name)
    with lock:
        endpoint_states.refresh_all()
        if name in endpoint_states.endpoints:
            raise already_exists("endpoint", name)
        variants = _variants_of(config_name)
        deployment_config = request.get("DeploymentConfig", {})
        traffic_shift.check(deployment_config)
        now = clock.now()
        change = Change(config_name, variants, (Step(now + PROVISION_SECONDS, 100),), now, generation=1)
        endpoint = Endpoint(name, config_name, now, now, "Creating", variants, change=change)
        endpoint.deployment_config = deployment_config
        endpoint_states.endpoints[name] = endpoint
        tags.put(arn("endpoint", name), request.get("Tags", []))
        announce(endpoint, "EndpointCreating", "CREATING")
    return {"EndpointArn": arn("endpoint", name)}


def update_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    with lock:
        endpoint = find(request["EndpointName"])
        _refuse_in_progress(endpoint)
        # As on AWS: a failed endpoint can only be deleted.
        if endpoint.status == "Failed":
            raise ServiceError("ValidationException", f'Cannot update failed endpoint "{arn_of(endpoint)}".')
        variants = _variants_of(request["EndpointConfigName"])
        _refuse_retyping_autoscaled(endpoint, variants)
        serverless.refuse_to_become(endpoint, variants)
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
        # Without it an update starts InitialInstanceCount instances, however many scaling has added.
        if request.get("RetainAllVariantProperties"):
            _retain(endpoint, variants, excluded)
        alarms = deployment_config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        now = clock.now()
        steps = traffic_shift.timetable(deployment_config, now, sum(v.instance_count for v in variants))
        alarm_names = tuple(alarm["AlarmName"] for alarm in alarms)
        generation = next(endpoint_states.generations)
        endpoint.change = Change(request["EndpointConfigName"], variants, steps, now, generation, alarm_names)
        endpoint.deployment_config = deployment_config
        endpoint.status, endpoint.last_modified_time, endpoint.failure_reason = "Updating", now, None
        announce(endpoint, "EndpointUpdating", "UPDATING", to_config=request["EndpointConfigName"])
    return {"EndpointArn": arn_of(endpoint)}


def update_weights_and_capacities(request: dict[str, Any]) -> dict[str, Any]:
    with lock:
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
                serverless.updated(v.serverless, wanted.get(v.name, {}).get("ServerlessUpdateConfig")),
            )
            for v in endpoint.variants
        ]
        now = clock.now()
        step = Step(now + PROVISION_SECONDS, 100)
        endpoint.change = Change(endpoint.config_name, variants, (step,), now, endpoint.generation)
        endpoint.status, endpoint.last_modified_time = "Updating", now
        announce(endpoint, "EndpointScaling", "UPDATING", instances={v.name: v.instance_count for v in variants})
    return {"EndpointArn": arn_of(endpoint)}


def delete_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    with lock:
        endpoint = find(request["EndpointName"])
        _refuse_in_progress(endpoint)
        endpoint.status, endpoint.settles_at = "Deleting", clock.now() + DELETE_SECONDS
        announce(endpoint, "EndpointDeleting", "DELETING")
    return {}


def describe_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    with lock:
        endpoint = find(request["EndpointName"])
        description = described(endpoint)
        if clock.skips_waits:
            endpoint.bring_forward()  # a poll waits
        return description


def list_endpoints(request: dict[str, Any]) -> dict[str, Any]:
    with lock:
        endpoint_states.refresh_all()
        fields = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
        summaries = [{f: described(e)[f] for f in fields} for e in endpoint_states.endpoints.values()]
    return list_page(request, summaries, "EndpointName")


def _variants_of(config_name: str) -> list[Variant]:
    config = endpoint_configs.describe_endpoint_config({"EndpointConfigName": config_name})
    return [
        Variant(
            variant["VariantName"],
            variant.get("InstanceType"),
            int(variant.get("InitialInstanceCount", 1)),
            float(variant.get("InitialVariantWeight", 1)),
            variant.get("ServerlessConfig"),
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
        raise ServiceError("ValidationException", f'Cannot update in-progress endpoint "{arn_of(endpoint)}".')


def _refuse_retyping_autoscaled(endpoint: Endpoint, variants: list[Variant]) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html; the wording is ours."""
    new_types = {variant.name: variant.instance_type for variant in variants}
    autoscaled = scalable_targets.autoscaled_variants(endpoint.name)
    for variant in endpoint.variants:
        if variant.name in autoscaled and new_types.get(variant.name) != variant.instance_type:
            raise ServiceError(
                "ValidationException",
                f'Cannot change or remove the instance type of variant "{variant.name}" of endpoint '
                f'"{arn_of(endpoint)}" while it is a target for auto scaling. Deregister it first.',
            )
