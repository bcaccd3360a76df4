"""An asynchronous endpoint, its scaling, its rights, and the bucket and topics of its results."""

from collections import Counter
from typing import Any

import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from synthesis import AUDIENCE, BUCKET, ROLE_ARN, alarm, only, resources, template_of
from template_checks import check_template

from constructs_lib.execution_role import ExecutionRole
from constructs_lib.hosting.async_endpoint import AsyncEndpoint
from constructs_lib.hosting.async_rights import queue_statements
from constructs_lib.hosting.async_store import AsyncStore
from local_cloud.testing.fleets import CONFIG, fleet
from tierfleet.config import FleetConfig, load
from tierfleet.config.hosting.asynchronous import STACK_RESOURCES
from tierfleet.config.published_metrics import PUBLISHED

NAME = "shop--test--nightly--n1--async-m5-large"
ASYNC = "shop--test--async--123456789012--eu-west-1"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"
TOPIC_KEY = KEY.replace("0aa1", "0bb1")


def config_of(tier: dict[str, Any] | None = None, **changes: Any) -> FleetConfig:
    table = {
        "hosting": "async",
        "instance_type": "ml.m5.large",
        "instances": {"max": 3},
        "scaling": {"backlog_size_per_instance": 5},
        "tenants": {"n1": {"model": "n1/1.tar.gz"}},
        **(tier or {}),
    }
    return fleet(tiers={"nightly": table}, **changes)


def template(tier: dict[str, Any] | None = None, **changes: Any) -> Template:
    config = config_of(tier, **changes)

    def build(stack: Any) -> None:
        endpoint = AsyncEndpoint(
            stack,
            "Nightly",
            config=config,
            tier_name="nightly",
            tier=config.async_tiers["nightly"],
            tenant="n1",
            image_uris=["image"],
            execution_role=iam.Role.from_role_arn(stack, "Role", ROLE_ARN),
            audience=AUDIENCE,
        )
        endpoint.grant_submit(iam.User(stack, "Caller"))

    return template_of(config, build)


@pytest.fixture(scope="module")
def plain() -> Template:
    return template()


def test_the_template_passes_our_checks(plain: Template) -> None:
    findings = [finding for finding in check_template(plain.to_json()) if "Caller" not in finding]
    assert findings == []


def test_the_configuration_has_a_queue_with_paths_and_topics(plain: Template) -> None:
    model, config = only(plain, "AWS::SageMaker::Model"), only(plain, "AWS::SageMaker::EndpointConfig")
    assert model["PrimaryContainer"]["ModelDataUrl"] == f"s3://{BUCKET}/models/n1/1.tar.gz"
    assert config["AsyncInferenceConfig"] == {
        "OutputConfig": {
            "S3OutputPath": f"s3://{ASYNC}/nightly/output/n1",
            "S3FailurePath": f"s3://{ASYNC}/nightly/failure/n1",
            "NotificationConfig": {
                "SuccessTopic": "arn:aws:sns:eu-west-1:123456789012:shop--test--async-success",
                "ErrorTopic": "arn:aws:sns:eu-west-1:123456789012:shop--test--async-error",
            },
        }
    }
    [variant] = config["ProductionVariants"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.m5.large", 1)
    assert only(plain, "AWS::SageMaker::Endpoint")["EndpointName"] == NAME


def test_concurrency_key_and_network_are_passed_on() -> None:
    keyed = template(
        {"max_concurrent_invocations_per_instance": 4}, encryption={"bucket_kms_key_arn": KEY}, network_isolation=True
    )
    queue = only(keyed, "AWS::SageMaker::EndpointConfig")["AsyncInferenceConfig"]
    assert queue["ClientConfig"] == {"MaxConcurrentInvocationsPerInstance": 4}
    assert queue["OutputConfig"]["KmsKeyId"] == KEY
    assert only(keyed, "AWS::SageMaker::Model")["EnableNetworkIsolation"] is True


def test_it_scales_with_the_backlog_to_zero_and_wakes_up_by_a_step_that_only_adds(plain: Template) -> None:
    target = only(plain, "AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 3)
    policies = {
        resource["Properties"]["PolicyName"]: (logical_id, resource["Properties"])
        for logical_id, resource in resources(plain, "AWS::ApplicationAutoScaling::ScalingPolicy").items()
    }
    tracking = policies["backlog"][1]["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["CustomizedMetricSpecification"] == {
        "Namespace": "AWS/SageMaker",
        "MetricName": "ApproximateBacklogSizePerInstance",
        "Statistic": "Average",
        "Dimensions": [{"Name": "EndpointName", "Value": NAME}],
    }
    assert (tracking["TargetValue"], "DisableScaleIn" in tracking) == (5, False)
    wake_up_id, wake_up = policies["wake-up"]
    assert wake_up["StepScalingPolicyConfiguration"]["StepAdjustments"] == [
        {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}
    ]
    waiting = alarm(plain, contains="scaling adds one")
    assert waiting["AlarmActions"] == [{"Ref": wake_up_id}]
    assert waiting.get("OKActions", []) == []
    assert (waiting["MetricName"], waiting["Threshold"], waiting["EvaluationPeriods"]) == (
        "HasBacklogWithoutCapacity", 1, 2
    )  # fmt: skip


def test_alarms_watch_only_what_is_published(plain: Template) -> None:
    watched: Counter[str] = Counter()
    for resource in resources(plain, "AWS::CloudWatch::Alarm").values():
        properties = resource["Properties"]
        metrics = [query["MetricStat"]["Metric"] for query in properties.get("Metrics", []) if "MetricStat" in query]
        for metric in metrics or [properties]:
            published = PUBLISHED["async"][metric["MetricName"]]
            assert tuple(dimension["Name"] for dimension in metric["Dimensions"]) == published.dimensions
            watched[metric["MetricName"]] += 1
    assert watched.total() == 11
    assert not {"Invocations", "InvocationsPerInstance", "OverheadLatency"} & watched.keys()


def test_a_bad_new_version_is_rolled_back_by_the_failure_ratio(plain: Template) -> None:
    endpoint = only(plain, "AWS::SageMaker::Endpoint")
    rollback = endpoint["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert rollback == [{"AlarmName": f"{NAME}--failures"}]
    policy = endpoint["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"


def test_the_caller_may_submit_and_read_its_own_results_only(plain: Template) -> None:
    [policy] = resources(plain, "AWS::IAM::Policy").values()
    statements = {
        statement["Action"]: (statement["Resource"], statement.get("Condition"))
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    }
    bucket = f"arn:aws:s3:::{ASYNC}"
    results = ["*/output/n1/*", "*/failure/n1/*"]
    assert statements == {
        "sagemaker:InvokeEndpointAsync": (
            "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/shop--test--nightly--n1--*", None
        ),
        "s3:PutObject": (f"{bucket}/*/input/n1/*", None),
        "s3:GetObject": ([f"{bucket}/{key}" for key in sorted(results)], None),
        "s3:ListBucket": (bucket, {"StringLike": {"s3:prefix": results}}),
    }  # fmt: skip


def test_the_role_reads_its_requests_writes_its_results_and_tells_the_topics() -> None:
    keys = {"bucket_kms_key_arn": KEY, "topic_kms_key_arn": TOPIC_KEY}
    config = config_of(encryption=keys)

    def build(stack: Any) -> None:
        ExecutionRole(
            stack,
            "Role",
            config=config,
            image_repository_arns=["arn:aws:ecr:eu-west-1:123456789012:repository/x"],
            tenant="n1",
            further_statements=queue_statements(config, "n1"),
        )

    role = only(template_of(config, build), "AWS::IAM::Role")
    statements = {s["Sid"]: s for s in role["Policies"][0]["PolicyDocument"]["Statement"]}
    assert statements["ReadRequests"]["Resource"] == f"arn:aws:s3:::{ASYNC}/*/input/n1/*"
    assert statements["WriteResults"]["Action"] == ["s3:AbortMultipartUpload", "s3:PutObject"]
    assert statements["TellOfResults"]["Resource"] == [
        f"arn:aws:sns:eu-west-1:123456789012:shop--test--async-{outcome}" for outcome in ("error", "success")
    ]
    assert statements["EncryptResults"]["Resource"] == sorted(keys.values())


def test_the_bucket_expires_what_each_tier_has_and_belongs_to_no_stack_without_one() -> None:
    config = config_of({"expire_after_days": 30}, encryption={"topic_kms_key_arn": TOPIC_KEY}, retain=False)
    store = template_of(config, lambda stack: AsyncStore(stack, "Async", config=config))
    [bucket] = resources(store, "AWS::S3::Bucket").values()
    assert bucket["Properties"]["BucketName"] == ASYNC
    [rule] = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    assert (rule["Prefix"], rule["ExpirationInDays"]) == ("nightly/", 30)
    assert bucket["DeletionPolicy"] == "Delete"
    topics = resources(store, "AWS::SNS::Topic").values()
    assert sorted(topic["Properties"]["TopicName"] for topic in topics) == [
        "shop--test--async-error", "shop--test--async-success"
    ]  # fmt: skip
    assert {topic["Properties"]["KmsMasterKeyId"] for topic in topics} == {TOPIC_KEY}


def test_the_count_of_resources_is_that_of_the_showcase() -> None:
    showcase = load(CONFIG / "showcase-dev.toml")
    assert showcase.tiers["backfill"].stack_resources("m08") == STACK_RESOURCES
