"""A local emulator that was reset is as empty as a new one."""

from pathlib import Path

import pytest
from aws_requests import create_config, create_model, put_alarm
from botocore.exceptions import ClientError

from local_cloud import start
from local_cloud.testing.account import Account
from local_cloud.testing.served_account import Served


def test_a_reset_forgets_what_every_service_holds(account: Account) -> None:
    create_model(account)
    create_config(account, "config", "tail")
    sagemaker = account.client("sagemaker")
    sagemaker.create_endpoint(EndpointName="tail", EndpointConfigName="config")
    put_alarm(account, "errors")
    before = account.log()

    account.cloud.admin("reset", {})

    assert before != []
    assert account.log() == account.cloud.admin("invocations") == []
    assert account.client("s3").list_buckets()["Buckets"] == []
    assert account.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_models()["Models"] == []
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []


def test_a_reset_ends_the_instances(tmp_path: Path) -> None:
    with start(tmp_path / "state", serving="models", scale=0.0005) as cloud:
        served = Served(Account(cloud, "700000000001"))
        served.publish(m01=1)
        served.config("tail")
        served.create("tail", "tail")
        before = len(served.instances("tail"))
        with pytest.raises(ClientError):
            served.invoke("tail", "nobody")
        assert cloud.admin("errors") != []

        cloud.admin("reset", {})

        assert before == 1
        served.wait_for(lambda: cloud.admin("instances") == [])
        assert cloud.admin("errors") == []
