"""boto3 clients with explicit retry modes and timeouts, because the defaults differ between versions.

botocore 1.44 changed the default retry mode from legacy to standard, and Lambda's boto3 may be either.
Session, region and endpoint URL are resolved by boto3: AWS_PROFILE, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL and
AWS_ENDPOINT_URL_<SERVICE> work.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from tierfleet.runtime.time_limit import time_limit

if TYPE_CHECKING:
    from mypy_boto3_appconfig.client import AppConfigClient
    from mypy_boto3_appconfigdata.client import AppConfigDataClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sagemaker.client import SageMakerClient
    from mypy_boto3_sagemaker_runtime.client import SageMakerRuntimeClient

# In one Region a connection takes milliseconds. After this time the address is not reachable.
CONNECT_TIMEOUT_SECONDS: Final = 3
# SageMaker answers a cold call within 60 seconds; if the model needs longer, with ModelNotReadyException.
COLD_READ_TIMEOUT_SECONDS: Final = 70
CONTROL_READ_TIMEOUT_SECONDS: Final = 20
CONTROL_ATTEMPTS: Final = 4
# Routes and pointers are a few kilobytes, and a caller waits for them.
LOOKUP_READ_TIMEOUT_SECONDS: Final = 5
# One such request as a whole, however slow its reply.
LOOKUP_SECONDS: Final = CONNECT_TIMEOUT_SECONDS + LOOKUP_READ_TIMEOUT_SECONDS


@dataclass(frozen=True, kw_only=True)
class CallingClients:
    """FleetClient's AWS clients. They must not retry. appconfigdata: None without AppConfig."""

    runtime: "SageMakerRuntimeClient"
    s3: "S3Client"
    appconfigdata: "AppConfigDataClient | None" = None

    def close(self) -> None:
        for client in (self.runtime, self.s3, self.appconfigdata):
            if client is not None:
                client.close()

    def bound_in_time(self) -> None:
        """Limit every wait of their calls to the calling thread's time limit (time_limit.py)."""
        bound_in_time(self.runtime, self.s3, self.appconfigdata)


def cold_path_client(
    *,
    connections: int,
    read_timeout_seconds: float = COLD_READ_TIMEOUT_SECONDS,
    session: boto3.Session | None = None,
    endpoint_url: str | None = None,
) -> "SageMakerRuntimeClient":
    """A client for InvokeEndpoint calls that may load a model first. connections: how many threads share it.

    It never retries: the caller knows its deadline and classifies the error (tierfleet.runtime.aws_errors), and
    botocore retries ModelNotReadyException in only one mode.
    """
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=connections,
    )
    client: SageMakerRuntimeClient = (session or boto3.Session()).client(
        "sagemaker-runtime", config=config, endpoint_url=endpoint_url
    )
    return client


def s3_client(*, connections: int, session: boto3.Session | None = None, endpoint_url: str | None = None) -> "S3Client":
    """A client that reads the catalog. connections: how many threads share it."""
    config = _control_config().merge(Config(max_pool_connections=connections))
    client: S3Client = (session or boto3.Session()).client("s3", config=config, endpoint_url=endpoint_url)
    return client


def appconfig_client(*, session: boto3.Session | None = None) -> "AppConfigClient":
    client: AppConfigClient = (session or boto3.Session()).client("appconfig", config=_control_config())
    return client


def appconfigdata_client(
    *, session: boto3.Session | None = None, endpoint_url: str | None = None
) -> "AppConfigDataClient":
    client: AppConfigDataClient = (session or boto3.Session()).client(
        "appconfigdata", config=_control_config(), endpoint_url=endpoint_url
    )
    return client


def sagemaker_client(*, session: boto3.Session | None = None) -> "SageMakerClient":
    client: SageMakerClient = (session or boto3.Session()).client("sagemaker", config=_control_config())
    return client


def cloudformation_client(*, session: boto3.Session | None = None) -> Any:
    """Untyped: one call does not justify another package of type stubs."""
    return (session or boto3.Session()).client("cloudformation", config=_control_config())


def control_client(service: str, *, session: boto3.Session | None = None, endpoint_url: str | None = None) -> Any:
    """A client of any service for a few calls, untyped like `cloudformation_client`."""
    return (session or boto3.Session()).client(service, config=_control_config(), endpoint_url=endpoint_url)


def calling_clients(
    *,
    session: boto3.Session,
    region: str | None,
    read_timeout_seconds: float,
    connections: int,
    with_appconfigdata: bool = True,
    endpoint_url: str | None = None,
) -> CallingClients:
    """FleetClient's clients. connections: how many threads share them. region: by default the session's.
    endpoint_url: of all three services, instead of AWS's.

    None of them retries: tierfleet.runtime.client.retries does, within the call's deadline.
    """
    runtime = _calling_config(read_timeout_seconds, connections=connections)
    lookup = _calling_config(LOOKUP_READ_TIMEOUT_SECONDS, connections=connections)
    aws = CallingClients(
        runtime=session.client("sagemaker-runtime", region_name=region, config=runtime, endpoint_url=endpoint_url),
        s3=session.client("s3", region_name=region, config=lookup, endpoint_url=endpoint_url),
        appconfigdata=session.client("appconfigdata", region_name=region, config=lookup, endpoint_url=endpoint_url)
        if with_appconfigdata
        else None,
    )
    aws.bound_in_time()
    return aws


def bound_in_time(*aws_clients: Any) -> None:
    """Limit every wait of these clients' calls to the calling thread's time limit (time_limit.py)."""
    # Imported here: a process that only reads a pointer needs neither.
    from tierfleet.runtime.connections import guard
    from tierfleet.runtime.credentials import renew_aside

    for client in aws_clients:
        guard(client)
    renew_aside(*aws_clients)


def caller_account(session: boto3.Session, *, region: str | None) -> str:
    """The account of the session's credentials: the one that they name, else by one call of STS."""
    credentials = session.get_credentials()
    known: str | None = getattr(credentials, "account_id", None)
    if known:
        return known
    sts = session.client("sts", region_name=region, config=_calling_config(LOOKUP_READ_TIMEOUT_SECONDS, connections=1))
    bound_in_time(sts)
    try:
        with time_limit(LOOKUP_SECONDS):
            account: str = sts.get_caller_identity()["Account"]
    finally:
        sts.close()
    return account


def _calling_config(read_timeout_seconds: float, *, connections: int) -> Config:
    return Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=connections,
        # A load balancer drops idle connections silently; the next call would wait for its timeout.
        tcp_keepalive=True,
    )


def _control_config() -> Config:
    return Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=CONTROL_READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": CONTROL_ATTEMPTS},
    )
