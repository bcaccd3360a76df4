"""The clock is the wall clock until somebody moves it; Service Quotas answers with a new account's quotas."""

import time
from typing import Any

import pytest
from aws_requests import routes_stack
from rich.console import Console

from local_cloud import LocalCloud
from local_cloud.testing.account import Account, error_of
from local_cloud.testing.fleet_template import endpoint, endpoint_config, model
from tierfleet.cli.local.screen import fleet_screen
from tierfleet.local.status import FleetStatus


@pytest.fixture
def unmoved(cloud: LocalCloud) -> LocalCloud:
    """At the wall clock's time, whatever other tests have advanced it by."""
    ahead = cloud.admin("clock", {"mode": "skip"})["ahead_seconds"]
    assert ahead > -1  # the two clocks of one machine, read one after the other
    return cloud


def ahead(cloud: LocalCloud) -> float:
    return float(cloud.admin("clock")["ahead_seconds"])


def test_a_deployment_that_waits_does_not_move_the_clock(unmoved: LocalCloud, account: Account) -> None:
    before = ahead(unmoved)
    began = time.time()
    account.upload("models/m01.tar.gz")
    template = {
        "Resources": {
            "Model": model(f"s3://{account.bucket}/models/m01.tar.gz"),
            "Config": endpoint_config("Model", "ml.m5.large"),
            "Endpoint": endpoint("tail", "Config"),
        }
    }
    assert account.deploy(template) == "CREATE_COMPLETE"
    assert account.deploy(routes_stack({"version": 1}), "Routes") == "CREATE_COMPLETE"
    described = account.client("sagemaker").describe_endpoint(EndpointName="tail")
    account.client("sagemaker").delete_endpoint(EndpointName="tail")
    while "tail" in str(account.client("sagemaker").list_endpoints()["Endpoints"]):
        try:
            account.client("sagemaker").describe_endpoint(EndpointName="tail")
        except account.client("sagemaker").exceptions.ClientError:
            break
    ended = time.time()

    assert ahead(unmoved) == pytest.approx(before, abs=0.01)
    assert began - 1 <= described["CreationTime"].timestamp() - before <= ended + 1
    moments = [entry["time"] - before for entry in unmoved.admin(f"events?account={account.id}")]
    assert moments == sorted(moments)
    assert began - 1 <= moments[0] <= moments[-1] <= ended + 1
    appconfig = account.client("appconfig")
    application = appconfig.list_applications()["Items"][0]["Id"]
    environment = appconfig.list_environments(ApplicationId=application)["Items"][0]["Id"]
    (deployed,) = appconfig.list_deployments(ApplicationId=application, EnvironmentId=environment)["Items"]
    assert deployed["State"] == "COMPLETE"
    assert deployed["CompletedAt"].timestamp() - before <= ended + 1


def test_a_metric_is_there_when_it_is_asked_for_up_to_now(unmoved: LocalCloud, account: Account) -> None:
    account.put_metric("tierfleet", "RouteErrors", 3, Fleet="shop", Environment="test")
    now = time.time() + ahead(unmoved)
    answer = account.client("cloudwatch").get_metric_statistics(
        Namespace="tierfleet",
        MetricName="RouteErrors",
        Dimensions=[{"Name": "Fleet", "Value": "shop"}, {"Name": "Environment", "Value": "test"}],
        StartTime=now - 3600,
        EndTime=now + 60,
        Period=60,
        Statistics=["Sum"],
    )
    assert [point["Sum"] for point in answer["Datapoints"]] == [3.0]


def test_what_was_advanced_stays_and_is_told(unmoved: LocalCloud) -> None:
    before = ahead(unmoved)
    moved = unmoved.admin("clock", {"advance_seconds": 5400})
    assert moved["ahead_seconds"] == pytest.approx(before + 5400, abs=0.01)
    for mode in ("real", "skip"):
        assert unmoved.admin("clock", {"mode": mode})["ahead_seconds"] == pytest.approx(before + 5400, abs=0.01)
    shown = Console(width=200)
    with shown.capture() as capture:
        shown.print(fleet_screen(FleetStatus({}, (), (), {}, clock_ahead_seconds=5400.2), ()))
    assert "1:30:00 ahead of this machine's; its now is $(date -u -d '+5400 seconds' +%FT%TZ)" in capture.get()
    with shown.capture() as capture:
        shown.print(fleet_screen(FleetStatus({}, (), (), {}, clock_ahead_seconds=0.4), ()))
    assert "clock" not in capture.get()


@pytest.fixture
def quotas(account: Account) -> Any:
    return account.client("service-quotas")


def test_quotas_are_listed_in_pages_and_found_by_code(quotas: Any) -> None:
    pages = list(quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker"))
    listed = {quota["QuotaName"]: quota for page in pages for quota in page["Quotas"]}
    assert len(pages) > 1
    assert listed["Number of instances across active endpoints"]["Value"] == 4
    assert listed["ml.m6g.large for endpoint usage"]["Value"] == 2
    code = listed["ml.m5.xlarge for endpoint usage"]["QuotaCode"]
    for get in (quotas.get_service_quota, quotas.get_aws_default_service_quota):
        answer = get(ServiceCode="sagemaker", QuotaCode=code)["Quota"]
        assert (answer["QuotaName"], answer["Value"], answer["Adjustable"]) == (
            "ml.m5.xlarge for endpoint usage",
            0.0,
            True,
        )


def test_a_request_for_more_stays_pending_and_a_second_is_refused(quotas: Any) -> None:
    quota = quotas.list_service_quotas(ServiceCode="sagemaker", MaxResults=1)["Quotas"][0]
    named = {"ServiceCode": "sagemaker", "QuotaCode": quota["QuotaCode"]}
    requested = quotas.request_service_quota_increase(**named, DesiredValue=12)["RequestedQuota"]
    assert (requested["Status"], requested["DesiredValue"]) == ("PENDING", 12.0)
    again = error_of(quotas.request_service_quota_increase, **named, DesiredValue=14)
    assert again[0] == "ResourceAlreadyExistsException"
    history = quotas.list_requested_service_quota_change_history(ServiceCode="sagemaker")["RequestedQuotas"]
    assert [held["Id"] for held in history] == [requested["Id"]]
    assert quotas.get_requested_service_quota_change(RequestId=requested["Id"])["RequestedQuota"] == history[0]
    assert quotas.get_service_quota(**named)["Quota"]["Value"] == quota["Value"]


def test_unknown_services_quotas_and_pages_are_refused_with_aws_codes(quotas: Any) -> None:
    assert error_of(quotas.list_service_quotas, ServiceCode="ec2")[0] == "NoSuchResourceException"
    missing = error_of(quotas.get_service_quota, ServiceCode="sagemaker", QuotaCode="L-00000000")
    assert missing[0] == "NoSuchResourceException"
    paged = error_of(quotas.list_service_quotas, ServiceCode="sagemaker", NextToken="!")
    assert paged[0] == "InvalidPaginationTokenException"
    quota = quotas.list_service_quotas(ServiceCode="sagemaker", MaxResults=1)["Quotas"][0]
    less = error_of(
        quotas.request_service_quota_increase,
        ServiceCode="sagemaker",
        QuotaCode=quota["QuotaCode"],
        DesiredValue=quota["Value"],
    )
    assert less[0] == "IllegalArgumentException"
