"""Loads models before they are called."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import aws_cdk as cdk
import jsii
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from constructs import Construct

from constructs_lib import arns
from constructs_lib.alarms import AlarmAudience, AlarmSpec, MetricMath, add_alarm
from constructs_lib.metric import Metric, fleet_metric, function_metric, rule_metric, schedule_group_metric
from constructs_lib.routes.table import RouteTable
from tierfleet.config import FleetConfig, routes
from tierfleet.runtime import metrics
from tierfleet.runtime.names import ALL_TENANTS, CATALOG_PREFIX, ROUTES_PREFIX

_ROOT = Path(__file__).resolve().parent.parent
_NOT_CODE = shutil.ignore_patterns("__pycache__", "*.pyc")


@jsii.implements(cdk.ILocalBundling)
class _CopySources:
    """The asset: the handler and tierfleet/runtime, copied without Docker."""

    def try_bundle(self, output_dir: str, *_options: Any) -> bool:
        shutil.copy(_ROOT / "lambda" / "warm_up" / "warm_up.py", output_dir)
        package = Path(output_dir) / "tierfleet"
        shutil.copytree(_ROOT / "tierfleet" / "runtime", package / "runtime", ignore=_NOT_CODE)
        shutil.copy(_ROOT / "tierfleet" / "__init__.py", package)
        return True


class WarmUp(Construct):
    """One handler in two functions: one for schedules and endpoint events, one for the gates of a deployment.

    `WarmUp(self, "WarmUp", config=config, route_table=routes, audience=audience)` defines both AWS::Lambda::Function,
    an AWS::Scheduler::Schedule for each warm-up, an AWS::Events::Rule for endpoints that come into service, and the
    alarm on failures. The lists of tenants are in the route document, so that a change of a list changes nothing else.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        route_table: RouteTable,
        audience: AlarmAudience,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._route_table = route_table
        self._code = lambda_.Code.from_asset(
            str(_ROOT / "lambda" / "warm_up"),
            # Of the output, because tierfleet/runtime changes the function without changing this folder.
            asset_hash_type=cdk.AssetHashType.OUTPUT,
            bundling=cdk.BundlingOptions(
                # BundlingOptions demands an image, which local bundling never pulls.
                image=cdk.DockerImage.from_registry("never-used"),
                local=cast(cdk.ILocalBundling, _CopySources()),
            ),
        )
        # One change of an endpoint sends several events. Runs do not overlap, and the later ones find the models warm.
        # Lambda drops an event that has waited for five minutes, and reports it to no destination.
        self.function = self._function(
            "Function",
            reserved_concurrent_executions=1,
            retry_attempts=0,
            max_event_age=cdk.Duration.minutes(5),
        )
        self.gate_function = self._function("GateFunction")
        self._grant_gate()
        tiers = {name: tier.warm_up for name, tier in config.multi_model_tiers.items() if tier.warm_up}
        undelivered = {}
        group = None
        if tiers:
            # A group of its own, because Scheduler counts dropped events by group only.
            group = scheduler.ScheduleGroup(self, "Schedules", removal_policy=cdk.RemovalPolicy.DESTROY)
            undelivered["unscheduled"] = schedule_group_metric(group.schedule_group_name, "InvocationDroppedCount")
        for name, settings in tiers.items():
            schedule = scheduler.Schedule(
                self,
                f"{name}-schedule",
                description=f"Warms tier {name} of {config.fleet}-{config.environment}",
                schedule_group=group,
                schedule=scheduler.ScheduleExpression.expression(settings.schedule, cdk.TimeZone.of(settings.timezone)),
                target=scheduler_targets.LambdaInvoke(
                    self.function,
                    input=scheduler.ScheduleTargetInput.from_object({"tier": name}),
                    # CDK's default is 185 attempts over 24 hours.
                    retry_attempts=2,
                    max_event_age=cdk.Duration.minutes(5),
                ),
            )
            if group:
                # It uses the group's literal name, in which CloudFormation sees no dependency.
                schedule.node.add_dependency(group)
        if tiers:
            rule = events.Rule(
                self,
                "InService",
                description="A shared endpoint came into service: its cache is cold",
                event_pattern=events.EventPattern(
                    source=["aws.sagemaker"],
                    detail_type=["SageMaker Endpoint State Change"],
                    detail={
                        "EndpointName": [routes.endpoint_name(config, name) for name in tiers],
                        "EndpointStatus": ["IN_SERVICE"],
                    },
                ),
                targets=[targets.LambdaFunction(self.function, retry_attempts=0)],
            )
            undelivered["unsent"] = rule_metric(rule.rule_name, "FailedInvocations")
        self._failure_alarm(audience, undelivered)
        self.running_alarm_arn = self._running_alarm(audience).attr_arn if tiers else None

    def _function(self, construct_id: str, **options: Any) -> lambda_.Function:
        config = self._config
        log_group = logs.LogGroup(
            self,
            f"{construct_id}Logs",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        role = iam.Role(
            self,
            f"{construct_id}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Warm-up of {config.fleet}-{config.environment}",
        )
        log_group.grant_write(role)
        bucket_arn = arns.models_bucket(config)
        role.add_to_policy(
            iam.PolicyStatement(
                sid="ReadCatalogAndRoutes",
                actions=["s3:GetObject"],
                resources=[f"{bucket_arn}/{prefix}*" for prefix in (CATALOG_PREFIX, ROUTES_PREFIX)],
            )
        )
        role.add_to_policy(
            # S3 answers GetObject of a missing key with 403, because the role may not list the whole bucket. So the
            # warm-up lists that one key instead.
            iam.PolicyStatement(
                sid="ListCatalog",
                actions=["s3:ListBucket"],
                resources=[bucket_arn],
                conditions={"StringLike": {"s3:prefix": [f"{CATALOG_PREFIX}*"]}},
            )
        )
        if config.encryption.bucket_kms_key_arn:
            role.add_to_policy(
                iam.PolicyStatement(
                    sid="DecryptCatalog",
                    actions=["kms:Decrypt"],
                    resources=[config.encryption.bucket_kms_key_arn],
                )
            )
        role.add_to_policy(
            # A pattern, because the old and the new endpoint are both warmed while the instance type of a tier changes.
            iam.PolicyStatement(
                sid="WarmSharedEndpoints",
                actions=["sagemaker:InvokeEndpoint"],
                resources=[
                    arns.endpoint(config, f"{config.fleet}--{config.environment}--*--{ALL_TENANTS}--*"),
                ],
            )
        )
        self._route_table.grant_read_deployed(role)
        return lambda_.Function(
            self,
            construct_id,
            description=f"Warm-up of {config.fleet}-{config.environment}",
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            handler="warm_up.handler",
            code=self._code,
            role=role,
            log_group=log_group,
            memory_size=512,
            # Lambda's maximum. Models that a run could not reach are counted, and the alarm below tells of them.
            timeout=cdk.Duration.minutes(15),
            environment={
                "TIERFLEET_FLEET": config.fleet,
                "TIERFLEET_ENVIRONMENT": config.environment,
                "TIERFLEET_MODELS_BUCKET": arns.models_bucket_name(config),
                "TIERFLEET_ROUTES_APPLICATION_ID": self._route_table.application_id,
                "TIERFLEET_ROUTES_ENVIRONMENT_ID": self._route_table.environment_id,
                "TIERFLEET_ROUTES_PROFILE_ID": self._route_table.profile_id,
            },
            **options,
        )

    def _grant_gate(self) -> None:
        """The gate reads the next route document, the endpoint that it waits for, and the state of its stack. It
        gives a new multi-model endpoint as many instances as the old one has, sets the retention of the endpoint's
        logs, and may start its own next run. The route guard restores the routes."""
        config = self._config
        stack_name = cdk.Stack.of(self).stack_name
        role = self.gate_function.grant_principal
        self._route_table.grant_read_hosted(role)
        self._route_table.grant_take_back(role)
        iam.Grant.add_to_principal(
            grantee=role,
            actions=["sagemaker:DescribeEndpoint"],
            resource_arns=[arns.endpoint(config, f"{config.fleet}--{config.environment}--*")],
        )
        iam.Grant.add_to_principal(
            grantee=role,
            actions=["sagemaker:UpdateEndpointWeightsAndCapacities"],
            resource_arns=[arns.endpoint(config, f"{config.fleet}--{config.environment}--*--{ALL_TENANTS}--*")],
        )
        iam.Grant.add_to_principal(
            grantee=role,
            actions=["logs:CreateLogGroup", "logs:PutRetentionPolicy"],
            resource_arns=[arns.endpoint_logs(config, f"{config.fleet}--{config.environment}--*")],
        )
        # In the function's policy. The role's policy would need the function's ARN, which waits for the role.
        self.gate_function.add_permission("NextRun", principal=role, action="lambda:InvokeFunction")
        iam.Grant.add_to_principal(
            grantee=role,
            actions=["cloudformation:DescribeStacks"],
            resource_arns=[arns.stacks(config, stack_name)],
        )

    def _failure_alarm(self, audience: AlarmAudience, undelivered: Mapping[str, Metric]) -> None:
        """`undelivered`: what Scheduler and EventBridge could not deliver to Lambda, by its name in the expression."""
        name = self.function.function_name
        inputs = {
            "failed": fleet_metric(self._config, metrics.WARM_UP_FAILED),
            "left": fleet_metric(self._config, metrics.WARM_UP_LEFT),
            "errors": function_metric(name, "Errors"),
            # Lambda drops a schedule or event that has waited for five minutes while another run was under way.
            # docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
            "dropped": function_metric(name, "AsyncEventsDropped"),
            **undelivered,
        }
        spec = AlarmSpec(
            id="Failures",
            watches=MetricMath(" + ".join(f"FILL({word}, 0)" for word in inputs), "models not warmed", inputs),
            threshold=0,
            period_seconds=300,
            # Two periods: FILL would count a datapoint that arrives late as a zero.
            datapoints=(1, 2),
            meaning="Models could not be warmed: their callers meet a cold start.",
            section="warm-up",
        )
        add_alarm(self, spec, audience)

    def _running_alarm(self, audience: AlarmAudience) -> Any:
        spec = AlarmSpec(
            id="Running",
            # Printed when a run begins: Lambda publishes its own Invocations only when the run is over.
            watches=fleet_metric(self._config, metrics.WARM_UP_STARTED),
            comparison="GreaterThanOrEqualToThreshold",
            threshold=1,
            period_seconds=300,
            # A run ends within 15 minutes of its start.
            datapoints=(1, 3),
            meaning="A warm-up runs: cache alarms keep silent meanwhile. Not an incident.",
            section="warm-up",
        )
        return add_alarm(self, spec, audience, actions=())
