"""A multi-container endpoint."""

from typing import Any

import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from synthesis import AUDIENCE, BUCKET, ROLE_ARN, alarm, only, resources, template_of

from constructs_lib.hosting.multi_container_endpoint import MultiContainerEndpoint
from local_cloud.testing.fleets import CONFIG, fleet
from tierfleet.config import load
from tierfleet.config.hosting.multi_container import MultiContainerTier
from tierfleet.config.published_metrics import PUBLISHED_OF_CONTAINERS
from tierfleet.config.template_size import root_resources
from tierfleet.cost.resource_counts import endpoint_alarms

NAME = "shop--test--trio--c1--mce-m5-large"
OWN_IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/velocity:1"


def trio_tier(**changes: Any) -> dict[str, Any]:
    return {
        "hosting": "multi-container",
        "instance_type": "ml.m5.large",
        "instances": {"min": 2, "max": 4, "initial": 2},
        "scaling": {"max_requests_per_second": 60},
        "alarms": {"max_model_latency_p99_milliseconds": 100, "max_container_cpu_percent": 70},
        "tenants": {
            "c1": {
                "primary": "velocity",
                "containers": [
                    {
                        "hostname": "velocity",
                        "image": OWN_IMAGE,
                        "model": "c1/velocity-2.tar.gz",
                        "environment": {"OMP_NUM_THREADS": "1"},
                        "max_average_latency_milliseconds": 10,
                    },
                    {
                        "hostname": "card-present",
                        "image": "sagemaker-xgboost",
                        "version": "1.7-1",
                        "model": "c1/card-1.tar.gz",
                    },
                ],
            }
        },
        **changes,
    }


def trio_template(tier: dict[str, Any] | None = None, **changes: Any) -> Template:
    config = fleet(tiers={"trio": tier or trio_tier()}, **changes)
    settings = config.tiers["trio"]
    assert isinstance(settings, MultiContainerTier)

    def build(stack: Any) -> None:
        endpoint = MultiContainerEndpoint(
            stack,
            "Trio",
            config=config,
            tier_name="trio",
            tier=settings,
            tenant="c1",
            image_uris=["image-of-card", "image-of-velocity"],
            execution_role=iam.Role.from_role_arn(stack, "Role", ROLE_ARN),
            audience=AUDIENCE,
        )
        user = iam.User(stack, "Caller")
        endpoint.grant_invoke(user)

    return template_of(config, build)


@pytest.fixture(scope="module")
def plain() -> Template:
    return trio_template()


def test_the_model_has_every_container_by_hostname_in_direct_mode(plain: Template) -> None:
    model = only(plain, "AWS::SageMaker::Model")
    assert model["InferenceExecutionConfig"] == {"Mode": "Direct"}
    assert "PrimaryContainer" not in model
    card, velocity = model["Containers"]
    assert card == {
        "ContainerHostname": "card-present",
        "Image": "image-of-card",
        "Mode": "SingleModel",
        "ModelDataUrl": f"s3://{BUCKET}/models/c1/card-1.tar.gz",
    }
    assert (velocity["ContainerHostname"], velocity["Environment"]) == ("velocity", {"OMP_NUM_THREADS": "1"})


def test_endpoint_and_scaling_are_those_of_a_dedicated_endpoint(plain: Template) -> None:
    endpoint = only(plain, "AWS::SageMaker::Endpoint")
    assert endpoint["EndpointName"] == NAME
    assert endpoint["RetainAllVariantProperties"] is True
    assert "BlueGreenUpdatePolicy" in endpoint["DeploymentConfig"]
    policy = only(plain, "AWS::ApplicationAutoScaling::ScalingPolicy")
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 60 * 0.5 * 60
    assert tracking["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
    }


def test_each_container_has_an_alarm_on_its_latency_and_on_its_cpu(plain: Template) -> None:
    own = {}
    for resource in resources(plain, "AWS::CloudWatch::Alarm").values():
        properties = resource["Properties"]
        dimensions = {item["Name"]: item["Value"] for item in properties.get("Dimensions", [])}
        if hostname := dimensions.get("ContainerName"):
            assert dimensions == {"EndpointName": NAME, "VariantName": "AllTraffic", "ContainerName": hostname}
            published = PUBLISHED_OF_CONTAINERS["multi-container"][properties["MetricName"]]
            assert properties["Namespace"] == published.namespace
            assert properties["Statistic"] in published.statistics
            own[hostname, properties["MetricName"]] = properties["Threshold"]
    assert own == {
        ("card-present", "ContainerLatency"): 100_000,
        ("card-present", "CPUUtilization"): 140,
        ("velocity", "ContainerLatency"): 10_000,
        ("velocity", "CPUUtilization"): 140,
    }
    assert "of velocity is above 10 ms" in alarm(plain, contains="of velocity")["AlarmDescription"]


def test_the_alarms_of_the_endpoint_are_those_of_a_dedicated_one(plain: Template) -> None:
    alarms = [resource["Properties"] for resource in resources(plain, "AWS::CloudWatch::Alarm").values()]
    config = fleet(tiers={"trio": trio_tier()})
    assert len(alarms) == 6 + 2 * 2 == endpoint_alarms(config.tiers["trio"], "c1").alarms
    assert alarm(plain, section="model-latency")["Threshold"] == 100_000


def test_callers_are_granted_the_whole_endpoint_without_an_unproven_condition(plain: Template) -> None:
    (statement,) = only(plain, "AWS::IAM::Policy")["PolicyDocument"]["Statement"]
    assert statement["Action"] == "sagemaker:InvokeEndpoint"
    assert "Condition" not in statement
    assert str(statement["Resource"]).count("shop--test--trio--c1--*") == 1


def test_the_order_of_the_containers_in_the_file_changes_no_template(plain: Template) -> None:
    turned = trio_tier()
    turned["tenants"]["c1"]["containers"].reverse()
    assert trio_template(turned).to_json() == plain.to_json()


def test_the_role_pulls_each_image_and_reads_the_tenants_models_only(templates: dict[str, dict[str, Any]]) -> None:
    (nested,) = (t for name, t in templates.items() if name.startswith("showcasedevFleet") and "Whalesm12" in name)
    (role,) = (r["Properties"] for r in nested["Resources"].values() if r["Type"] == "AWS::IAM::Role")
    statements = {s["Sid"]: s for s in role["Policies"][0]["PolicyDocument"]["Statement"]}
    assert str(statements["ReadModels"]["Resource"]).endswith("/models/m12/*")
    assert str(statements["PullImage"]["Resource"]).count("repository/sagemaker-xgboost") == 1


def test_the_counts_of_resources_are_those_of_the_showcase(templates: dict[str, dict[str, Any]]) -> None:
    config = load(CONFIG / "showcase-dev.toml")
    counts = {name: len(t["Resources"]) for name, t in templates.items() if name.startswith("showcasedevFleet")}
    (nested,) = [name for name in counts if "Whalesm12" in name]
    (root,) = [name for name in counts if "Whales" not in name]
    assert counts[nested] == config.tiers["trio"].stack_resources("m12")
    assert counts[root] == root_resources(config.tiers)
