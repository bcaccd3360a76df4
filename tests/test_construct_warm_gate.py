"""What stands between a new endpoint and the flip of the routes."""

import pytest
from aws_cdk import aws_lambda as lambda_
from aws_cdk.assertions import Template
from fleets import fleet
from synthesis import only, template_of

from constructs_lib.warm_gate import WarmGate

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:gate"


def gate_template(tier_name: str | None) -> Template:
    return template_of(
        fleet(),
        lambda stack: WarmGate(
            stack,
            "Gate",
            gate_function=lambda_.Function.from_function_arn(stack, "Function", FUNCTION),
            endpoint_name="endpoint",
            endpoint_config_name="config-1",
            tier_name=tier_name,
        ),
    )


@pytest.fixture(scope="module")
def shared() -> Template:
    return gate_template("tail")


def test_the_gate_asks_for_one_endpoint_with_one_configuration(shared: Template) -> None:
    gate = only(shared, "Custom::WarmGate")
    assert gate["ServiceToken"] == FUNCTION
    assert (gate["EndpointName"], gate["EndpointConfigName"], gate["Tier"]) == ("endpoint", "config-1", "tail")


def test_cloudformation_gives_the_gate_up_when_lambda_does(shared: Template) -> None:
    assert only(shared, "Custom::WarmGate")["ServiceTimeout"] == "900"


def test_the_gate_of_a_whale_warms_nothing() -> None:
    assert "Tier" not in only(gate_template(None), "Custom::WarmGate")
