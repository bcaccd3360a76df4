"""A stand-in that was reset is as empty as a new one."""

from local_account import Account
from test_local_alarms import put_alarm
from test_local_models import create_config, create_model


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
