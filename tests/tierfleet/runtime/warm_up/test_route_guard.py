"""The route guard against AppConfig's documented states: after its SUCCESS no caller gets the rolled-back document."""

import io
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from tierfleet.runtime.warm_up import route_guard
from tierfleet.runtime.warm_up.custom_resource import Answer

STACK = "arn:aws:cloudformation:eu-west-1:111122223333:stack/shop-test-Fleet/1a2b"
IN_PROGRESS = ("VALIDATING", "DEPLOYING", "BAKING")


def document(endpoint: str) -> bytes:
    tiers = {"tail": {"hosting": "multi-model", "endpoint": endpoint}}
    return json.dumps(
        {
            "version": 1,
            "fleet": "shop",
            "environment": "test",
            "default_tier": "tail",
            "tiers": tiers,
            "tenants": {},
            "ttl_seconds": 15,
        }
    ).encode()


@dataclass
class Deployment:
    number: int
    version: str
    state: str


@dataclass
class AppConfig:
    """Both of AppConfig's APIs and CloudFormation's, as far as the guard calls them; `sleep` is its time."""

    deployments: list[Deployment]
    stack_status: str = "UPDATE_ROLLBACK_IN_PROGRESS"
    hosted: dict[str, bytes] = field(default_factory=lambda: {"1": document("old"), "2": document("new")})
    # Seconds that a deployment takes to get from ROLLING_BACK to ROLLED_BACK, and that clients are told late.
    rolling_back_seconds: float = 0.0
    stale_seconds: float = 0.0
    stoppable: bool = True
    later: Deployment | None = None
    later_seconds: float = 0.0
    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    changed_at: float = -1e9

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def answer(self, request: dict[str, Any]) -> Answer:
        return route_guard.answer(
            request, cloudformation=self, appconfig=self, appconfigdata=self, sleep=self.sleep, clock=lambda: self.now
        )  # type: ignore[arg-type]

    def served(self) -> str:
        self._tick()
        if self.now < self.changed_at + self.stale_seconds:
            return "2"
        served = [d for d in self.deployments if d.state not in ("ROLLED_BACK", "REVERTED", "ROLLING_BACK")]
        return served[-1].version

    def _tick(self) -> None:
        if self.later is not None and self.now >= self.later_seconds:
            self.deployments.append(self.later)
            self.later = None
        for deployment in self.deployments:
            if deployment.state == "ROLLING_BACK" and self.now >= self.changed_at + self.rolling_back_seconds:
                deployment.state = "ROLLED_BACK"

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803
        assert StackName == STACK
        return {"Stacks": [{"StackStatus": self.stack_status}]}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_deployments"
        return self

    def paginate(self, **ids: str) -> Any:
        assert ids == {"ApplicationId": "app", "EnvironmentId": "env"}
        self._tick()
        items = [
            {"DeploymentNumber": d.number, "ConfigurationVersion": d.version, "State": d.state}
            for d in reversed(self.deployments)
        ]
        for start in range(0, max(1, len(items)), 2):
            yield {"Items": items[start : start + 2]}

    def stop_deployment(self, **request: Any) -> None:
        """docs.aws.amazon.com/appconfig/2019-10-09/APIReference/API_StopDeployment.html"""
        self._tick()
        (deployment,) = [d for d in self.deployments if d.number == request["DeploymentNumber"]]
        if not self.stoppable or (
            deployment.state != "DEPLOYING"
            and not (request.get("AllowRevert") and deployment.state in (*IN_PROGRESS, "COMPLETE"))
        ):
            error = {"Error": {"Code": "BadRequestException", "Message": f"it is {deployment.state}"}}
            raise ClientError(error, "StopDeployment")
        self.stopped.append(deployment.number)
        self.changed_at = self.now
        deployment.state = "REVERTED" if deployment.state == "COMPLETE" else "ROLLING_BACK"

    def get_hosted_configuration_version(self, **request: Any) -> dict[str, Any]:
        return {"Content": io.BytesIO(self.hosted[str(request["VersionNumber"])])}

    def start_configuration_session(self, **_request: Any) -> dict[str, str]:
        return {"InitialConfigurationToken": "token"}

    def get_latest_configuration(self, **_request: Any) -> dict[str, Any]:
        return {"Configuration": io.BytesIO(self.hosted[self.served()]), "NextPollIntervalInSeconds": 60}


def request(kind: str = "Update", *, back: str = "1", taken_back: str = "2", wait: int = 100) -> dict[str, Any]:
    def properties(version: str) -> dict[str, str]:
        return {
            "ApplicationId": "app",
            "EnvironmentId": "env",
            "ConfigurationProfileId": "profile",
            "ConfigurationVersion": version,
            "WaitSeconds": str(wait),
        }

    return {
        "RequestType": kind,
        "StackId": STACK,
        "ResourceProperties": properties(back),
        "OldResourceProperties": properties(taken_back),
    }


def bake(state: str = "BAKING", **other: Any) -> AppConfig:
    return AppConfig([Deployment(1, "1", "COMPLETE"), Deployment(2, "2", state)], **other)


@pytest.mark.parametrize("state", [*IN_PROGRESS, "COMPLETE"])
def test_a_deployment_is_taken_back_in_every_state_and_then_callers_get_their_time(state: str) -> None:
    appconfig = bake(state)
    answer = appconfig.answer(request())
    assert answer.succeeded, answer.reason
    assert (appconfig.stopped, appconfig.served()) == ([2], "1")
    assert appconfig.slept[-1] == 100


def test_the_guard_before_the_endpoints_takes_back_and_does_not_wait() -> None:
    appconfig = bake()
    assert appconfig.answer(request(wait=0)).succeeded
    assert (appconfig.stopped, appconfig.served()) == ([2], "1")
    assert sum(appconfig.slept) < 10


def test_what_the_monitor_took_back_is_not_stopped_again_and_callers_get_their_time() -> None:
    appconfig = bake("ROLLED_BACK")
    assert appconfig.answer(request()).succeeded
    assert (appconfig.stopped, appconfig.slept) == ([], [100])


def test_callers_get_ten_minutes_at_most() -> None:
    appconfig = bake()
    assert appconfig.answer(request(wait=7000)).succeeded
    assert appconfig.slept[-1] == route_guard.LONGEST_WAIT_SECONDS


@pytest.mark.parametrize("kind", ["Create", "Delete"])
def test_a_guard_that_comes_or_goes_does_nothing(kind: str) -> None:
    appconfig = bake()
    assert appconfig.answer(request(kind)).succeeded
    assert (appconfig.stopped, appconfig.slept) == ([], [])


@pytest.mark.parametrize("status", ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"])
def test_a_guard_on_the_way_forward_does_nothing(status: str) -> None:
    appconfig = bake(stack_status=status)
    assert appconfig.answer(request()).succeeded
    assert (appconfig.stopped, appconfig.slept) == ([], [])


@pytest.mark.parametrize("wait", [0, 100])
def test_an_update_that_never_deployed_its_routes_is_not_held_up(wait: int) -> None:
    appconfig = AppConfig([Deployment(1, "1", "COMPLETE")])
    answer = appconfig.answer(request(wait=wait))
    assert answer.succeeded
    assert "never deployed" in answer.reason
    assert sum(appconfig.slept) <= route_guard.LOOK_AGAIN_SECONDS


def test_a_deployment_that_began_in_the_moment_of_the_cancellation_is_taken_back() -> None:
    late = Deployment(2, "2", "BAKING")
    appconfig = AppConfig([Deployment(1, "1", "COMPLETE")], later=late, later_seconds=3)
    assert appconfig.answer(request()).succeeded
    assert (appconfig.stopped, appconfig.served()) == ([2], "1")


def test_a_document_that_somebody_deployed_over_it_is_left_alone() -> None:
    appconfig = bake("COMPLETE")
    appconfig.hosted["9"] = document("by hand")
    appconfig.deployments.append(Deployment(3, "9", "COMPLETE"))
    assert appconfig.answer(request()).succeeded
    assert (appconfig.stopped, appconfig.served()) == ([], "9")


def test_an_earlier_attempt_of_the_same_document_that_was_taken_back_is_no_reason_to_stop_anything() -> None:
    appconfig = AppConfig([Deployment(1, "2", "ROLLED_BACK"), Deployment(2, "1", "COMPLETE")])
    assert "never deployed" in appconfig.answer(request()).reason
    assert appconfig.stopped == []


def test_routes_that_cannot_be_put_back_stop_the_rollback_before_it_deletes_endpoints() -> None:
    appconfig = bake(stoppable=False)
    answer = appconfig.answer(request())
    assert not answer.succeeded
    assert "no endpoint was deleted" in answer.reason
    assert "version 1" in answer.reason
    assert appconfig.now <= route_guard.LONGEST_STOP_SECONDS + route_guard.POLL_SECONDS


@given(
    state=st.sampled_from([*IN_PROGRESS, "COMPLETE", "ROLLING_BACK", "ROLLED_BACK", "REVERTED"]),
    rolling_back_seconds=st.floats(0, 200),
    stale_seconds=st.floats(0, 200),
    stoppable=st.booleans(),
    wait=st.integers(0, 8000),
)
def test_success_means_that_no_caller_gets_the_document_any_more(
    state: str, rolling_back_seconds: float, stale_seconds: float, stoppable: bool, wait: int
) -> None:
    appconfig = bake(state, rolling_back_seconds=rolling_back_seconds, stale_seconds=stale_seconds, stoppable=stoppable)
    appconfig.changed_at = 0.0
    answer = appconfig.answer(request(wait=wait))
    if answer.succeeded:
        assert appconfig.served() == "1"
    # Within one run of the function.
    assert appconfig.now <= 760
