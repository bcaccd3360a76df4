"""AppConfig: deployments that bake, their monitor, and the sessions clients poll."""

import json
from typing import Any

import pytest
from aws_requests import routes_stack

from local_cloud.testing.account import Account, error_of
from local_cloud.testing.fleet_template import BAKE_MINUTES


def session(account: Account) -> str:
    return str(
        account.client("appconfigdata").start_configuration_session(
            ApplicationIdentifier="mini-dev",
            EnvironmentIdentifier="dev",
            ConfigurationProfileIdentifier="routes",
        )["InitialConfigurationToken"]
    )


def poll(account: Account, token: str) -> tuple[bytes, str]:
    """(body, next token)."""
    answer = account.client("appconfigdata").get_latest_configuration(ConfigurationToken=token)
    return answer["Configuration"].read(), answer["NextPollConfigurationToken"]


def deployment_states(account: Account) -> list[str]:
    appconfig = account.client("appconfig")
    application = appconfig.list_applications()["Items"][0]["Id"]
    environment = appconfig.list_environments(ApplicationId=application)["Items"][0]["Id"]
    items = appconfig.list_deployments(ApplicationId=application, EnvironmentId=environment)["Items"]
    return [item["State"] for item in sorted(items, key=lambda item: item["DeploymentNumber"])]


def deploying(account: Account, document: dict[str, Any], number: int) -> None:
    account.start_deploy(routes_stack(document))
    account.wait_for(lambda: len(account.log("ConfigurationDeploying")) == number)


def test_unchanged_configuration_has_an_empty_body(account: Account) -> None:
    """https://docs.aws.amazon.com/appconfig/2019-10-09/APIReference/API_appconfigdata_GetLatestConfiguration.html"""
    account.deploy(routes_stack({"version": 1}))

    first, token = poll(account, session(account))
    second, token = poll(account, token)
    account.deploy(routes_stack({"version": 2}))
    third, _ = poll(account, token)

    assert [first, second, third] == [b'{"version": 1}', b"", b'{"version": 2}']


def test_token_is_good_for_one_call(account: Account) -> None:
    """https://docs.aws.amazon.com/appconfig/2019-10-09/APIReference/API_appconfigdata_GetLatestConfiguration.html"""
    account.deploy(routes_stack({"version": 1}))
    token = session(account)
    poll(account, token)

    assert error_of(poll, account=account, token=token)[0] == "BadRequestException"


def test_session_needs_an_existing_profile(account: Account) -> None:
    """https://docs.aws.amazon.com/appconfig/2019-10-09/APIReference/API_appconfigdata_StartConfigurationSession.html"""
    account.deploy(routes_stack({"version": 1}))

    code, _ = error_of(
        account.client("appconfigdata").start_configuration_session,
        ApplicationIdentifier="mini-dev",
        EnvironmentIdentifier="dev",
        ConfigurationProfileIdentifier="absent",
    )

    assert code == "ResourceNotFoundException"


def test_resource_completes_when_the_bake_is_over(account: Account) -> None:
    """https://docs.aws.amazon.com/appconfig/latest/userguide/appconfig-creating-deployment-strategy.html"""
    account.stop_clock()
    deploying(account, {"version": 1}, 1)

    account.advance(BAKE_MINUTES * 60 - 1)
    baking = (account.status(), deployment_states(account))
    account.advance(2)

    assert baking == ("CREATE_IN_PROGRESS", ["BAKING"])
    assert account.settle() == "CREATE_COMPLETE"
    assert deployment_states(account) == ["COMPLETE"]


@pytest.mark.parametrize("bad_state", ["ALARM", "INSUFFICIENT_DATA"])
def test_monitor_rolls_the_deployment_and_the_stack_back(account: Account, bad_state: str) -> None:
    """https://docs.aws.amazon.com/appconfig/latest/userguide/monitoring-deployments.html"""
    account.deploy(routes_stack({"version": 1}))
    account.stop_clock()
    deploying(account, {"version": 2}, 2)
    account.advance(60)

    account.client("cloudwatch").set_alarm_state(AlarmName="route-errors", StateValue=bad_state, StateReason="test")

    assert account.settle() == "UPDATE_ROLLBACK_COMPLETE"
    assert deployment_states(account) == ["COMPLETE", "ROLLED_BACK"]
    assert json.loads(poll(account, session(account))[0]) == {"version": 1}


def test_monitor_with_disabled_actions_does_not_roll_back(account: Account) -> None:
    """https://docs.aws.amazon.com/appconfig/latest/userguide/monitoring-deployments.html"""
    account.deploy(routes_stack({"version": 1}))
    cloudwatch = account.client("cloudwatch")
    cloudwatch.disable_alarm_actions(AlarmNames=["route-errors"])
    account.put_metric("Test", "Errors", 9)
    assert account.alarm_state("route-errors") == "ALARM"

    assert account.deploy(routes_stack({"version": 2})) == "UPDATE_COMPLETE"


def test_alarm_before_the_deployment_that_has_recovered_does_not_count(account: Account) -> None:
    """https://docs.aws.amazon.com/appconfig/latest/userguide/monitoring-deployments.html"""
    account.deploy(routes_stack({"version": 1}))
    account.put_metric("Test", "Errors", 9)
    account.advance(120)
    assert account.alarm_state("route-errors") == "OK"

    assert account.deploy(routes_stack({"version": 2})) == "UPDATE_COMPLETE"


def test_deployment_in_progress_refuses_a_second_one(account: Account) -> None:
    """https://docs.aws.amazon.com/appconfig/2019-10-09/APIReference/API_StartDeployment.html"""
    account.deploy(routes_stack({"version": 1}))
    account.stop_clock()
    deploying(account, {"version": 2}, 2)
    appconfig = account.client("appconfig")
    application = appconfig.list_applications()["Items"][0]["Id"]

    code, _ = error_of(
        appconfig.start_deployment,
        ApplicationId=application,
        EnvironmentId=appconfig.list_environments(ApplicationId=application)["Items"][0]["Id"],
        DeploymentStrategyId="AppConfig.AllAtOnce",
        ConfigurationProfileId=appconfig.list_configuration_profiles(ApplicationId=application)["Items"][0]["Id"],
        ConfigurationVersion="1",
    )

    assert code == "ConflictException"


def test_deleting_a_deployment_stops_it_only_while_it_deploys(account: Account) -> None:
    """https://docs.aws.amazon.com/appconfig/2019-10-09/APIReference/API_StopDeployment.html"""
    account.deploy(routes_stack({"version": 1}))
    without = routes_stack({"version": 1})
    del without["Resources"]["Deployment"]

    assert account.deploy(without) == "UPDATE_COMPLETE"

    assert deployment_states(account) == ["COMPLETE"]
    assert json.loads(poll(account, session(account))[0]) == {"version": 1}
