"""Models and endpoint configurations, as tests create them."""

from typing import Any

from local_cloud.testing.account import Account
from local_cloud.testing.fleet_template import IMAGE, ROLE_ARN


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
