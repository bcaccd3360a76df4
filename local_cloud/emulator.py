"""Installs our services, resource types and patches into ministack.

`patches.py` has every name of ministack that is replaced. What is added to ministack's own tables is here.
"""

import threading
from importlib.metadata import version

from ministack import app
from ministack.core import router
from ministack.core.responses import get_region
from ministack.services.cloudformation import provisioners

from local_cloud import json_services, patches, ticker
from local_cloud.core import event_log, ministack_names, patching
from local_cloud.services import lambda_functions, scalable_targets, service_quotas
from local_cloud.services.cloudformation import nested_stacks, resource_types, schemas
from local_cloud.services.cloudformation import properties as resource_properties
from local_cloud.services.cloudwatch import alarm_evaluation
from local_cloud.services.sagemaker import (
    asynchronous,
    endpoint_configs,
    endpoint_states,
    metrics,
    model_servers,
    models,
    observations,
    serving,
    tags,
)


def install() -> None:
    """Once per process, before ministack serves. Raises PatchError if this is not the ministack we know."""
    patching.apply(patches.PATCHES, ministack_names.USED, f"ministack {version('ministack')}")
    metrics.gauges = gauges
    metrics.queues = queues
    _add_services()
    _add_resource_types()
    threading.Thread(target=ticker.tick_forever, daemon=True, name="local-cloud-tick").start()


def reset() -> None:
    """Forget every account, as a new process would; the clock goes on. Nothing may be under way."""
    endpoint_states.remove_all()
    alarm_evaluation.metric_delay_seconds = 0.0
    app._reset_all_state()
    for module in (
        models,
        endpoint_configs,
        endpoint_states,
        tags,
        scalable_targets,
        service_quotas,
        metrics,
        event_log,
        observations,
    ):
        module.clear()
    serving.server.clear()


def gauges() -> list[metrics.InstanceGauges]:
    """What the instances report of themselves; none where no model runs."""
    server = serving.server
    return server.gauges() if isinstance(server, model_servers.ModelServers) else []


def queues() -> list[asynchronous.QueueRow]:
    """The queues of asynchronous endpoints; none where no model runs."""
    server = serving.server
    return server.queues() if isinstance(server, model_servers.ModelServers) else []


def _add_services() -> None:
    app.SERVICE_HANDLERS["sagemaker"] = json_services.sagemaker
    app.SERVICE_HANDLERS["application-autoscaling"] = json_services.autoscaling
    app.SERVICE_HANDLERS["logs"] = json_services.logs
    app.SERVICE_HANDLERS["servicequotas"] = json_services.quotas
    router.SERVICE_PATTERNS["servicequotas"] = {"target_prefixes": ["ServiceQuotasV20190624."]}
    router.SERVICE_PATTERNS["sagemaker"] = {"target_prefixes": ["SageMaker."]}
    router.SERVICE_PATTERNS["application-autoscaling"] = {"target_prefixes": ["AnyScaleFrontendService."]}


def _add_resource_types() -> None:
    registry = provisioners._RESOURCE_HANDLERS
    registry["AWS::Lambda::Function"] |= {
        "create": lambda_functions.create,
        "update": lambda_functions.update,
    }
    for resource_type, handler in registry.items():
        if "create" in handler:
            handler["create"] = resource_properties.watched(resource_type, handler["create"], handler.get("delete"))
    registry.update(resource_types.HANDLERS)
    registry["AWS::CloudFormation::Stack"] = {
        "create": nested_stacks.create,
        "update": nested_stacks.update,
        "delete": nested_stacks.delete,
    }
    for resource_type in resource_types.HANDLERS:
        provisioners._REPLACING_PROPERTIES[resource_type] = schemas.create_only_properties(resource_type, get_region())
    for resource_type, name in resource_types.NAME_PROPERTIES.items():
        provisioners._CUSTOM_NAME_REPLACEMENT[resource_type] = {"name": name}
