"""The gate between a new endpoint and the switch of the routes."""

import pytest
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk.assertions import Template
from synthesis import only, template_of

from constructs_lib.gates.warm_gate import WarmGate
from local_cloud.testing.fleets import fleet

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:gate"


def gate_template(tier_name: str | None) -> Template:
    return template_of(
        fleet(),
        lambda stack: WarmGate(
            stack,
            "Gate",
            gate_function=lambda_.Function.from_function_arn(stack, "Function", FUNCTION),
            endpoint=sagemaker.CfnEndpoint(stack, "Endpoint", endpoint_config_name="config-1"),
            endpoint_config_name="config-1",
            log_retention_days=90,
            tier_name=tier_name,
        ),
    )


@pytest.fixture(scope="module")
def shared() -> Template:
    return gate_template("tail")


def test_the_gate_asks_for_one_endpoint_with_one_configuration(shared: Template) -> None:
    gate = only(shared, "Custom::WarmGate")
    assert gate["ServiceToken"] == FUNCTION
    assert gate["EndpointName"] == {"Fn::GetAtt": ["Endpoint", "EndpointName"]}
    assert (gate["EndpointConfigName"], gate["Tier"]) == ("config-1", "tail")
    assert gate["LogRetentionDays"] == "90"


def test_the_gate_starts_when_the_endpoint_is_created_and_not_when_it_is_only_configured(shared: Template) -> None:
    shared.has_resource("Custom::WarmGate", {"DependsOn": ["Endpoint"]})


def test_cloudformation_waits_as_long_as_all_runs_of_the_gate_may_take(shared: Template) -> None:
    assert only(shared, "Custom::WarmGate")["ServiceTimeout"] == "3600"


def test_the_gate_of_a_whale_warms_nothing() -> None:
    assert "Tier" not in only(gate_template(None), "Custom::WarmGate")
