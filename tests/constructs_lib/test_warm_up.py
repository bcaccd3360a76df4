"""What loads models before their callers come."""

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template
from synthesis import AUDIENCE, FLAGS, TOPIC_ARN, alarm, only, resources, statements, template_of

from constructs_lib.routes.table import RouteTable
from constructs_lib.warm_up import WarmUp
from local_cloud.testing.fleets import DELETE, ROOT, fleet

FUNCTION = "AWS::Lambda::Function"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"


def build_warm_up(stack: cdk.Stack, config: Any) -> WarmUp:
    return WarmUp(
        stack,
        "WarmUp",
        config=config,
        route_table=RouteTable(stack, "Routes", config=config, audience=AUDIENCE),
        audience=AUDIENCE,
    )


def warm_up_template(**changes: Any) -> Template:
    config = fleet(**changes)
    return template_of(config, lambda stack: build_warm_up(stack, config))


@pytest.fixture(scope="module")
def plain() -> Template:
    return warm_up_template()


@pytest.fixture(scope="module")
def without() -> Template:
    return warm_up_template(encryption={"bucket_kms_key_arn": KEY}, tiers={"tail": {"warm_up": DELETE}})


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that is uploaded as the functions' code."""
    config = fleet()
    outdir = tmp_path_factory.mktemp("warm-up")
    app = cdk.App(context=FLAGS, outdir=str(outdir), analytics_reporting=False)
    stack = cdk.Stack(app, "Test", env=cdk.Environment(account=config.account, region=config.region))
    build_warm_up(stack, config)
    app.synth()
    [directory] = [path for path in outdir.glob("asset.*") if path.is_dir()]
    return directory


def functions(template: Template) -> tuple[Any, Any]:
    """The function of schedules and events, and the one of the gates."""
    functions = [resource["Properties"] for resource in resources(template, FUNCTION).values()]
    warm = next(properties for properties in functions if "ReservedConcurrentExecutions" in properties)
    gate = next(properties for properties in functions if "ReservedConcurrentExecutions" not in properties)
    assert len(functions) == 2
    return warm, gate


def warm_function_id(template: Template) -> str:
    [function] = [
        name
        for name, resource in resources(template, FUNCTION).items()
        if "ReservedConcurrentExecutions" in resource["Properties"]
    ]
    return function


def test_the_asset_is_the_handler_and_the_runtime_package_and_nothing_else(asset: Path) -> None:
    runtime = ROOT / "tierfleet" / "runtime"
    expected = {f"tierfleet/runtime/{file.relative_to(runtime)}" for file in runtime.rglob("*.py")}
    expected |= {file.name for file in (ROOT / "lambda" / "warm_up").glob("*.py")} | {"tierfleet/__init__.py"}
    assert {str(file.relative_to(asset)) for file in asset.rglob("*") if file.is_file()} == expected


def test_the_asset_holds_the_sources_byte_for_byte(asset: Path) -> None:
    for file in asset.rglob("*.py"):
        source = file.relative_to(asset)
        origin = ROOT / source if source.parts[0] == "tierfleet" else ROOT / "lambda" / "warm_up" / source
        assert file.read_bytes() == origin.read_bytes(), source


def test_both_functions_run_the_same_code_through_the_same_handler(plain: Template) -> None:
    warm, gate = functions(plain)
    assert warm["Code"] == gate["Code"]
    assert warm["Handler"] == gate["Handler"] == "warm_up.handler"


def test_one_warm_up_runs_at_a_time_and_none_is_tried_again(plain: Template) -> None:
    warm, _ = functions(plain)
    assert warm["ReservedConcurrentExecutions"] == 1
    plain.has_resource_properties(
        "AWS::Lambda::EventInvokeConfig",
        {
            "FunctionName": {"Ref": warm_function_id(plain)},
            "MaximumRetryAttempts": 0,
            "MaximumEventAgeInSeconds": 300,
            "DestinationConfig": Match.absent(),
        },
    )


def test_gates_of_several_endpoints_do_not_wait_for_each_other(plain: Template) -> None:
    _, gate = functions(plain)
    assert "ReservedConcurrentExecutions" not in gate


def test_a_run_may_take_what_lambda_allows(plain: Template) -> None:
    assert {properties["Timeout"] for properties in functions(plain)} == {900}


def test_the_environment_says_where_routes_and_catalog_are_and_lists_no_tenant(plain: Template) -> None:
    for properties in functions(plain):
        variables = properties["Environment"]["Variables"]
        assert variables["TIERFLEET_FLEET"] == "shop"
        assert variables["TIERFLEET_ENVIRONMENT"] == "test"
        assert variables["TIERFLEET_MODELS_BUCKET"] == "shop--test--models--123456789012--eu-west-1"
        assert {key for key in variables if "ROUTES" in key} == {
            "TIERFLEET_ROUTES_APPLICATION_ID",
            "TIERFLEET_ROUTES_ENVIRONMENT_ID",
            "TIERFLEET_ROUTES_PROFILE_ID",
        }
        assert not any(tenant in str(variables) for tenant in ("t1", "t2", "t3"))


def test_the_schedule_speaks_the_tenants_time_zone_and_fires_on_time(plain: Template) -> None:
    plain.has_resource_properties(
        "AWS::Scheduler::Schedule",
        {
            "ScheduleExpression": "cron(45 7 ? * MON-FRI *)",
            "ScheduleExpressionTimezone": "Europe/London",
            "FlexibleTimeWindow": {"Mode": "OFF"},
        },
    )


def test_the_schedule_names_the_tier_and_gives_up_soon(plain: Template) -> None:
    target = only(plain, "AWS::Scheduler::Schedule")["Target"]
    assert target["Arn"] == {"Fn::GetAtt": [warm_function_id(plain), "Arn"]}
    assert json.loads(target["Input"]) == {"tier": "tail"}
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 300}


def test_an_endpoint_that_comes_into_service_is_warmed_by_its_exact_name(plain: Template) -> None:
    rule = only(plain, "AWS::Events::Rule")
    assert rule["EventPattern"] == {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Endpoint State Change"],
        "detail": {
            "EndpointName": ["shop--test--tail--all--mme-m5-xlarge"],
            "EndpointStatus": ["IN_SERVICE"],
        },
    }
    [target] = rule["Targets"]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 0}


def test_a_fleet_without_warm_up_has_gates_but_no_schedule_and_no_rule(without: Template) -> None:
    without.resource_count_is(FUNCTION, 2)
    without.resource_count_is("AWS::Scheduler::Schedule", 0)
    without.resource_count_is("AWS::Events::Rule", 0)
    assert not [d for d in resources(without, "AWS::CloudWatch::Alarm").values() if "A warm-up runs" in str(d)]


def test_each_tier_with_a_warm_up_has_a_schedule_of_its_own() -> None:
    second = {
        "hosting": "multi-model",
        "tenants": ["o1"],
        "instance_type": "ml.m5.large",
        "instances": {"min": 2, "max": 2, "initial": 2},
        "models_per_instance": 20,
        "scaling": {"max_requests_per_second": 20},
        "alarms": {"min_cache_hit_ratio": 0.5},
        "warm_up": {"schedule": "rate(6 hours)", "tenants": ["o1"]},
    }
    template = warm_up_template(tiers={"occasional": second})
    inputs = {s["Properties"]["Target"]["Input"] for s in resources(template, "AWS::Scheduler::Schedule").values()}
    assert inputs == {'{"tier":"tail"}', '{"tier":"occasional"}'}


def test_logs_are_kept_for_a_month(plain: Template) -> None:
    plain.all_resources_properties("AWS::Logs::LogGroup", {"RetentionInDays": 30})


def test_any_failed_model_or_failed_run_alarms(plain: Template) -> None:
    failures = alarm(plain, contains="could not be warmed")
    assert failures["AlarmActions"] == [TOPIC_ARN]
    assert (failures["Threshold"], failures["TreatMissingData"]) == (0, "notBreaching")
    [expression] = [query["Expression"] for query in failures["Metrics"] if "Expression" in query]
    read = {q["Id"]: q["MetricStat"]["Metric"] for q in failures["Metrics"] if "MetricStat" in q}
    assert {"failed", "errors"} <= read.keys()
    assert expression == " + ".join(f"FILL({name}, 0)" for name in read)
    assert (read["failed"]["Namespace"], read["failed"]["MetricName"]) == ("tierfleet", "WarmUpFailed")
    assert read["errors"]["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": warm_function_id(plain)}}]


def test_the_alarm_that_silences_cache_alarms_watches_the_whole_fleet_and_notifies_no_one(plain: Template) -> None:
    running = alarm(plain, contains="A warm-up runs")
    assert running["AlarmActions"] == []
    assert running["TreatMissingData"] == "notBreaching"
    assert {dimension["Name"] for dimension in running["Dimensions"]} == {"Fleet", "Environment"}


def test_only_the_gate_reads_hosted_documents_endpoints_and_stacks(plain: Template) -> None:
    by_role = {
        role["Ref"]: {action for s in p["Properties"]["PolicyDocument"]["Statement"] for action in _list(s["Action"])}
        for p in resources(plain, "AWS::IAM::Policy").values()
        for role in p["Properties"]["Roles"]
    }
    gate_only = {
        "appconfig:GetHostedConfigurationVersion",
        "appconfig:ListHostedConfigurationVersions",
        "appconfig:ListDeployments",
        "appconfig:StopDeployment",
        "cloudformation:DescribeStacks",
        "sagemaker:DescribeEndpoint",
    }
    [gate] = [role for role in by_role if role.startswith("WarmUpGateFunctionRole")]
    assert gate_only <= by_role.pop(gate)
    assert not [role for role, actions in by_role.items() if actions & gate_only]


def test_the_functions_read_the_catalog_and_no_model(plain: Template) -> None:
    reads = [s["Resource"] for s in statements(plain) if s["Action"] == "s3:GetObject"]
    bucket = "arn:aws:s3:::shop--test--models--123456789012--eu-west-1"
    assert reads == [[f"{bucket}/catalog/*", f"{bucket}/routes/*"]] * 2


def test_the_functions_call_multi_model_endpoints_and_no_dedicated_ones(plain: Template) -> None:
    calls = [s["Resource"] for s in statements(plain) if s["Action"] == "sagemaker:InvokeEndpoint"]
    assert calls == ["arn:aws:sagemaker:eu-west-1:123456789012:endpoint/shop--test--*--all--*"] * 2


def test_the_functions_decrypt_the_catalog_where_the_bucket_has_a_key(plain: Template, without: Template) -> None:
    decrypt = {"Action": "kms:Decrypt", "Effect": "Allow", "Resource": KEY, "Sid": "DecryptCatalog"}
    assert [s for s in statements(without) if s["Action"] == "kms:Decrypt"] == [decrypt, decrypt]
    assert not [s for s in statements(plain) if s["Action"] == "kms:Decrypt"]


def test_the_roles_hold_no_managed_policy(plain: Template) -> None:
    plain.all_resources_properties("AWS::IAM::Role", {"ManagedPolicyArns": Match.absent()})


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_cache_alarms_are_silent_from_the_moment_a_warm_up_begins(plain: Template) -> None:
    running = alarm(plain, section="warm-up", contains="A warm-up runs")
    assert (running["Namespace"], running["MetricName"]) == ("tierfleet", "WarmUpStarted")
    assert (running["Period"] * running["EvaluationPeriods"], running["DatapointsToAlarm"]) == (900, 1)


def test_only_the_gate_function_may_start_its_own_next_run(plain: Template) -> None:
    [permission] = [
        resource["Properties"]
        for logical_id, resource in resources(plain, "AWS::Lambda::Permission").items()
        if "NextRun" in logical_id
    ]
    assert permission["Action"] == "lambda:InvokeFunction"
    assert permission["FunctionName"]["Fn::GetAtt"][0].startswith("WarmUpGateFunction")
    assert permission["Principal"]["Fn::GetAtt"][0].startswith("WarmUpGateFunctionRole")
    assert not [s for s in statements(plain) if "lambda:InvokeFunction" in _list(s["Action"]) and "Gate" in str(s)]


def test_what_scheduler_and_eventbridge_could_not_deliver_counts_as_not_warmed(plain: Template) -> None:
    failures = alarm(plain, section="warm-up", contains="could not be warmed")
    read = {q["MetricStat"]["Metric"]["MetricName"] for q in failures["Metrics"] if "MetricStat" in q}
    assert read == {
        *("WarmUpFailed", "WarmUpLeft", "Errors", "AsyncEventsDropped"),
        *("InvocationDroppedCount", "FailedInvocations"),
    }
    [expression] = [query["Expression"] for query in failures["Metrics"] if "Expression" in query]
    assert all(f"FILL({q['Id']}, 0)" in expression for q in failures["Metrics"] if "MetricStat" in q)


def test_each_schedule_comes_after_its_group(plain: Template) -> None:
    [group] = resources(plain, "AWS::Scheduler::ScheduleGroup")
    for schedule in resources(plain, "AWS::Scheduler::Schedule").values():
        assert group in schedule["DependsOn"]
