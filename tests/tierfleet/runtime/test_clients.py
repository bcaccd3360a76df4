"""Clients state their retry mode, and find their endpoint by boto3's own means."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest

from tierfleet.runtime import clients


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    # Whatever the machine or the function's environment says must not change the retries.
    monkeypatch.setenv("AWS_RETRY_MODE", "legacy")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "9")
    return boto3.Session("test", "test", region_name="eu-west-1")


def test_the_cold_path_never_retries_and_waits_for_a_cold_load(session: boto3.Session) -> None:
    config = clients.cold_path_client(connections=32, session=session).meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 1}
    assert (config.connect_timeout, config.read_timeout) == (3, 70)
    assert config.max_pool_connections == 32


@pytest.mark.parametrize(
    "create",
    [
        clients.appconfig_client,
        clients.appconfigdata_client,
        clients.sagemaker_client,
        clients.cloudformation_client,
        lambda session: clients.s3_client(connections=32, session=session),
    ],
)
def test_control_clients_state_their_retries(create: Callable[..., Any], session: boto3.Session) -> None:
    config = create(session=session).meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 4}
    assert (config.connect_timeout, config.read_timeout) == (3, 20)


def test_the_s3_client_has_a_connection_per_thread(session: boto3.Session) -> None:
    assert clients.s3_client(connections=32, session=session).meta.config.max_pool_connections == 32


def test_the_endpoint_url_comes_from_boto3s_environment_variables(
    session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "http://127.0.0.1:8443")
    assert clients.sagemaker_client(session=session).meta.endpoint_url == "http://127.0.0.1:4566"
    runtime = clients.cold_path_client(connections=1, session=session)
    assert runtime.meta.endpoint_url == "http://127.0.0.1:8443"
