"""A serverless endpoint."""

from collections import Counter
from typing import Any

import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from synthesis import AUDIENCE, BUCKET, ROLE_ARN, alarm, only, resources, template_of

from constructs_lib.hosting.serverless_endpoint import ServerlessEndpoint
from local_cloud.testing.fleets import CONFIG, fleet, serverless_tier
from tierfleet.config import load
from tierfleet.config.hosting.serverless import STACK_RESOURCES
from tierfleet.config.published_metrics import PUBLISHED
from tierfleet.config.template_size import root_resources

NAME = "shop--test--rare--r1--serverless"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"


def serverless_template(tier: dict[str, Any] | None = None, **changes: Any) -> Template:
    table = serverless_tier(**(tier or {}))
    config = fleet(network_isolation=False, routes={"bake_minutes": 7}, tiers={"rare": table}, **changes)

    def build(stack: Any) -> None:
        ServerlessEndpoint(
            stack,
            "Rare",
            config=config,
            tier_name="rare",
            tier=config.serverless_tiers["rare"],
            tenant="r1",
            image_uris=["image"],
            execution_role=iam.Role.from_role_arn(stack, "Role", ROLE_ARN),
            audience=AUDIENCE,
        )

    return template_of(config, build)


@pytest.fixture(scope="module")
def plain() -> Template:
    return serverless_template()


def test_the_model_is_the_pinned_artefact_without_vpc_and_isolation(plain: Template) -> None:
    model = only(plain, "AWS::SageMaker::Model")
    assert model["PrimaryContainer"]["Mode"] == "SingleModel"
    assert model["PrimaryContainer"]["ModelDataUrl"] == f"s3://{BUCKET}/models/r1/1.tar.gz"
    assert not {"VpcConfig", "EnableNetworkIsolation"} & model.keys()


def test_the_variant_has_a_serverless_config_and_nothing_of_instances(plain: Template) -> None:
    config = only(plain, "AWS::SageMaker::EndpointConfig")
    (variant,) = config["ProductionVariants"]
    assert variant.pop("ModelName")
    assert variant == {
        "VariantName": "AllTraffic",
        "InitialVariantWeight": 1,
        "ServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 5},
    }
    assert config.keys() == {"ProductionVariants"}


def test_provisioned_concurrency_and_the_image_copys_key_are_passed_on() -> None:
    template = serverless_template({"provisioned_concurrency": 2}, encryption={"volume_kms_key_arn": KEY})
    config = only(template, "AWS::SageMaker::EndpointConfig")
    assert config["ProductionVariants"][0]["ServerlessConfig"]["ProvisionedConcurrency"] == 2
    assert config["KmsKeyId"] == KEY


def test_the_endpoint_has_no_guardrail_and_retains_nothing(plain: Template) -> None:
    assert only(plain, "AWS::SageMaker::Endpoint").keys() == {"EndpointName", "EndpointConfigName"}
    assert only(plain, "AWS::SageMaker::Endpoint")["EndpointName"] == NAME


def test_nothing_scales_it(plain: Template) -> None:
    assert not [kind for kind in resources_by_type(plain) if kind.startswith("AWS::ApplicationAutoScaling")]


def resources_by_type(template: Template) -> Counter[str]:
    return Counter(resource["Type"] for resource in template.to_json()["Resources"].values())


def test_every_alarm_watches_what_sagemaker_publishes_for_a_serverless_endpoint(plain: Template) -> None:
    alarms = [resource["Properties"] for resource in resources(plain, "AWS::CloudWatch::Alarm").values()]
    read = [
        (metric["MetricName"], metric["Namespace"])
        for properties in alarms
        for metric in [
            *([properties] if "MetricName" in properties else []),
            *(q["MetricStat"]["Metric"] for q in properties.get("Metrics", []) if "MetricStat" in q),
        ]
    ]
    assert len(alarms) == 7
    for name, namespace in read:
        assert PUBLISHED["serverless"][name].namespace == namespace
    assert not {"InvocationsPerInstance", "CPUUtilization", "DiskUtilization"} & {name for name, _ in read}


def test_the_limits_are_in_the_units_of_the_metrics() -> None:
    limits = {
        "max_model_latency_p99_milliseconds": 250,
        "max_concurrency_utilization": 0.5,
        "max_model_setup_seconds": 30,
        "max_overhead_latency_seconds": 90,
    }
    template = serverless_template({"alarms": limits})
    assert alarm(template, section="model-latency")["Threshold"] == 250_000
    concurrency = alarm(template, contains="50 % of max_concurrency")
    assert (concurrency["Threshold"], concurrency["Statistic"]) == (0.5, "Maximum")
    setup = alarm(template, contains="containers start slowly")
    assert (setup["Threshold"], setup["ExtendedStatistic"]) == (30_000_000, "p99")
    assert alarm(template, contains="cold start included")["Threshold"] == 90_000_000


def test_the_counts_of_resources_are_those_of_the_showcase(templates: dict[str, dict[str, Any]]) -> None:
    counts = {name: len(t["Resources"]) for name, t in templates.items() if name.startswith("showcasedevFleet")}
    (nested,) = [name for name in counts if "Whalesm07" in name]
    (root,) = [name for name in counts if "Whales" not in name]
    assert counts[nested] == STACK_RESOURCES
    assert counts[root] == root_resources(load(CONFIG / "showcase-dev.toml").tiers)
