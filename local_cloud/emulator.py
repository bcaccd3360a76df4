"""Installs our services, resource types and overrides into the emulator (ministack, pinned exactly).

Everything private that we touch is named here or in the module that wraps it; docs/adr/0020 says why.
"""

import functools
import threading
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime, router
from ministack.core.responses import get_region
from ministack.services import appconfig, cloudwatch, cloudwatch_logs, ecr, eventbridge, lambda_svc, scheduler
from ministack.services.cloudformation import changesets, handlers, provisioners, stacks

from local_cloud import json_services, ticker
from local_cloud.core import event_log
from local_cloud.core.clock import ClockAsTimeModule
from local_cloud.services import appconfig as appconfig_deployments
from local_cloud.services import (
    iam,
    lambda_functions,
    scalable_targets,
    service_quotas,
)
from local_cloud.services import scheduler as schedules
from local_cloud.services.cloudformation import cleanup, nested_stacks, resource_types, schemas
from local_cloud.services.cloudformation import properties as cloudformation_properties
from local_cloud.services.cloudwatch import (
    alarm_evaluation,
    composite_alarms,
    embedded_metrics,
    endpoint_logs,
    metric_alarms,
    queries,
    store,
)
from local_cloud.services.sagemaker import (
    endpoint_configs,
    endpoint_states,
    metrics,
    model_servers,
    models,
    observations,
    serving,
    stock_images,
    tags,
)
from local_cloud.services.stacks import cancel as stack_cancel
from local_cloud.services.stacks import early_start as stack_early_start


def install() -> None:
    """Once per process, before the emulator serves."""
    _install_services()
    _install_clock()
    _install_metrics()
    _install_logs()
    _install_alarms()
    _install_schedules()
    _install_asynchronous_invocation()
    _install_resource_types()
    _install_stack_phases()
    ecr._batch_get_image = stock_images.batch_get_image
    app.pin_request_origin = iam.pin_request_origin
    iam_actions.extract_iam_action = iam.action
    iam_actions.extract_resource_arn = iam.resource
    iam_actions.s3_service_context = iam.s3_context
    iam_evaluator._resolve_condition_key = iam.condition_key
    threading.Thread(target=ticker.tick_for_ever, daemon=True, name="local-cloud-tick").start()


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


def _install_services() -> None:
    app.SERVICE_HANDLERS["sagemaker"] = json_services.sagemaker
    app.SERVICE_HANDLERS["application-autoscaling"] = json_services.autoscaling
    app.SERVICE_HANDLERS["logs"] = json_services.logs
    app.SERVICE_HANDLERS["servicequotas"] = json_services.quotas
    router.SERVICE_PATTERNS["servicequotas"] = {"target_prefixes": ["ServiceQuotasV20190624."]}
    router.SERVICE_PATTERNS["sagemaker"] = {"target_prefixes": ["SageMaker."]}
    router.SERVICE_PATTERNS["application-autoscaling"] = {"target_prefixes": ["AnyScaleFrontendService."]}


def _install_clock() -> None:
    """The rest stays on the wall clock: a queue that polls must not wait for a clock that stands still."""
    for module in (appconfig, cloudwatch, scheduler):
        module.time = ClockAsTimeModule()


def _install_schedules() -> None:
    scheduler.start_scheduler = _leave_to_our_ticker
    scheduler._create_schedule = schedules.create_schedule
    scheduler._update_schedule = schedules.update_schedule
    scheduler._at_time_epoch = schedules.at_time_epoch
    eventbridge._parse_rate_seconds = schedules.parse_rate_seconds
    eventbridge._parse_cron_fields = schedules.parse_cron_fields
    eventbridge._cron_next_fire = schedules.cron_next_fire


def _install_asynchronous_invocation() -> None:
    lambda_runtime.Worker._drain_stderr_bounded = lambda_functions.drain_log
    lambda_svc.invoke_async_with_retry = lambda_functions.invoke_asynchronously
    eventbridge._dispatch_to_lambda = lambda_functions.deliver


def _install_metrics() -> None:
    metrics.gauges = _gauges
    cloudwatch._store_datum = store.store_datum
    cloudwatch._percentile_samples = store.percentile_samples
    cloudwatch._percentile = store.percentile
    cloudwatch._evict_old_metrics = store.tidy
    cloudwatch._get_metric_data = queries.handle_get_metric_data
    cloudwatch._get_metric_statistics = queries.handle_get_metric_statistics


def _install_logs() -> None:
    cloudwatch_logs._filter_log_events = endpoint_logs.filter_log_events
    lambda_svc._emit_lambda_logs = embedded_metrics.emit_lambda_logs


def _install_alarms() -> None:
    cloudwatch._evaluate_alarm = alarm_evaluation.evaluate
    cloudwatch._put_metric_alarm = metric_alarms.handle_put
    cloudwatch._set_alarm_state = metric_alarms.handle_set_state
    cloudwatch._put_composite_alarm = composite_alarms.handle_put
    cloudwatch._dispatch_alarm_actions = composite_alarms.dispatch_actions
    appconfig._first_monitor_alarm = appconfig_deployments.first_monitor_alarm
    appconfig._advance_deployment = appconfig_deployments.advance
    appconfig._stop_deployment = appconfig_deployments.stop


def _install_resource_types() -> None:
    registry = provisioners._RESOURCE_HANDLERS
    registry["AWS::Lambda::Function"] |= {
        "create": lambda_functions.create,
        "update": lambda_functions.update,
    }
    for resource_type, handler in registry.items():
        if "create" in handler:
            handler["create"] = cloudformation_properties.watched(
                resource_type, handler["create"], handler.get("delete")
            )
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
    provisioners._provision_resource = _checked_provision
    provisioners._update_resource = _checked_update
    stacks._provision_resource = _checked_provision
    stacks._update_resource = _checked_update


def _install_stack_phases() -> None:
    runs_on_thread = stacks._runs_on_worker_thread
    # What depends on an endpoint that was begun early waits for its end, so that it must not hold up the loop either.
    stacks._runs_on_worker_thread = lambda resource_type: (
        resource_type in resource_types.WAITING_TYPES
        or runs_on_thread(resource_type)
        or stack_early_start.is_unsettled()
    )
    stacks._add_event = stack_early_start.add_event
    stacks._topological_sort = stack_early_start.ordered
    handlers._ACTION_HANDLERS["CancelUpdateStack"] = stack_cancel.cancel
    for module in (stacks, handlers, changesets):
        module._deploy_stack_async = cleanup.deploy
    for module in (stacks, handlers):
        module._roll_back_operation = cleanup.roll_back
    stacks._delete_resource = cleanup.delete_resource


def _leave_to_our_ticker() -> None:
    """The emulator's own thread would fire a schedule that our ticker fires at the same moment."""


_emulator_provision = provisioners._provision_resource
_emulator_update = provisioners._update_resource


@functools.wraps(_emulator_provision)
def _checked_provision(resource_type: str, logical_id: str, properties: dict[str, Any], stack_name: str) -> Any:
    cloudformation_properties.check(resource_type, logical_id, properties)
    stack_cancel.refuse_to_begin(stack_name, logical_id)
    stack_early_start.await_dependencies(stack_name, logical_id)
    created = _until_cancelled(
        resource_type, stack_name, _emulator_provision, resource_type, logical_id, properties, stack_name
    )
    event_log.record("ResourceCreated", logical_id, type=resource_type, stack=stack_name)
    return created


@functools.wraps(_emulator_update)
def _checked_update(
    resource_type: str,
    physical_id: str,
    old: dict[str, Any],
    new: dict[str, Any],
    stack_name: str,
    *rest: Any,
) -> Any:
    if old != new:
        logical_id = rest[0] if rest else physical_id
        cloudformation_properties.check(resource_type, logical_id, new)
        stack_cancel.refuse_to_begin(stack_name, logical_id)
        stack_early_start.await_dependencies(stack_name, logical_id)
    return _until_cancelled(
        resource_type, stack_name, _emulator_update, resource_type, physical_id, old, new, stack_name, *rest
    )


def _until_cancelled(resource_type: str, stack_name: str, call: Any, *arguments: Any) -> Any:
    """A custom resource takes as long as its function; a cancelled update need not wait for it."""
    if not resource_type.startswith("Custom::"):
        return call(*arguments)
    return stack_cancel.until_cancelled(stack_name, functools.partial(call, *arguments))


def _gauges() -> list[metrics.InstanceGauges]:
    server = serving.server
    return server.gauges() if isinstance(server, model_servers.ModelServers) else []
