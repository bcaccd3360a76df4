"""Asynchronous endpoints on real containers: results in S3, notifications, concurrency, scaling to zero and back."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud import LocalCloud, start
from local_cloud.testing.account import error_of
from local_cloud.testing.served_account import IMAGE, ROLE, ROW, Served, score

_accounts = itertools.count(520000000001)
VARIANT = "AllTraffic"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("async"), serving="models") as running:
        yield running


class Queued:
    """One asynchronous endpoint, its bucket, and a queue that its topics feed."""

    def __init__(self, served: Served, name: str, *, rounds: int = 3, concurrency: int = 2, **config: Any) -> None:
        self.served, self.name, self.account = served, name, served.account
        self.s3, self.sqs = self.account.client("s3"), self.account.client("sqs")
        sns = self.account.client("sns")
        self.queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topics = [sns.create_topic(Name=f"{name}-{outcome}")["TopicArn"] for outcome in ("success", "error")]
        for topic in topics:
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
        served.publish(**{name: rounds})
        served.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{self.account.bucket}/models/{name}.tar.gz"},
        )
        base = f"s3://{self.account.bucket}/{name}"
        output: Any = {
            "S3OutputPath": f"{base}/output",
            "S3FailurePath": f"{base}/failure",
            "NotificationConfig": {"SuccessTopic": topics[0], "ErrorTopic": topics[1]},
        }
        variant: Any = {
            "VariantName": VARIANT, "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1
        }  # fmt: skip
        served.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[variant],
            AsyncInferenceConfig={
                "OutputConfig": output,
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": concurrency},
                **config,
            },
        )
        served.create(name, name)

    def submit(self, body: bytes | None = ROW, **request: Any) -> Any:
        given = {} if body is None else {"Body": body}
        return self.served.runtime.invoke_endpoint_async(
            EndpointName=self.name, ContentType="text/csv", **given, **request
        )

    def read(self, location: str) -> bytes | None:
        bucket, _, key = location.removeprefix("s3://").partition("/")
        try:
            content: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError:
            return None
        return content

    def result(self, answer: Any) -> bytes:
        return self._eventually(lambda: self.read(answer["OutputLocation"]))

    def failure(self, answer: Any) -> bytes:
        return self._eventually(lambda: self.read(answer["FailureLocation"]))

    def notification(self) -> Any:
        messages: list[Any] = []

        def received() -> bool:
            messages.extend(self.sqs.receive_message(QueueUrl=self.queue).get("Messages", ()))
            return bool(messages)

        self.served.wait_for(received)
        return json.loads(messages[0]["Body"])

    def instances(self) -> int:
        return int(self.served.describe(self.name)["ProductionVariants"][0]["CurrentInstanceCount"])

    def _eventually(self, read: Callable[[], bytes | None]) -> bytes:
        contents: list[bytes] = []

        def there() -> bool:
            content = read()
            if content is not None:
                contents.append(content)
            return content is not None

        self.served.wait_for(there)
        return contents[0]


def test_a_result_is_an_object_and_a_notification(served: Served) -> None:
    endpoint = Queued(served, "nightly")
    answer = endpoint.submit()
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert float(endpoint.result(answer)) == pytest.approx(score(3), abs=1e-5)
    told = endpoint.notification()
    assert (told["eventName"], told["invocationStatus"]) == ("InferenceResult", "Completed")
    assert told["inferenceId"] == answer["InferenceId"]
    assert told["responseParameters"]["outputLocation"] == answer["OutputLocation"]
    assert endpoint.read(answer["FailureLocation"]) is None

    served.account.upload("nightly/input/rows", ROW + b"\n" + ROW)
    location = f"s3://{served.account.bucket}/nightly/input/rows"
    extension = endpoint.submit(None, InputLocation=location, S3OutputPathExtension="run-1", Filename="rows.out")
    assert extension["OutputLocation"].endswith("/nightly/output/run-1/rows.out")
    assert len(endpoint.result(extension).split()) == 2
    assert endpoint.notification()["requestParameters"]["inputLocation"] == location


def test_a_failure_is_an_object_with_the_containers_reply_and_a_notification(served: Served) -> None:
    endpoint = Queued(served, "wrong")
    refused = endpoint.submit(b"not,numbers")
    assert b"not" in endpoint.failure(refused)
    assert endpoint.read(refused["OutputLocation"]) is None
    assert endpoint.notification()["invocationStatus"] == "Failed"
    missing = endpoint.submit(None, InputLocation=f"s3://{served.account.bucket}/wrong/input/none")
    assert b"Amazon S3 did not give" in endpoint.failure(missing)


def test_an_instance_works_on_as_many_requests_as_configured(served: Served) -> None:
    endpoint = Queued(served, "paced", concurrency=2)
    served.faults(slow_model_server=[{"endpoint": "paced", "milliseconds": 1000}])
    answers = [endpoint.submit() for _ in range(5)]
    most = 0

    def finished() -> bool:
        nonlocal most
        most = max(most, *(row["in_flight"] for row in served.instances("paced")))
        return all(endpoint.read(answer["OutputLocation"]) for answer in answers)

    served.wait_for(finished)
    assert most == 2


def test_a_request_whose_instance_dies_is_run_again(served: Served) -> None:
    endpoint = Queued(served, "killed")
    served.faults(slow_model_server=[{"endpoint": "killed", "milliseconds": 700}])
    answer = endpoint.submit()
    served.wait_for(lambda: bool(served.instances("killed")[0]["in_flight"]))
    served.cloud.admin("faults", {"kill_instance": {"endpoint": "killed"}})
    assert float(endpoint.result(answer)) == pytest.approx(score(3), abs=1e-5)


def scale(endpoint: Queued) -> None:
    """The scaling of constructs_lib/hosting/async_scaling.py."""
    autoscaling = endpoint.account.client("application-autoscaling")
    target: Any = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint.name}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    autoscaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=2)
    metric = {
        "Namespace": "AWS/SageMaker",
        "MetricName": "ApproximateBacklogSizePerInstance",
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint.name}],
        "Statistic": "Average",
    }
    autoscaling.put_scaling_policy(
        **target,
        PolicyName="backlog",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 5, "CustomizedMetricSpecification": metric},
    )
    step = {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}
    policy = autoscaling.put_scaling_policy(
        **target,
        PolicyName="wake-up",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity", "Cooldown": 300, "StepAdjustments": [step]
        },
    )  # fmt: skip
    endpoint.account.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{endpoint.name}-waiting",
        **{**metric, "MetricName": "HasBacklogWithoutCapacity"},
        Period=60,
        EvaluationPeriods=2,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="missing",
        AlarmActions=[policy["PolicyARN"]],
    )


def test_an_empty_queue_has_no_instance_and_a_request_wakes_it_up(served: Served) -> None:
    endpoint = Queued(served, "asleep")
    scale(endpoint)
    # A queue that never had a request publishes nothing.
    assert metrics_of(endpoint) == set()
    endpoint.result(endpoint.submit())

    def advanced_until(instances: int) -> bool:
        served.cloud.admin("clock", {"advance_seconds": 120})
        return endpoint.instances() == instances

    served.wait_for(lambda: advanced_until(0))
    served.wait_for(lambda: not served.instances("asleep"))
    answer = endpoint.submit()
    assert endpoint.read(answer["OutputLocation"]) is None
    served.wait_for(lambda: advanced_until(1))
    assert float(endpoint.result(answer)) == pytest.approx(score(3), abs=1e-5)
    published = metrics_of(endpoint)
    assert {"ApproximateBacklogSize", "HasBacklogWithoutCapacity", "InvocationsProcessed", "TimeInBacklog"} <= published
    assert not {"Invocations", "InvocationsPerInstance", "OverheadLatency"} & published


def metrics_of(endpoint: Queued) -> set[str]:
    endpoint.served.cloud.admin("clock", {"advance_seconds": 60})
    pages = endpoint.account.client("cloudwatch").get_paginator("list_metrics").paginate()
    return {
        metric["MetricName"]
        for page in pages
        for metric in page["Metrics"]
        if {"Name": "EndpointName", "Value": endpoint.name} in metric["Dimensions"]
        and metric["Namespace"] == "AWS/SageMaker"
    }


def test_calls_and_submissions_are_told_apart(served: Served) -> None:
    endpoint = Queued(served, "queue")
    code, message = error_of(lambda: served.invoke("queue"))
    assert (code, "only supports asynchronous" in message) == ("ValidationError", True)
    served.publish(own=2)
    served.config("own", "own.tar.gz")
    served.create("own", "own")

    def submit(**request: Any) -> Any:
        return served.runtime.invoke_endpoint_async(**{"EndpointName": "queue", "Body": ROW, **request})

    code, message = error_of(lambda: submit(EndpointName="own"))
    assert (code, "does not support asynchronous" in message) == ("ValidationError", True)
    code, message = error_of(lambda: submit(EndpointName="none"))
    assert (code, "not found" in message) == ("ValidationError", True)
    both = f"s3://{endpoint.account.bucket}/x"
    assert "Exactly one" in error_of(lambda: submit(InputLocation=both))[1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"container": {"Mode": "MultiModel"}}, "multi-model containers"),
        ({"output": {"S3OutputPath": "https://x"}}, "not s3://"),
    ],
)
def test_what_asynchronous_inference_does_not_support_is_refused(
    served: Served, change: dict[str, Any], why: str
) -> None:
    served.publish(wrong=1)
    url = f"s3://{served.account.bucket}/models/{'' if 'container' in change else 'wrong.tar.gz'}"
    container: Any = {"Image": IMAGE, "ModelDataUrl": url, **change.get("container", {})}
    served.sagemaker.create_model(ModelName="wrong", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant: Any = {"VariantName": VARIANT, "ModelName": "wrong", "InstanceType": "ml.m5.large"}
    variant |= {"InitialInstanceCount": 1}
    queue: Any = {"OutputConfig": {"S3OutputPath": "s3://b/x", **change.get("output", {})}}
    with pytest.raises(ClientError, match=why):
        served.sagemaker.create_endpoint_config(
            EndpointConfigName="wrong",
            ProductionVariants=[variant],
            AsyncInferenceConfig=queue,
        )
