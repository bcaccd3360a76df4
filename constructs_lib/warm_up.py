"""Loads models before they are called."""

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from constructs import Construct

from constructs_lib import arns
from constructs_lib.alarms import AlarmAudience, AlarmSpec, MetricMath, add_alarm
from constructs_lib.metric import Metric, fleet_metric, function_metric, rule_metric, schedule_group_metric
from constructs_lib.routes.table import RouteTable
from constructs_lib.warm_up_function import warm_up_code, warm_up_function
from tierfleet.config import FleetConfig, routes
from tierfleet.runtime import metrics
from tierfleet.runtime.names import ALL_TENANTS


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
        code = warm_up_code()
        # One change of an endpoint sends several events. Runs do not overlap, and the later ones find the models warm.
        # Lambda drops an event that has waited for five minutes, and reports it to no destination.
        self.function = warm_up_function(
            self,
            "Function",
            config=config,
            route_table=route_table,
            code=code,
            reserved_concurrent_executions=1,
            retry_attempts=0,
            max_event_age=cdk.Duration.minutes(5),
        )
        self.gate_function = warm_up_function(self, "GateFunction", config=config, route_table=route_table, code=code)
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
