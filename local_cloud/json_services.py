"""The control planes we add, as their JSON 1.1 protocol speaks them."""

import json
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.services import cloudwatch_logs

from local_cloud.core import request_shapes
from local_cloud.core.errors import ServiceError
from local_cloud.services import iam, service_quotas
from local_cloud.services.autoscaling import service as application_autoscaling
from local_cloud.services.sagemaker import endpoint_configs, endpoints, models, runtime, tags
from local_cloud.services.sagemaker.names import arn

Operation = Callable[[dict[str, Any]], dict[str, Any]]
Response = tuple[int, dict[str, str], bytes]
_JSON = "application/x-amz-json-1.1"
_IAM_PREFIXES = {"service-quotas": "servicequotas"}

_SAGEMAKER: dict[str, Operation] = {
    "CreateModel": models.create_model,
    "DescribeModel": models.describe_model,
    "DeleteModel": models.delete_model,
    "ListModels": models.list_models,
    "CreateEndpointConfig": endpoint_configs.create_endpoint_config,
    "DescribeEndpointConfig": endpoint_configs.describe_endpoint_config,
    "DeleteEndpointConfig": endpoint_configs.delete_endpoint_config,
    "ListEndpointConfigs": endpoint_configs.list_endpoint_configs,
    "CreateEndpoint": endpoints.create_endpoint,
    "UpdateEndpoint": endpoints.update_endpoint,
    "UpdateEndpointWeightsAndCapacities": endpoints.update_weights_and_capacities,
    "DescribeEndpoint": endpoints.describe_endpoint,
    "DeleteEndpoint": endpoints.delete_endpoint,
    "ListEndpoints": endpoints.list_endpoints,
    "AddTags": tags.add_tags,
    "DeleteTags": tags.delete_tags,
    "ListTags": tags.list_tags,
}

_AUTOSCALING: dict[str, Operation] = {
    "RegisterScalableTarget": application_autoscaling.register_scalable_target,
    "DescribeScalableTargets": application_autoscaling.describe_scalable_targets,
    "DeregisterScalableTarget": application_autoscaling.deregister_scalable_target,
    "PutScalingPolicy": application_autoscaling.put_scaling_policy,
    "DescribeScalingPolicies": application_autoscaling.describe_scaling_policies,
    "DeleteScalingPolicy": application_autoscaling.delete_scaling_policy,
    "PutScheduledAction": application_autoscaling.put_scheduled_action,
    "DescribeScheduledActions": application_autoscaling.describe_scheduled_actions,
    "DeleteScheduledAction": application_autoscaling.delete_scheduled_action,
    "DescribeScalingActivities": application_autoscaling.describe_scaling_activities,
}

_QUOTAS: dict[str, Operation] = {
    "ListServices": service_quotas.list_services,
    "ListServiceQuotas": service_quotas.list_service_quotas,
    "ListAWSDefaultServiceQuotas": service_quotas.list_service_quotas,
    "GetServiceQuota": service_quotas.get_service_quota,
    "GetAWSDefaultServiceQuota": service_quotas.get_service_quota,
    "RequestServiceQuotaIncrease": service_quotas.request_service_quota_increase,
    "GetRequestedServiceQuotaChange": service_quotas.get_requested_change,
    "ListRequestedServiceQuotaChangeHistory": service_quotas.list_requested_changes,
    "ListRequestedServiceQuotaChangeHistoryByQuota": service_quotas.list_requested_changes,
}


async def sagemaker(method: str, path: str, headers: dict[str, str], body: bytes, _query: Any) -> Response:
    """SageMaker's control plane; its runtime signs with the same service name and has paths instead."""
    if path.startswith("/endpoints/"):
        return runtime.handle(method, path, headers, body)
    return _answer("sagemaker", _SAGEMAKER, headers, body)


async def autoscaling(_method: str, _path: str, headers: dict[str, str], body: bytes, _query: Any) -> Response:
    return _answer("application-autoscaling", _AUTOSCALING, headers, body)


async def quotas(_method: str, _path: str, headers: dict[str, str], body: bytes, _query: Any) -> Response:
    return _answer("service-quotas", _QUOTAS, headers, body)


async def logs(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Response:
    """ministack's, except for requests that are none and the operation that we replace."""
    try:
        request = request_shapes.read(body)
        if headers.get("x-amz-target", "").endswith(".FilterLogEvents"):
            request_shapes.check("logs", "FilterLogEvents", request)
    except ServiceError as error:
        return error_response(error, content_type=_JSON)
    answer: Response = await cloudwatch_logs.handle_request(method, path, headers, body, query)
    return answer


def _answer(service: str, operations: dict[str, Operation], headers: dict[str, str], body: bytes) -> Response:
    name = headers.get("x-amz-target", "").rpartition(".")[2]
    try:
        request = request_shapes.read(body)
        operation = operations.get(name)
        if operation is None:
            raise ServiceError("UnknownOperationException", f"the local emulator has no {service} operation {name!r}")
        request_shapes.check(service, name, request)
        prefix = _IAM_PREFIXES.get(service, service)
        iam.require(headers, f"{prefix}:{name}", _resource(service, request))
        return 200, {"Content-Type": _JSON}, json.dumps(operation(request)).encode()
    except ServiceError as error:
        return error_response(error, content_type=_JSON)
    except Exception:
        app.logger.exception("%s %s failed", service, name)
        failure = ServiceError("InternalFailure", "The local emulator failed; its log says why.", status=500)
        return error_response(failure, content_type=_JSON)


def error_response(error: ServiceError, *, content_type: str) -> Response:
    payload = {"__type": error.code, "Message": error.message, "message": error.message, **error.fields}
    headers = {"Content-Type": content_type, "x-amzn-ErrorType": error.code}
    return error.status, headers, json.dumps(payload).encode()


def _resource(service: str, request: dict[str, Any]) -> str:
    if service == "sagemaker":
        for field, kind in (
            ("EndpointName", "endpoint"),
            ("EndpointConfigName", "endpoint-config"),
            ("ModelName", "model"),
        ):
            if isinstance(request.get(field), str):
                return arn(kind, request[field])
    return "*"
