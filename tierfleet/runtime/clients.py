"""boto3 clients with the retry mode and the timeouts stated, because the defaults differ between versions.

botocore 1.44 changed the default retry mode from legacy to standard, and Lambda's own boto3 may be either.
Session, region and endpoint URL come by boto3's own means: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and
AWS_ENDPOINT_URL_<SERVICE> keep working.
"""

from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_appconfig.client import AppConfigClient
    from mypy_boto3_appconfigdata.client import AppConfigDataClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sagemaker.client import SageMakerClient
    from mypy_boto3_sagemaker_runtime.client import SageMakerRuntimeClient

CONNECT_TIMEOUT_SECONDS: Final = 3
# SageMaker answers a cold call within 60 seconds, and says ModelNotReadyException if the model needs longer.
COLD_READ_TIMEOUT_SECONDS: Final = 70
CONTROL_READ_TIMEOUT_SECONDS: Final = 20
CONTROL_ATTEMPTS: Final = 4


def cold_path_client(*, connections: int, session: boto3.Session | None = None) -> "SageMakerRuntimeClient":
    """InvokeEndpoint for calls that may have to load a model first; connections: how many threads share it.

    It never retries: whoever calls knows its deadline and classifies the error (tierfleet.runtime.errors),
    and botocore retries ModelNotReadyException in one mode and not in the other.
    """
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=COLD_READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=connections,
    )
    client: SageMakerRuntimeClient = (session or boto3.Session()).client("sagemaker-runtime", config=config)
    return client


def s3_client(*, connections: int, session: boto3.Session | None = None) -> "S3Client":
    """The catalog's reader; connections: how many threads share it."""
    config = _control_config().merge(Config(max_pool_connections=connections))
    client: S3Client = (session or boto3.Session()).client("s3", config=config)
    return client


def appconfig_client(*, session: boto3.Session | None = None) -> "AppConfigClient":
    client: AppConfigClient = (session or boto3.Session()).client("appconfig", config=_control_config())
    return client


def appconfigdata_client(*, session: boto3.Session | None = None) -> "AppConfigDataClient":
    client: AppConfigDataClient = (session or boto3.Session()).client("appconfigdata", config=_control_config())
    return client


def sagemaker_client(*, session: boto3.Session | None = None) -> "SageMakerClient":
    client: SageMakerClient = (session or boto3.Session()).client("sagemaker", config=_control_config())
    return client


def cloudformation_client(*, session: boto3.Session | None = None) -> Any:
    """Untyped: one call of it does not pay for another package of type stubs."""
    return (session or boto3.Session()).client("cloudformation", config=_control_config())


def _control_config() -> Config:
    return Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=CONTROL_READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": CONTROL_ATTEMPTS},
    )
