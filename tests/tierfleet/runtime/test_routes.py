"""The route document: parsing it, and reading the deployed and the newest one."""

import copy
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from tierfleet.runtime.appconfig import NoRoutesDeployedError, deployed_routes, newest_hosted_routes
from tierfleet.runtime.route_document import Probe, RoutesError, TenantRoute, TierRoute, TierWarmUp
from tierfleet.runtime.route_parsing import parse_routes
from tierfleet.runtime.warm_up.plan import plan_warm_up

SHARED = "fraud--prod--tail--all--mme-m5-xlarge"
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "fleet": "fraud",
    "environment": "prod",
    "default_tier": "tail",
    "models_bucket": "fraud--prod--models--111122223333--eu-west-1",
    "ttl_seconds": 60,
    "tiers": {"tail": {"hosting": "multi-model", "endpoint": SHARED}, "whale": {"hosting": "dedicated"}},
    "tenants": {
        "m01": {
            "tier": "whale",
            "endpoint": "fraud--prod--whale--m01--dedicated-m5-large",
            "model_version": "2027-09-14",
        }
    },
    "warm_up": {
        "probe": {"content_type": "text/csv", "body": "0,0,0"},
        "tiers": {"tail": {"tenants": ["m02", "m03"], "concurrency": 8, "deadline_seconds": 780}},
    },
}


def body(content: bytes) -> StreamingBody:
    return StreamingBody(io.BytesIO(content), len(content))


def test_the_document_is_read_whole() -> None:
    routes = parse_routes(json.dumps(DOCUMENT))
    assert (routes.fleet, routes.environment, routes.default_tier) == ("fraud", "prod", "tail")
    assert (routes.models_bucket, routes.ttl_seconds) == ("fraud--prod--models--111122223333--eu-west-1", 60)
    assert routes.tiers == {"tail": TierRoute("multi-model", SHARED), "whale": TierRoute("dedicated", None)}
    assert routes.tenants["m01"] == TenantRoute("whale", "fraud--prod--whale--m01--dedicated-m5-large", "2027-09-14")
    assert (routes.route_of("m01").model_version, routes.route_of("m02").model_version) == ("2027-09-14", None)
    assert routes.probe == Probe("text/csv", "0,0,0")
    assert routes.warm_ups == {"tail": TierWarmUp(("m02", "m03"), 8, 780)}


def test_a_tenant_that_is_not_listed_is_on_the_default_tier() -> None:
    routes = parse_routes(json.dumps(DOCUMENT))
    assert (routes.tier_of("m01"), routes.tier_of("m02"), routes.tier_of("new")) == ("whale", "tail", "tail")


def test_only_a_multi_model_endpoint_has_a_tier() -> None:
    routes = parse_routes(json.dumps(DOCUMENT))
    assert routes.tier_at(SHARED) == "tail"
    assert routes.tier_at("fraud--prod--whale--m01--dedicated-m5-large") is None


def test_a_document_of_an_older_fleet_is_complete() -> None:
    older = {key: value for key, value in DOCUMENT.items() if key not in {"models_bucket", "ttl_seconds"}}
    routes = parse_routes(json.dumps(older))
    assert (routes.models_bucket, routes.ttl_seconds) == (None, None)


def test_a_document_without_warm_up_is_complete() -> None:
    routes = parse_routes(json.dumps({key: value for key, value in DOCUMENT.items() if key != "warm_up"}))
    assert (routes.probe, routes.warm_ups) == (None, {})


def changed(change: Callable[[dict[str, Any]], Any]) -> str:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "malformed"),
        ("[]", "malformed"),
        (b"\xff\xfe", "malformed"),
        (changed(lambda d: d.update(version=2)), "version 2 is not 1"),
        (changed(lambda d: d.pop("version")), "'version'"),
        (changed(lambda d: d.pop("tiers")), "'tiers'"),
        (changed(lambda d: d.update(tenants=["m01"])), "malformed"),
        (changed(lambda d: d.update(fleet=7)), "7 is not a string"),
        (changed(lambda d: d.update(models_bucket=7)), "7 is not a string"),
        (changed(lambda d: d.update(ttl_seconds=0)), "ttl_seconds is 0"),
        (changed(lambda d: d.update(ttl_seconds="60")), "ttl_seconds is '60'"),
        (changed(lambda d: d["tenants"]["m01"].update(model_version=1)), "1 is not a string"),
        (changed(lambda d: d["tenants"].update(m09={"tier": "shark"})), r"tiers \['shark'\] are named"),
        (changed(lambda d: d["warm_up"]["tiers"]["tail"].update(concurrency=0)), "concurrency is 0"),
        (changed(lambda d: d["warm_up"]["tiers"]["tail"].update(concurrency=True)), "concurrency is True"),
        (
            changed(lambda d: d["warm_up"]["tiers"]["tail"].update(deadline_seconds="1")),
            "deadline_seconds is",
        ),
        (changed(lambda d: d["warm_up"]["tiers"]["tail"].update(tenants="m02")), "tenants is 'm02'"),
        (changed(lambda d: d["warm_up"]["probe"].pop("body")), "'body'"),
    ],
)
def test_a_document_that_cannot_be_read_is_one_clear_error(content: str | bytes, message: str) -> None:
    with pytest.raises(RoutesError, match=message) as raised:
        parse_routes(content)
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def session() -> boto3.Session:
    return boto3.Session("test", "test", region_name="eu-west-1")


@pytest.fixture(scope="module")
def appconfigdata_client(session: boto3.Session) -> Any:
    return session.client("appconfigdata")


@pytest.fixture(scope="module")
def appconfig_client(session: boto3.Session) -> Any:
    return session.client("appconfig")


@pytest.fixture
def appconfigdata(appconfigdata_client: Any) -> Iterator[Stubber]:
    with Stubber(appconfigdata_client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def appconfig(appconfig_client: Any) -> Iterator[Stubber]:
    with Stubber(appconfig_client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


SESSION = {
    "ApplicationIdentifier": "app1234",
    "EnvironmentIdentifier": "env1234",
    "ConfigurationProfileIdentifier": "prof123",
}


def read_deployed(stubber: Stubber) -> Any:
    return deployed_routes(stubber.client, application_id="app1234", environment_id="env1234", profile_id="prof123")


def test_the_deployed_document_comes_from_a_new_session(appconfigdata: Stubber) -> None:
    appconfigdata.add_response("start_configuration_session", {"InitialConfigurationToken": "one"}, SESSION)
    appconfigdata.add_response(
        "get_latest_configuration",
        {"Configuration": body(json.dumps(DOCUMENT).encode())},
        {"ConfigurationToken": "one"},
    )
    assert read_deployed(appconfigdata) == parse_routes(json.dumps(DOCUMENT))


def test_before_the_first_deployment_there_are_no_routes(appconfigdata: Stubber) -> None:
    appconfigdata.add_response("start_configuration_session", {"InitialConfigurationToken": "one"})
    appconfigdata.add_response("get_latest_configuration", {"Configuration": body(b"")})
    with pytest.raises(NoRoutesDeployedError, match="app1234"):
        read_deployed(appconfigdata)
    appconfigdata.add_client_error("start_configuration_session", "ResourceNotFoundException", "no deployment")
    with pytest.raises(NoRoutesDeployedError, match="no deployment"):
        read_deployed(appconfigdata)


def test_another_error_of_appconfig_stays_itself(appconfigdata: Stubber) -> None:
    appconfigdata.add_client_error("start_configuration_session", "AccessDeniedException", "no")
    with pytest.raises(appconfigdata.client.exceptions.ClientError, match="AccessDenied"):
        read_deployed(appconfigdata)


def test_the_newest_hosted_document_has_the_greatest_number_on_any_page(appconfig: Stubber) -> None:
    profile = {"ApplicationId": "app1234", "ConfigurationProfileId": "prof123"}
    list_versions = "list_hosted_configuration_versions"
    appconfig.add_response(list_versions, {"Items": [{"VersionNumber": 9}], "NextToken": "two"}, profile)
    appconfig.add_response(
        list_versions,
        {"Items": [{"VersionNumber": 3}, {"VersionNumber": 11}]},
        {**profile, "NextToken": "two"},
    )
    appconfig.add_response(
        "get_hosted_configuration_version",
        {"Content": body(json.dumps(DOCUMENT).encode())},
        {**profile, "VersionNumber": 11},
    )
    routes = newest_hosted_routes(appconfig.client, application_id="app1234", profile_id="prof123")
    assert routes == parse_routes(json.dumps(DOCUMENT))


def test_a_profile_without_versions_is_an_error(appconfig: Stubber) -> None:
    appconfig.add_response("list_hosted_configuration_versions", {"Items": []})
    with pytest.raises(RoutesError, match="prof123"):
        newest_hosted_routes(appconfig.client, application_id="app1234", profile_id="prof123")


def test_a_plan_takes_the_tiers_list_endpoint_and_shorter_deadline() -> None:
    routes = parse_routes(changed(lambda d: d["warm_up"]["tiers"]["tail"].update(tenants=["m02", "m01", "m02"])))
    plan = plan_warm_up(routes, "tail", most_seconds=100)
    assert (plan.endpoint_name, plan.tenants, plan.concurrency) == (SHARED, ("m02", "m01"), 8)
    assert plan.elsewhere == {"m01": "it is on tier whale"}
    assert plan.deadline_seconds == 100
    assert plan_warm_up(routes, "tail", most_seconds=900).deadline_seconds == 780
    assert plan_warm_up(routes, "tail", most_seconds=-5).deadline_seconds == 0


def test_a_plan_may_name_another_endpoint_and_other_tenants() -> None:
    routes = parse_routes(json.dumps(DOCUMENT))
    plan = plan_warm_up(routes, "tail", endpoint_name="new", tenants=["m09"], most_seconds=100)
    assert (plan.endpoint_name, plan.tenants) == ("new", ("m09",))


def test_a_plan_may_have_its_own_pace_and_deadline() -> None:
    routes = parse_routes(json.dumps(DOCUMENT))
    plan = plan_warm_up(routes, "tail", concurrency=3, deadline_seconds=900, most_seconds=1000)
    assert (plan.concurrency, plan.deadline_seconds) == (3, 900)
    assert plan_warm_up(routes, "tail", deadline_seconds=900, most_seconds=100).deadline_seconds == 100


def test_named_tenants_need_no_warm_up_of_the_tier() -> None:
    routes = parse_routes(changed(lambda d: d["warm_up"]["tiers"].clear()))
    plan = plan_warm_up(routes, "tail", tenants=["m09"], most_seconds=50)
    assert (plan.tenants, plan.concurrency, plan.deadline_seconds) == (("m09",), 1, 50)


@pytest.mark.parametrize(
    ("change", "tier", "message"),
    [
        (dict, "shark", "tier 'shark' is not in the routes"),
        (dict, "whale", "no multi-model endpoint"),
        (lambda d: d["warm_up"]["tiers"].clear(), "tail", "has no warm_up"),
        (lambda d: d["warm_up"].pop("probe"), "tail", "no probe"),
    ],
)
def test_a_tier_that_cannot_be_warmed_is_one_clear_error(change: Any, tier: str, message: str) -> None:
    with pytest.raises(RoutesError, match=message):
        plan_warm_up(parse_routes(changed(change)), tier, most_seconds=100)
