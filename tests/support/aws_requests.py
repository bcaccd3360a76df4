"""What many tests ask of AWS: models, endpoint configurations, alarms, functions, a stack of routes."""

import io
import zipfile
from typing import Any
from urllib.parse import urlparse

from local_cloud import LocalCloud
from local_cloud.testing.account import Account
from local_cloud.testing.fleet_template import IMAGE, ROLE_ARN, alarm, route_resources


def create_model(account: Account, name: str = "tail", **container: Any) -> Any:
    account.upload("models/m37/1.tar.gz")
    defaults = {"Image": IMAGE, "Mode": "MultiModel", "ModelDataUrl": f"s3://{account.bucket}/models/"}
    return account.client("sagemaker").create_model(
        ModelName=name, ExecutionRoleArn=ROLE_ARN, PrimaryContainer={**defaults, **container}
    )


def create_config(account: Account, name: str, model_name: str, **variant: Any) -> Any:
    defaults = {
        "VariantName": "AllTraffic",
        "ModelName": model_name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 2,
    }
    return account.client("sagemaker").create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[{**defaults, **variant}]
    )


def put_alarm(account: Account, name: str = "errors", **properties: Any) -> None:
    defaults: dict[str, Any] = {
        "Namespace": "Test",
        "MetricName": "Errors",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 5,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    if "Metrics" in properties:
        for single in ("Namespace", "MetricName", "Statistic", "Period"):
            del defaults[single]
    account.client("cloudwatch").put_metric_alarm(AlarmName=name, **{**defaults, **properties})


def put_composite(account: Account, rule: str, **properties: Any) -> None:
    account.client("cloudwatch").put_composite_alarm(AlarmName="any", AlarmRule=rule, **properties)


def port_of(cloud: LocalCloud) -> int:
    return int(urlparse(cloud.endpoint_url).port or 0)


def make_function(cloud: LocalCloud, code: str) -> None:
    """A function f of this code, with time for all tests."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.py", code)
    cloud.client("lambda").create_function(
        FunctionName="f",
        Runtime="python3.11",
        Timeout=600,
        Role="arn:aws:iam::000000000000:role/lambda-role",
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
    )


def routes_stack(document: dict[str, Any]) -> dict[str, Any]:
    """The AppConfig half of a fleet: a document, a monitor, a deployment that bakes."""
    return {"Resources": {"RouteErrors": alarm("route-errors", "Test", "Errors"), **route_resources(document, [])}}
