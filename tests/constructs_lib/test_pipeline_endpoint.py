"""A pipeline: one endpoint whose containers are called in order."""

from typing import Any

import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from synthesis import AUDIENCE, BUCKET, ROLE_ARN, alarm, only, resources, template_of

from constructs_lib.hosting.pipeline_endpoint import PipelineEndpoint
from local_cloud.testing.fleets import CONFIG, fleet
from tierfleet.config import FleetConfig, load, routes
from tierfleet.config.hosting.pipeline import PipelineTier
from tierfleet.config.published_metrics import PUBLISHED, PUBLISHED_OF_CONTAINERS
from tierfleet.config.template_size import nested_resources, root_resources, stack_resources

OWN = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/decisions:1"
STAGES: list[dict[str, Any]] = [
    {"name": "features", "image": OWN, "environment": {"STAGE": "features"}, "model": "words/1.tar.gz"},
    {"name": "score", "image": "tierfleet", "model": "tenant", "max_average_latency_milliseconds": 5},
    {"name": "decision", "image": OWN},
]
SHARED = {"name": "score", "image": "tierfleet", "mode": "MultiModel"}


def config_of(stages: list[dict[str, Any]], **tier: Any) -> FleetConfig:
    table = {
        "hosting": "pipeline",
        "instance_type": "ml.m5.large",
        "instances": {"min": 2, "max": 4, "initial": 2},
        "scaling": {"max_requests_per_second": 50},
        "alarms": {"max_model_latency_p99_milliseconds": 100},
        "stages": stages,
        "tenants": {"p1": {"model": "p1/1.tar.gz"}},
        **tier,
    }
    return fleet(network_isolation=False, tiers={"decided": table})


def pipeline_template(config: FleetConfig, tenant: str | None = "p1") -> Template:
    tier = config.tiers["decided"]
    assert isinstance(tier, PipelineTier)

    def build(stack: Any) -> None:
        PipelineEndpoint(
            stack,
            "Decided",
            config=config,
            tier_name="decided",
            tier=tier,
            tenant=tenant,
            image_uris=[f"image-of-{stage.name}" for stage in tier.stages],
            execution_role=iam.Role.from_role_arn(stack, "Role", ROLE_ARN),
            audience=AUDIENCE,
        )

    return template_of(config, build)


@pytest.fixture(scope="module")
def plain() -> Template:
    return pipeline_template(config_of(STAGES))


def test_the_model_has_the_stages_in_order_with_their_names_and_artefacts(plain: Template) -> None:
    model = only(plain, "AWS::SageMaker::Model")
    assert model["InferenceExecutionConfig"] == {"Mode": "Serial"}
    assert "PrimaryContainer" not in model
    assert model["Containers"] == [
        {
            "ContainerHostname": "features",
            "Image": "image-of-features",
            "Mode": "SingleModel",
            "ModelDataUrl": f"s3://{BUCKET}/models/words/1.tar.gz",
            "Environment": {"STAGE": "features"},
        },
        {
            "ContainerHostname": "score",
            "Image": "image-of-score",
            "Mode": "SingleModel",
            "ModelDataUrl": f"s3://{BUCKET}/models/p1/1.tar.gz",
        },
        {"ContainerHostname": "decision", "Image": "image-of-decision", "Mode": "SingleModel"},
    ]


def test_a_reorder_is_another_model_although_cloudformation_sees_the_same_containers(plain: Template) -> None:
    turned = pipeline_template(config_of(STAGES[::-1]))
    ids = [list(resources(template, "AWS::SageMaker::Model")) for template in (plain, turned)]
    assert ids[0] != ids[1]
    # Only the Model, and what names it: the endpoint keeps its logical id and its name.
    for kind in ("Endpoint", "EndpointConfig"):
        before, after = (resources(template, f"AWS::SageMaker::{kind}") for template in (plain, turned))
        assert before.keys() == after.keys()
    relabelled = pipeline_template(config_of([{**STAGES[0], "environment": {"STAGE": "other"}}, *STAGES[1:]]))
    assert list(resources(relabelled, "AWS::SageMaker::Model")) == ids[0]


def test_the_endpoint_has_a_guardrail_with_its_rollback_alarms(plain: Template) -> None:
    endpoint = only(plain, "AWS::SageMaker::Endpoint")
    name = "shop--test--decided--p1--pipeline-m5-large"
    assert endpoint["EndpointName"] == name
    rollback = endpoint["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert [each["AlarmName"] for each in rollback] == [f"{name}--model-latency", f"{name}--server-errors"]
    assert endpoint["RetainAllVariantProperties"] is True


def test_it_scales_on_calls(plain: Template) -> None:
    policy = only(plain, "AWS::ApplicationAutoScaling::ScalingPolicy")
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 50 * 0.5 * 60


def test_a_stage_with_a_limit_has_an_alarm_on_its_own_latency(plain: Template) -> None:
    watched = alarm(plain, section="pipeline-stage")
    assert (watched["MetricName"], watched["Statistic"], watched["Threshold"]) == ("ContainerLatency", "Average", 5_000)
    assert {each["Name"]: each["Value"] for each in watched["Dimensions"]}["ContainerName"] == "score"
    assert watched["AlarmName"].endswith("--stage-score-latency")


def test_no_name_of_a_stage_makes_two_alarms_of_one_name() -> None:
    words = ("model", "memory", "server-errors", "disk", "stage")
    stages = [{**STAGES[0], "name": word, "max_average_latency_milliseconds": 5} for word in words]
    template = pipeline_template(config_of([*stages, STAGES[1]]))
    names = [each["Properties"]["AlarmName"] for each in resources(template, "AWS::CloudWatch::Alarm").values()]
    assert len(set(names)) == len(names)


def test_every_alarm_watches_what_sagemaker_publishes_for_a_pipeline(plain: Template) -> None:
    for properties in (each["Properties"] for each in resources(plain, "AWS::CloudWatch::Alarm").values()):
        queries = [query["MetricStat"]["Metric"] for query in properties.get("Metrics", []) if "MetricStat" in query]
        for metric in queries or [properties]:
            of_container = any(dimension["Name"] == "ContainerName" for dimension in metric["Dimensions"])
            table = PUBLISHED_OF_CONTAINERS if of_container else PUBLISHED
            assert metric["Namespace"] == table["pipeline"][metric["MetricName"]].namespace


def test_a_multi_model_stage_is_one_endpoint_over_every_model() -> None:
    config = config_of([STAGES[0], SHARED], tenants={"p1": {}, "p2": {}})
    template = pipeline_template(config, tenant=None)
    first, second = only(template, "AWS::SageMaker::Model")["Containers"]
    assert first["ModelDataUrl"] == f"s3://{BUCKET}/models/words/1.tar.gz"
    assert (second["Mode"], second["ModelDataUrl"]) == ("MultiModel", f"s3://{BUCKET}/models/")
    assert only(template, "AWS::SageMaker::Endpoint")["EndpointName"] == routes.endpoint_name(config, "decided")
    (variant,) = only(template, "AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    assert "RoutingConfig" not in variant


def test_the_counts_of_resources_are_those_of_the_showcase(templates: dict[str, dict[str, Any]]) -> None:
    counts = {name: len(t["Resources"]) for name, t in templates.items() if name.startswith("showcasedevFleet")}
    tiers = load(CONFIG / "showcase-dev.toml").tiers
    root = counts.pop(min(counts, key=len))
    assert root == root_resources(tiers)
    assert sorted(counts.values()) == sorted(stack_resources(tiers))
    assert sum(counts.values()) == nested_resources(tiers)
