"""What cdk-nag's AwsSolutions rules find and we mean so: each finding of each construct with its reason.

An acknowledgement names the finding to the letter, so a second wildcard next to a listed one is still an error.
"""

from collections.abc import Iterator

import aws_cdk as cdk
from constructs import IConstruct

from constructs_lib import arns
from constructs_lib.execution_role import ExecutionRole
from constructs_lib.hosting.async_store import AsyncStore
from constructs_lib.model_store import ModelStore
from constructs_lib.routes.table import RouteTable
from constructs_lib.warm_up import WarmUp
from tierfleet.config import FleetConfig
from tierfleet.runtime.names import ALL_TENANTS, CATALOG_PREFIX, ROUTES_PREFIX, async_prefix

Reasons = dict[str, str]


def acknowledge(stage: cdk.Stage, config: FleetConfig) -> None:
    """Acknowledge the findings of one fleet, each at the construct it is found in."""
    for construct, acknowledgment in acknowledgements(stage, config):
        cdk.Validations.of(construct).acknowledge(acknowledgment)


def acknowledgements(stage: cdk.Stage, config: FleetConfig) -> Iterator[tuple[IConstruct, cdk.Acknowledgment]]:
    """Every finding that is meant so, with the construct it is found in."""
    for construct, reasons in _reasons(stage, config):
        for finding, reason in reasons.items():
            yield construct, cdk.Acknowledgment(id=f"AwsSolutions-{finding}", reason=reason)


def _reasons(stage: cdk.Stage, config: FleetConfig) -> Iterator[tuple[IConstruct, Reasons]]:
    constructs = stage.node.find_all()
    route_tables = [construct for construct in constructs if isinstance(construct, RouteTable)]
    for construct in constructs:
        if isinstance(construct, ModelStore):
            yield construct, _model_store()
        elif isinstance(construct, AsyncStore):
            yield construct, _async_store()
        elif isinstance(construct, ExecutionRole):
            yield construct, _execution_role(construct, config)
        elif isinstance(construct, WarmUp):
            [route_table] = route_tables
            yield construct, _warm_up(construct, route_table, config)
            if any(tier.warm_up for tier in config.multi_model_tiers.values()):
                # CDK keeps the role of all schedules at the stack, not at the schedule.
                yield cdk.Stack.of(construct), _schedules(construct)


def _model_store() -> Reasons:
    return {
        "S1": (
            "Server access logs need a second bucket that grows for ever. Who reads a model is known: the endpoints' "
            "role; CloudTrail data events are the account owner's choice."
        )
    }


def _async_store() -> Reasons:
    return {
        **_model_store(),
        "SNS2": (
            "A message has ids and places in S3, no rows and no scores. A customer's key is one line of the fleet file."
        ),
    }


def _execution_role(role: ExecutionRole, config: FleetConfig) -> Reasons:
    return {
        **{
            _resource(f"{arns.models_bucket(config)}/{keys}"): (
                "A model is published without a deployment, and while an update runs both its versions are read. Read "
                "only."
            )
            for keys in role.model_keys
        },
        _resource("*"): (
            "ecr:GetAuthorizationToken, cloudwatch:PutMetricData (bound to SageMaker's namespaces) and EC2's Describe "
            "calls for a VPC know no resource level."
        ),
        _resource(arns.ec2(config, "network-interface/*")): (
            "SageMaker makes the interfaces; they are bound to the fleet's subnets and security groups."
        ),
        **{
            _resource(arns.endpoint_logs(config, name)): (
                "SageMaker makes one log group per endpoint; while an endpoint is replaced there are two."
            )
            for name in role.endpoint_names
        },
        **{
            _resource(arns.alarm(config, name)): (
                "The guardrails read the rollback alarms; while an endpoint is replaced there are those of both."
            )
            for name in role.endpoint_names
        },
        **{
            _resource(f"{arns.async_bucket(config)}/{async_prefix('*', kind, tenant)}*"): (
                "The tenant's own requests and results, whose names are made up; while an endpoint is replaced there "
                "are those of two tiers."
            )
            for tenant in _async_tenants(config)
            if f"{config.fleet}--{config.environment}--*--{tenant}--*" in role.endpoint_names
            for kind in ("input", "output", "failure")
        },
    }


def _async_tenants(config: FleetConfig) -> list[str]:
    return [tenant for tier in config.tiers.values() if tier.hosting == "async" for tenant in tier.tenants]


def _warm_up(warm_up: WarmUp, route_table: RouteTable, config: FleetConfig) -> Reasons:
    stack = cdk.Stack.of(warm_up)
    application, environment, profile = (
        stack.resolve(token)["Ref"]
        for token in (route_table.application_id, route_table.environment_id, route_table.profile_id)
    )
    versions = f"application/<{application}>/configurationprofile/<{profile}>/hostedconfigurationversion/*"
    deployments = f"application/<{application}>/environment/<{environment}>/deployment/*"
    return {
        _resource(arns.appconfig(config, deployments)): (
            "The route guard stops or reverts the deployment that a rollback takes back, whose number exists only "
            "after it began."
        ),
        _resource(f"{arns.models_bucket(config)}/{CATALOG_PREFIX}*"): (
            "One pointer a tenant, written by every publish without a deployment. Read only."
        ),
        _resource(f"{arns.models_bucket(config)}/{ROUTES_PREFIX}*"): (
            "Parts of a large route document, named by their content: an older document may come back. Read only."
        ),
        _resource(arns.appconfig(config, versions)): (
            "The gate reads the newest version of this one profile, whose number exists only after the deployment "
            "began. Read only."
        ),
        _resource(arns.endpoint(config, f"{config.fleet}--{config.environment}--*--{ALL_TENANTS}--*")): (
            "The multi-model endpoints of this fleet: while a tier is retyped its old and its new one are warmed. No "
            "dedicated endpoint's name has this word."
        ),
        _resource(arns.endpoint(config, f"{config.fleet}--{config.environment}--*")): (
            "The gates of a promotion ask for endpoints that the same deployment makes. Read only."
        ),
        _resource(arns.endpoint_logs(config, f"{config.fleet}--{config.environment}--*")): (
            "The gates of a promotion set the retention of logs whose endpoints the same deployment makes."
        ),
        _resource(arns.stacks(config, stack.stack_name)): (
            "A stack's ARN ends in an id CloudFormation makes up, and nested stacks' names begin with their parent's. "
            "Read only."
        ),
    }


def _schedules(warm_up: WarmUp) -> Reasons:
    function = warm_up.function.node.default_child
    assert isinstance(function, cdk.CfnElement)
    return {
        _resource(f"<{cdk.Stack.of(warm_up).get_logical_id(function)}.Arn>:*"): (
            "CDK grants the schedules this one function with its versions; it has none."
        )
    }


def _resource(arn: str) -> str:
    return f"IAM5[Resource::{arn}]"
