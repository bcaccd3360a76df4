"""The order on which "no request is lost by a tier move" rests, read from the local emulator's event log."""

import json
import time
from typing import Any

import pytest

from local_cloud.testing.account import Account, assert_order
from local_cloud.testing.fleet_template import fleet, tail_name, whale_name


def served_routes(account: Account) -> dict[str, Any]:
    """What a client that starts now would be told."""
    data = account.client("appconfigdata")
    token = data.start_configuration_session(
        ApplicationIdentifier="mini-dev", EnvironmentIdentifier="dev", ConfigurationProfileIdentifier="routes"
    )["InitialConfigurationToken"]
    body = data.get_latest_configuration(ConfigurationToken=token)["Configuration"].read()
    routes: dict[str, Any] = json.loads(body)
    return routes


def endpoint_status(account: Account, name: str) -> str:
    return str(account.client("sagemaker").describe_endpoint(EndpointName=name)["EndpointStatus"])


def live_endpoints(account: Account) -> list[str]:
    return sorted(e["EndpointName"] for e in account.client("sagemaker").list_endpoints()["Endpoints"])


def deployments(account: Account) -> list[str]:
    return [resource for _, resource in account.log("ConfigurationDeploying")]


def test_promote_makes_the_whale_before_the_routes_name_it(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-dependson.html"""
    assert account.deploy(fleet(account)) == "CREATE_COMPLETE"
    seen = len(account.log())

    assert account.deploy(fleet(account, whales={"m07": "1"})) == "UPDATE_COMPLETE"

    log = account.log()[seen:]
    assert_order(
        log,
        ("EndpointInService", whale_name("m07")),
        ("ResourceCreated", "Gate"),
        ("ResourceCreated", "Whalem07"),
        ("ConfigurationDeploying", deployments(account)[-1]),
        ("ConfigurationComplete", deployments(account)[-1]),
        ("StackCleaningUp", "Fleet"),
    )
    assert served_routes(account)["tenants"] == {"m07": whale_name("m07")}


def test_demote_deletes_the_whale_only_after_the_bake(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-update-behaviors.html"""
    account.deploy(fleet(account, whales={"m07": "1"}))
    seen = len(account.log())

    assert account.deploy(fleet(account)) == "UPDATE_COMPLETE"

    log = account.log()[seen:]
    assert_order(
        log,
        ("ConfigurationComplete", deployments(account)[-1]),
        ("StackCleaningUp", "Fleet"),
        ("ScalingPolicyDeleted", "requests"),
        ("ScalableTargetDeregistered", f"endpoint/{whale_name('m07')}/variant/AllTraffic"),
        ("EndpointDeleted", whale_name("m07")),
        ("StackSettled", "Fleet"),
    )
    assert live_endpoints(account) == [tail_name("ml.m5.xlarge")]


def test_tail_retype_keeps_the_old_endpoint_until_the_new_one_is_warm_and_routed(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sagemaker-endpoint.html"""
    account.deploy(fleet(account))
    seen = len(account.log())

    assert account.deploy(fleet(account, tail_instance_type="ml.r5.xlarge")) == "UPDATE_COMPLETE"

    old, new = tail_name("ml.m5.xlarge"), tail_name("ml.r5.xlarge")
    log = account.log()[seen:]
    assert_order(
        log,
        ("EndpointInService", new),
        ("ConfigurationDeploying", deployments(account)[-1]),
        ("ConfigurationComplete", deployments(account)[-1]),
        ("StackCleaningUp", "Fleet"),
        ("EndpointDeleted", old),
        ("StackSettled", "Fleet"),
    )
    warm_ups = [i["endpoint"] for i in account.cloud.admin("invocations") if i["endpoint"] == new]
    assert warm_ups, "the gate has invoked the new endpoint"
    assert live_endpoints(account) == [new]
    targets = account.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    assert [t["ResourceId"] for t in targets["ScalableTargets"]] == [f"endpoint/{new}/variant/AllTraffic"]


def test_stack_shows_the_clean_up_phase_while_it_deletes(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html"""
    account.deploy(fleet(account))
    account.deploy(fleet(account, tail_instance_type="ml.r5.xlarge"))

    events = [(logical_id, status) for logical_id, status, _ in account.stack_events()]

    cleaning = events.index(("Fleet", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"))
    assert events.index(("Tail", "DELETE_COMPLETE")) > cleaning
    assert events[-1] == ("Fleet", "UPDATE_COMPLETE")
    assert ("Fleet", "UPDATE_COMPLETE") not in events[:cleaning]


def test_new_whale_version_deletes_the_nested_old_model_after_the_whole_update(account: Account) -> None:
    """A nested stack's old resources wait for the clean-up of the root.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-nested-stacks.html
    """
    account.deploy(fleet(account, whales={"m07": "1"}))
    seen = len(account.log())
    template = fleet(account, whales={"m07": "2"}, tail_instance_type="ml.r5.xlarge")

    assert account.deploy(template) == "UPDATE_COMPLETE"

    log = account.log()[seen:]
    cleaning = log.index(("StackCleaningUp", "Fleet"))
    deleted = [i for i, (action, _) in enumerate(log) if action in ("ModelDeleted", "EndpointConfigDeleted")]
    assert len(deleted) == 3, "the whale's model and both old configurations; the tail's model is unchanged"
    assert min(deleted) > cleaning
    assert_order(log, ("EndpointInService", whale_name("m07")), ("StackCleaningUp", "Fleet"))


def test_stack_completes_only_when_the_bake_is_over(account: Account) -> None:
    """https://docs.aws.amazon.com/appconfig/latest/userguide/appconfig-creating-deployment-strategy.html"""
    account.deploy(fleet(account))
    account.stop_clock()
    account.start_deploy(fleet(account, whales={"m07": "1"}))
    account.wait_for(lambda: ("EndpointCreating", whale_name("m07")) in account.log())
    account.advance(181)
    account.wait_for(lambda: len(deployments(account)) == 2)

    account.advance(359)
    still = account.status()
    tail_before_the_end = endpoint_status(account, tail_name("ml.m5.xlarge"))
    account.advance(2)

    assert still == "UPDATE_IN_PROGRESS"
    assert tail_before_the_end == "InService"
    assert account.settle() == "UPDATE_COMPLETE"


def test_failure_before_the_deployment_leaves_routes_and_endpoints_as_they_were(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html"""
    account.deploy(fleet(account, whales={"m01": "1"}))
    before = served_routes(account)
    account.cloud.admin("faults", {"unhealthy_model_data": ["m07/1.tar.gz"]})
    template = fleet(account, whales={"m01": "2", "m07": "1"}, tail_instance_type="ml.r5.xlarge")

    assert account.deploy(template) == "UPDATE_ROLLBACK_COMPLETE"

    assert served_routes(account) == before
    assert live_endpoints(account) == sorted([tail_name("ml.m5.xlarge"), whale_name("m01")])
    assert len(deployments(account)) == 1
    serving = account.client("sagemaker").describe_endpoint(EndpointName=whale_name("m01"))
    config = account.client("sagemaker").describe_endpoint_config(EndpointConfigName=serving["EndpointConfigName"])
    model = account.client("sagemaker").describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    assert model["PrimaryContainer"]["ModelDataUrl"].endswith("m01/1.tar.gz")
    assert len(account.client("sagemaker").list_models()["Models"]) == 2, "nothing of the failed update stays"

    account.cloud.admin("faults", {})
    assert account.deploy(template) == "UPDATE_COMPLETE"
    assert live_endpoints(account) == sorted([tail_name("ml.r5.xlarge"), whale_name("m01"), whale_name("m07")])


def test_deployment_rolled_back_by_its_monitor_rolls_the_stack_back(account: Account) -> None:
    """https://docs.aws.amazon.com/appconfig/latest/userguide/monitoring-deployments.html"""
    account.deploy(fleet(account))
    before = served_routes(account)
    template = fleet(account, whales={"m07": "1"}, tail_instance_type="ml.r5.xlarge")
    account.stop_clock()
    account.start_deploy(template)
    while len(deployments(account)) < 2:
        account.advance(60)
        time.sleep(0.02)

    during_the_bake = served_routes(account)
    account.put_metric("Test", "RouteErrors", 5)
    account.wait_for(lambda: account.alarm_state("mini-route-errors") == "ALARM")
    account.cloud.admin("clock", {"mode": "skip"})

    assert account.settle() == "UPDATE_ROLLBACK_COMPLETE"
    assert during_the_bake["tail"] == tail_name("ml.r5.xlarge")
    assert served_routes(account) == before
    assert live_endpoints(account) == [tail_name("ml.m5.xlarge")]
    reasons = [reason for logical_id, status, reason in account.stack_events() if status == "UPDATE_FAILED"]
    assert any("ROLLED_BACK" in reason for reason in reasons), reasons

    account.advance(600)
    assert account.alarm_state("mini-route-errors") == "OK"
    assert account.deploy(template) == "UPDATE_COMPLETE"
    assert served_routes(account)["tail"] == tail_name("ml.r5.xlarge")


@pytest.mark.parametrize("stack_notices", [False, True])
def test_guardrail_rollback_of_a_whale_rolls_the_stack_back(account: Account, stack_notices: bool) -> None:
    """Whether CloudFormation reports it or the gate finds it, stack and SageMaker agree afterwards.

    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    account.deploy(fleet(account, whales={"m01": "1"}))
    before = account.client("sagemaker").describe_endpoint(EndpointName=whale_name("m01"))
    account.cloud.admin("faults", {"guardrail_rollback_fails_the_resource": stack_notices})
    template = fleet(account, whales={"m01": "2"})
    account.stop_clock()
    account.start_deploy(template)
    account.wait_for(lambda: ("EndpointUpdating", whale_name("m01")) in account.log())
    account.advance(181)
    account.put_metric("Test", "Slow", 1, Tenant="m01")
    account.wait_for(lambda: ("EndpointRollingBack", whale_name("m01")) in account.log())
    while account.status().endswith("IN_PROGRESS"):
        account.advance(60)
        time.sleep(0.02)

    assert account.status() == "UPDATE_ROLLBACK_COMPLETE"
    after = account.client("sagemaker").describe_endpoint(EndpointName=whale_name("m01"))
    assert after["EndpointConfigName"] == before["EndpointConfigName"]
    assert after["EndpointStatus"] == "InService"
    account.client("sagemaker").describe_endpoint_config(EndpointConfigName=after["EndpointConfigName"])
    assert len(deployments(account)) == 1

    account.cloud.admin("clock", {"mode": "skip"})
    account.advance(600)
    assert account.deploy(template) == "UPDATE_COMPLETE"


def test_destroy_leaves_nothing(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-nested-stacks.html"""
    account.deploy(fleet(account, whales={"m01": "1", "m07": "1"}))

    account.destroy()

    sagemaker = account.client("sagemaker")
    assert live_endpoints(account) == []
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert sagemaker.list_models()["Models"] == []
    scaling = account.client("application-autoscaling")
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert account.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert account.client("appconfig").list_applications()["Items"] == []
