"""What we call and read of ministack without replacing it, with the shape it had when that was written.

`core.patching` compares each name at start. A test holds the table to what the code uses.
"""

from typing import Final

USED: Final[dict[str, dict[str, str]]] = {
    "ministack.app": {
        "AUTH": "bool",
        "SERVICE_HANDLERS": "dict",
        "_MAIN_LOOP": "NoneType",
        "_get_reset_lock": "()",
        "_reset_all_state": "()",
        "app": "(scope, receive, send)",
        "logger": "Logger",
    },
    "ministack.core.concurrency": {
        "run_reentrant": "(fn, *args, thread_name='ministack-reentrant')",
    },
    "ministack.core.iam_evaluator": {
        "AuthError": "(code, message, details=<factory>)",
        "enforce": "(access_key_id, iam_action, service, region, resource_arn='*', service_context=None)",
    },
    "ministack.core.lambda_runtime": {
        "Worker": "(func_name, config, code_zip)",
    },
    "ministack.core.responses": {
        "AccountRegionScopedDict": "()",
        "error_response_json": "(code, message, status=400, extra=None, *, message_key='message', content_type='application/x-amz-json-1.0')",  # noqa: E501 - as inspect prints it
        "get_account_id": "()",
        "get_region": "()",
        "json_response": "(data, status=200, *, content_type='application/x-amz-json-1.0')",
        "new_uuid": "()",
        "now_iso": "()",
        "set_request_account_id": "(access_key_id)",
        "set_request_region": "(region)",
    },
    "ministack.core.router": {
        "SERVICE_PATTERNS": "dict",
        "extract_access_key_id": "(headers, query_params=None)",
    },
    "ministack.services.appconfig": {
        "_DEPLOYMENT_MINUTE_SECONDS": "float",
        "_deployments": "AccountRegionScopedDict",
        "_environments": "AccountRegionScopedDict",
        "_iso": "(epoch)",
        "_refresh_environment": "(app_id, env_id)",
        "_resolve_application_id": "(identifier)",
        "_resolve_configuration_profile_id": "(app_id, identifier)",
        "_resolve_environment_id": "(app_id, identifier)",
        "_sessions": "AccountRegionScopedDict",
        "_start_deployment": "(app_id, env_id, body)",
    },
    "ministack.services.cloudformation": {
        "_stack_events": "AccountRegionScopedDict",
        "_stacks": "AccountRegionScopedDict",
    },
    "ministack.services.cloudformation.engine": {
        "_evaluate_conditions": "(template, params)",
        "_extract_deps": "(resource_def, all_resource_names)",
        "_parse_template": "(template_body)",
        "_resolve_parameters": "(template, provided_params, previous_params=None)",
        "_topological_sort": "(resources, conditions)",
        "validate_template_support": "(template, conditions, params=None)",
    },
    "ministack.services.cloudformation.handlers": {
        "_ACTION_HANDLERS": "dict",
    },
    "ministack.services.cloudformation.helpers": {
        "_resolve_template": "(params)",
    },
    "ministack.services.cloudformation.provisioners": {
        "_CUSTOM_NAME_REPLACEMENT": "dict",
        "_REPLACING_PROPERTIES": "dict",
        "_RESOURCE_HANDLERS": "dict",
        "_check_nested_stack_capabilities": "(parent_stack_name, template)",
        "_cr_stack_id": "(stack_name)",
        "_delete_resource": "(resource_type, physical_id, props, stack_name=None, logical_id=None)",
        "_inherited_capabilities": "(parent_stack_name)",
        "_lambda_create": "(logical_id, props, stack_name)",
        "_lambda_update": "(physical_id, old_props, new_props, stack_name, logical_id=None)",
        "_nested_stack_lookup_name": "(physical_id_or_arn)",
        "_physical_name": "(stack_name, logical_id, *, lowercase=False, max_len=128, seeded=True)",
        "_scheduler_schedule_delete": "(physical_id, props)",
        "_tag_map": "(tags)",
    },
    "ministack.services.cloudformation.stacks": {
        "_delete_stack_async": "(stack_name, stack_id, retain_resources=(), force=False)",
        "_deploy_stack_async": "(stack_name, stack_id, template, param_values, disable_rollback, tags, is_update=False, previous_stack=None, retain_except_on_create=False, imports=None)",  # noqa: E501 - as inspect prints it
        "_failed_operation": "(is_update, previous_stack, created, failed_update, failed_logical_id, replaced_ids, cancelled, template, param_values, retain_except_on_create, stack_tags, previous_tags, imports=None)",  # noqa: E501 - as inspect prints it
        "_roll_back_operation": "(stack_name, stack_id, stack, operation, reason_override='')",
        "now_iso": "()",
    },
    "ministack.services.cloudwatch": {
        "TWO_WEEKS_SECONDS": "int",
        "_alarms": "AccountRegionScopedDict",
        "_calc_stats": "(points)",
        "_cbor_datapoint": "(dp)",
        "_cbor_metric_data_result": "(result)",
        "_cbor_ok": "(data)",
        "_composite_alarms": "AccountRegionScopedDict",
        "_composite_children": "(alarm)",
        "_dims_from_list": "(dimensions)",
        "_dims_key": "(dims)",
        "_error": "(code, message, status, use_json=False, use_cbor=False)",
        "_evaluate_parent_alarms": "(child, seen=frozenset())",
        "_history_entries": "()",
        "_json_ok": "(data)",
        "_metric_bucket": "(key)",
        "_metrics": "AccountRegionScopedDict",
        "_p": "(params, key, default='')",
        "_parse_ts": "(value)",
        "_record_history": "(alarm_name, old_state, new_state, reason, alarm_type='MetricAlarm', reason_data=None)",
        "_stat_value": "(stats, stat_name, points=None)",
        "cloudformation_delete_metric_alarm": "(name, refuse_dependents=False)",
        "cloudformation_put_metric_alarm": "(alarm)",
        "cloudformation_set_metric_alarm_tags": "(name, tags)",
    },
    "ministack.services.cloudwatch_logs": {
        "_append_log_events": "(stream, events)",
        "_create_log_group": "(data)",
        "_create_log_stream": "(data)",
        "_log_events_lock": "lock",
        "_log_groups": "AccountRegionScopedDict",
        "_resolve_log_group_name": "(data)",
        "handle_request": "(method, path, headers, body, query_params)",
    },
    "ministack.services.eventbridge": {
        "_put_events": "(data, allow_aws_source=False)",
    },
    "ministack.services.iam": {
        "_roles": "AccountScopedDict",
    },
    "ministack.services.lambda_svc": {
        "_execute_function_with_config_scope": "(func, event)",
        "_execution_record_for_config": "(func, config)",
        "_functions": "AccountRegionScopedDict",
        "_get_func_record_for_ref": "(function_ref)",
        "_route_async_failure": "(target_arn, func_name, event, result)",
        "logger": "Logger",
    },
    "ministack.services.s3": {
        "_buckets": "AccountScopedDict",
    },
    "ministack.services.scheduler": {
        "_schedule_arn": "(group, name)",
        "_schedule_last_fired": "dict",
        "_tick_schedules": "()",
    },
    "ministack.services.sts": {
        "register_session": "(access_key, session)",
    },
}
