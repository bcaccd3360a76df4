"""`tierfleet warm`: the warm-up by hand, against AWS's services on loopback."""

import json
from typing import Any

import pytest
from loopback import NAMED, SHARED, FakeAws, whale
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG
from tierfleet.cli import app

runner = CliRunner()
pytestmark = pytest.mark.usefixtures("as_caller")


def warm(*arguments: str) -> Any:
    return runner.invoke(app, ["warm", *arguments])


def warmed(aws: FakeAws) -> list[str | None]:
    return [call["target_model"] for call in aws.invocations]


def test_the_deployed_list_is_warmed_hottest_last(aws: FakeAws) -> None:
    result = warm(*NAMED)
    assert result.exit_code == 0, result.output
    assert warmed(aws) == ["m03/v1.tar.gz", "m02/v1.tar.gz"]
    assert f"{SHARED}: 2 warmed, 0 failed, 0 missing, 1 skipped, 0 left in" in result.stdout
    assert "skipped m01: it is on tier whale" in result.stdout


def test_named_tenants_are_warmed_instead(aws: FakeAws) -> None:
    result = warm(*NAMED, "--tenants", "m07, m08", "--json")
    assert json.loads(result.stdout)["warmed"] == ["m07", "m08"]
    assert warmed(aws) == ["m08/v1.tar.gz", "m07/v1.tar.gz"]


def test_named_tenants_need_no_list_in_the_routes(aws: FakeAws) -> None:
    assert aws.routes is not None
    aws.routes["warm_up"]["tiers"] = {}
    assert warm(*NAMED, "--tenants", "m07").exit_code == 0
    result = warm(*NAMED)
    assert result.exit_code == 2
    assert "tier 'tail' has no warm_up" in result.stderr


def test_the_files_own_list_may_be_warmed_before_it_is_deployed(aws: FakeAws) -> None:
    result = warm("--config", str(CONFIG / "fraud-prod.toml"), "--from-config", "--concurrency", "8", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert len(report["warmed"]) > 20
    assert report["endpoint"] == SHARED


def test_failed_and_missing_tenants_are_told_with_reasons_and_end_with_1(aws: FakeAws) -> None:
    aws.unpublished.add("m07")
    result = warm(*NAMED, "--tenants", "m07,m09")
    assert result.exit_code == 1
    assert "1 warmed, 0 failed, 1 missing" in result.stdout
    assert "missing m07: nothing is published" in result.stdout
    aws.fail(SHARED, "ModelError", "x", status=424, OriginalStatusCode=400, OriginalMessage="bad row")
    result = warm(*NAMED, "--tenants", "m08")
    assert result.exit_code == 1
    assert "failed  m08: the model server rejected the payload" in result.stdout


def test_a_gone_endpoint_is_one_sentence_and_the_rest_is_left(aws: FakeAws) -> None:
    result = warm(*NAMED, "--endpoint", "fraud--prod--tail--all--mme-m6i-xlarge")
    assert result.exit_code == 1
    assert "failed  m03: the endpoint does not exist" in result.stdout
    assert "left    m02: for the same reason" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --config FILE, --fleet NAME"),
        ([*NAMED, "--from-config"], "--from-config needs a fleet file: give --config"),
        ([*NAMED, "--tenants", "M1,m2"], "allowed: tenant ids separated by commas"),
        ([*NAMED, "--tenants", ","], "allowed: tenant ids separated by commas"),
        ([*NAMED, "--tier", "shark"], "tier 'shark' is not in the routes"),
        ([*NAMED, "--tier", "whale"], "only multi-model tiers are warmed"),
        ([*NAMED, "--endpoint", whale("m01")], "its model is always in memory"),
        ([*NAMED, "--concurrency", "0"], "greater than or equal"),
    ],
)
def test_bad_input_is_one_sentence_and_2(aws: FakeAws, arguments: list[str], message: str) -> None:
    result = warm(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert aws.count("InvokeEndpoint") == 0


def test_a_fleet_that_is_not_deployed_is_one_sentence_and_2(aws: FakeAws) -> None:
    aws.routes = None
    result = warm(*NAMED)
    assert result.exit_code == 2
    assert "no deployed routes" in result.stderr
    assert "deploy fraud-prod/Fleet" in result.stderr


def test_a_tenant_that_another_tier_serves_is_skipped_and_that_is_no_failure(aws: FakeAws) -> None:
    result = warm(*NAMED, "--tenants", "m01")
    assert result.exit_code == 0
    assert "0 warmed, 0 failed, 0 missing, 1 skipped" in result.stdout
    assert aws.count("InvokeEndpoint") == 0


def test_ctrl_c_says_what_is_left_and_ends_with_130(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tierfleet.cli.warm_command.run_warm_up", interrupted)
    result = warm(*NAMED)
    assert result.exit_code == 130
    assert result.stderr == "interrupted; loaded models stay loaded; run it again for the rest\n"
