"""Every name of ministack that we replace, and why: the one place to read before an upgrade.

ministack is pinned exactly and has no hooks. docs/adr/0020 says why it is extended here rather than forked.
`local_cloud/core/ministack_names.py` lists what we call without replacing it.
"""

from typing import Any, Final

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.lambda_runtime import Worker
from ministack.services import appconfig, cloudwatch, cloudwatch_logs, ecr, eventbridge, lambda_svc, scheduler
from ministack.services.cloudformation import changesets, handlers, provisioners, stacks

from local_cloud.core.clock import ClockAsTimeModule
from local_cloud.core.patching import Patch
from local_cloud.services import appconfig as our_appconfig
from local_cloud.services import iam, lambda_functions
from local_cloud.services import scheduler as our_scheduler
from local_cloud.services.cloudformation import cleanup, provisioning
from local_cloud.services.cloudwatch import (
    alarm_evaluation,
    composite_alarms,
    embedded_metrics,
    endpoint_logs,
    metric_alarms,
    queries,
    store,
)
from local_cloud.services.sagemaker import stock_images
from local_cloud.services.stacks import cancel, early_start


def _patch(owner: Any, name: str, was: str, replacement: Any, why: str) -> Patch:
    return Patch(owner=owner, name=name, was=was, replacement=replacement, why=why)


_CLOCK: Final = ClockAsTimeModule()
_CLOCK_WHY: Final = (
    "it reads the wall clock; the other services stay on it, since a queue that polls needs a clock that runs"
)
_API: Final = "(params, cbor_data, is_cbor, is_json=False)"
_DEPLOY: Final = (
    "(stack_name, stack_id, template, param_values, disable_rollback, tags, is_update=False, previous_stack=None, "
    "retain_except_on_create=False, imports=None)"
)
_DELETE: Final = "(resource_type, physical_id, props, stack_name=None, logical_id=None)"
_PROVISION: Final = "(resource_type, logical_id, props, stack_name)"
_UPDATE: Final = "(resource_type, physical_id, old_props, new_props, stack_name, logical_id=None, old_attrs=None)"
_ROLL_BACK: Final = "(stack_name, stack_id, stack, operation, reason_override='')"
_CLEANUP_WHY: Final = "it cleans up each nested stack on its own, before the root is complete"
_CHECK_WHY: Final = "it accepts properties that CloudFormation refuses, and deploys one resource after another"

CLOUDWATCH: Final = (
    _patch(cloudwatch, "time", "module", _CLOCK, _CLOCK_WHY),
    _patch(
        cloudwatch, "_store_datum", "(namespace, name, dims, ts, unit, value, values, counts, stat_values)",
        store.store_datum, "it keeps a record for each value and reads all of them on each request",
    ),
    _patch(cloudwatch, "_percentile_samples", "(points)", store.percentile_samples, "our records are aggregated"),
    _patch(cloudwatch, "_percentile", "(samples, pct)", store.percentile, "our records are aggregated"),
    _patch(cloudwatch, "_evict_old_metrics", "()", store.tidy, "it loses what another thread adds meanwhile"),
    _patch(cloudwatch, "_get_metric_data", _API, queries.handle_get_metric_data, "it has no expressions or pages"),
    _patch(
        cloudwatch, "_get_metric_statistics", _API, queries.handle_get_metric_statistics,
        "it answers Average to a statistic that it does not know",
    ),
    _patch(
        cloudwatch, "_evaluate_alarm", "(alarm)", alarm_evaluation.evaluate,
        "it ignores dimensions, periods, DatapointsToAlarm and TreatMissingData",
    ),
    _patch(cloudwatch, "_put_metric_alarm", _API, metric_alarms.handle_put, "it knows no metric math"),
    _patch(
        cloudwatch, "_set_alarm_state", _API, metric_alarms.handle_set_state,
        "its next evaluation undoes a forced state at once",
    ),
    _patch(cloudwatch, "_put_composite_alarm", _API, composite_alarms.handle_put, "it knows no actions suppressor"),
    _patch(
        cloudwatch, "_dispatch_alarm_actions", "(alarm, old_state, new_state, reason)",
        composite_alarms.dispatch_actions, "it knows no actions suppressor",
    ),
)  # fmt: skip
"""CloudWatch alone, which tests also replace in their own process."""

PATCHES: Final = (
    *CLOUDWATCH,
    _patch(appconfig, "time", "module", _CLOCK, _CLOCK_WHY),
    _patch(scheduler, "time", "module", _CLOCK, _CLOCK_WHY),
    _patch(
        appconfig, "_first_monitor_alarm", "(app_id, env_id, start, end)", our_appconfig.first_monitor_alarm,
        "it knows neither INSUFFICIENT_DATA nor disabled actions",
    ),
    _patch(
        appconfig, "_advance_deployment", "(record, now)", our_appconfig.advance,
        "it dates what a skipped wait completes ahead of the clock",
    ),
    _patch(
        appconfig, "_stop_deployment", "(app_id, env_id, deploy_num, allow_revert=False)", our_appconfig.stop,
        "tests of the order need the moment at which routes were taken back",
    ),
    _patch(
        cloudwatch_logs, "_filter_log_events", "(data)", endpoint_logs.filter_log_events,
        "it does not know CloudWatch's filter patterns",
    ),
    _patch(
        lambda_svc, "_emit_lambda_logs", "(func, request_id, log_text, error, duration_ms, *, log_source=None)",
        embedded_metrics.emit_lambda_logs, "it makes no metrics of lines in Embedded Metric Format",
    ),
    _patch(
        lambda_svc, "invoke_async_with_retry", "(func, event)", lambda_functions.invoke_asynchronously,
        "it drops a throttled event, which Lambda keeps in its queue",
    ),
    _patch(
        Worker, "_drain_stderr_bounded",
        "(self, first_line_wait=0.05, idle_confirm=0.005, hard_cap=0.25)", lambda_functions.drain_log,
        "it stops after 5 ms of silence, so later lines count as the next invocation's",
    ),
    _patch(
        eventbridge, "_dispatch_to_lambda", "(arn, payload)", lambda_functions.deliver,
        "its rules and schedules know neither retries nor an OnFailure destination",
    ),
    _patch(
        scheduler, "start_scheduler", "()", our_scheduler.leave_to_the_ticker,
        "its thread would fire a schedule that our ticker fires at the same moment",
    ),
    _patch(scheduler, "_create_schedule", "(name, body)", our_scheduler.create_schedule, "it accepts any expression"),
    _patch(scheduler, "_update_schedule", "(name, body)", our_scheduler.update_schedule, "it accepts any expression"),
    _patch(scheduler, "_at_time_epoch", "(expr)", our_scheduler.at_time_epoch, "it reads every time as UTC"),
    _patch(
        eventbridge, "_parse_rate_seconds", "(expr)", our_scheduler.parse_rate_seconds,
        "tierfleet has one parser of schedules, for check, cost and this",
    ),
    _patch(eventbridge, "_parse_cron_fields", "(expr)", our_scheduler.parse_cron_fields, "the same"),
    _patch(
        eventbridge, "_cron_next_fire", "(fields, after_dt)", our_scheduler.cron_next_fire,
        "it reads every cron expression as UTC",
    ),
    _patch(ecr, "_batch_get_image", "(data)", stock_images.batch_get_image, "AWS's own repositories have no images"),
    _patch(
        app, "pin_request_origin", "(source_ip, secure_transport)", iam.pin_request_origin,
        "it is plain HTTP, which our bucket policies deny; AWS's clients come by HTTPS",
    ),
    _patch(
        iam_actions, "extract_iam_action", "(service, method, path, headers, body, query_params)", iam.action,
        "it lets AppConfig's data calls pass unchecked",
    ),
    _patch(
        iam_actions, "extract_resource_arn",
        "(service, method, path, headers, body, query_params, region, account_id)", iam.resource,
        "it does not know the resource of AppConfig's data calls",
    ),
    _patch(
        iam_actions, "s3_service_context", "(iam_action, query_params, path='', headers=None)", iam.s3_context,
        "it does not know the condition keys of conditional writes",
    ),
    _patch(
        iam_evaluator, "_resolve_condition_key", "(key, ctx)", iam.condition_key,
        "aws:PrincipalArn of a session is its role's ARN",
    ),
    *(_patch(module, "_provision_resource", _PROVISION, provisioning.provision, _CHECK_WHY)
      for module in (provisioners, stacks)),
    *(_patch(module, "_update_resource", _UPDATE, provisioning.update, _CHECK_WHY)
      for module in (provisioners, stacks)),
    _patch(
        stacks, "_runs_on_worker_thread", "(resource_type)", provisioning.runs_on_worker_thread,
        "handlers that wait on the clock would hold up its event loop",
    ),
    _patch(
        stacks, "_add_event",
        "(stack_id, stack_name, logical_id, resource_type, status, reason='', physical_id='', detailed_status='')",
        early_start.add_event, "it knows no CONFIGURATION_COMPLETE",
    ),
    _patch(
        stacks, "_topological_sort", "(resources, conditions)", early_start.ordered,
        "it may put a resource that waits for an endpoint before one that need not",
    ),
    _patch(
        handlers, "_ACTION_HANDLERS[CancelUpdateStack]", "(params)", cancel.cancel, "it leaves nested stacks running"
    ),
    *(_patch(module, "_deploy_stack_async", _DEPLOY, cleanup.deploy, _CLEANUP_WHY)
      for module in (stacks, handlers, changesets)),
    *(_patch(module, "_roll_back_operation", _ROLL_BACK, cleanup.roll_back, _CLEANUP_WHY)
      for module in (stacks, handlers)),
    _patch(stacks, "_delete_resource", _DELETE, cleanup.delete_resource, _CLEANUP_WHY),
)  # fmt: skip
