"""`tierfleet invoke` as a user and as a script calls it, against AWS's services on loopback."""

import json
import math
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from loopback import (
    ACCOUNT,
    NAMED,
    REGION,
    SHARED,
    FakeAws,
    async_route_document,
    older_route_document,
    score,
    whale,
)
from typer.testing import CliRunner

from local_cloud import LocalCloud
from local_cloud.testing.fleets import CONFIG
from tierfleet.cli import app

runner = CliRunner()


def invoke(*arguments: str, **options: Any) -> Any:
    return runner.invoke(app, ["invoke", *arguments], **options)


@pytest.mark.usefixtures("as_caller")
def test_one_call_prints_the_prediction_alone(aws: FakeAws) -> None:
    result = invoke("m37", *NAMED, "--body", "0.5,2")
    assert (result.exit_code, result.stdout) == (0, f"{score('m37', '0.5,2')!r}\n")
    assert f"m37 version v1 on {SHARED} (tier tail) in" in result.stderr


@pytest.mark.usefixtures("as_caller")
def test_without_a_body_the_deployed_probe_is_sent(aws: FakeAws) -> None:
    assert invoke("m37", *NAMED).stdout == f"{score('m37', '1,2,3')!r}\n"
    assert aws.invocations[0]["content_type"] == "text/csv"


@pytest.mark.usefixtures("as_caller")
def test_rows_give_a_prediction_each_and_empty_cells_are_missing(aws: FakeAws, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("1,2\n\n3,4\n5,\n")
    result = invoke("m01", "--config", str(CONFIG / "fraud-prod.toml"), "--rows", str(file), "--json")
    answer = json.loads(result.stdout, parse_constant=pytest.fail)
    *numbers, missing = answer["predictions"]
    assert numbers == [score("m01", "1,2"), score("m01", "3,4")]
    assert missing is None  # JSON has no NaN
    assert (answer["tier"], answer["endpoint"]) == ("whale", whale("m01"))


@pytest.mark.usefixtures("as_caller")
def test_a_queued_call_takes_no_container_and_explains_nothing(aws: FakeAws) -> None:
    aws.routes = async_route_document("m08")
    for options, words in (
        (("--container", "velocity"), "has one container: leave --container out"),
        (("--contribs",), "answers no calls: leave --contribs and --explain out"),
    ):
        result = invoke("m08", *NAMED, "--body", "1,2", *options)
        assert result.exit_code == 2
        assert words in " ".join(result.output.split())
    assert aws.count("InvokeEndpointAsync") == 0


@pytest.mark.usefixtures("as_caller")
def test_rows_from_a_spreadsheet_may_begin_with_a_byte_order_mark(aws: FakeAws, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"\xef\xbb\xbf1,2\r\n")
    assert invoke("m37", *NAMED, "--rows", str(tmp_path / "rows.csv")).stdout == f"{score('m37', '1.0,2.0')!r}\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"1,\xe9\n", "is not UTF-8 text: invalid continuation byte at byte 2; save it as UTF-8"),
        (b'"' + b"1" * 200_000 + b'"', "field larger than field limit"),
        (b"1,1_0\n", "'1_0' is no number"),
        ("1,\u0663\n".encode(), "is no number"),
    ],
)
@pytest.mark.usefixtures("as_caller", "aws")
def test_rows_that_are_no_numbers_are_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    result = invoke("m37", *NAMED, "--rows", str(tmp_path / "rows.csv"))
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())


@pytest.mark.usefixtures("as_caller")
def test_a_file_or_standard_input_is_sent_as_it_is(aws: FakeAws, tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_text("5,5")
    for given, options in ((str(file), {}), ("-", {"input": "5,5"})):
        result = invoke("m37", *NAMED, "--body-file", given, "--content-type", "text/libsvm", **options)
        assert result.stdout == f"{score('m37', '5,5')!r}\n"
    assert {call["content_type"] for call in aws.invocations} == {"text/libsvm"}


@pytest.mark.usefixtures("as_caller")
def test_many_calls_print_percentiles_and_who_answered(aws: FakeAws) -> None:
    result = invoke("m37", *NAMED, "--count", "20", "--concurrency", "4")
    assert result.exit_code == 0
    assert "20 calls in" in result.stdout
    assert "p50" in result.stdout
    assert "p99" in result.stdout
    assert "█" in result.stdout
    assert f"20  tail  {SHARED}" in result.stdout
    assert aws.count("InvokeEndpoint") == 20


@pytest.mark.usefixtures("as_caller")
def test_failed_calls_among_many_are_counted_and_end_with_1(aws: FakeAws) -> None:
    aws.fail(SHARED, "ModelError", "x", status=424, times=2, OriginalStatusCode=500, OriginalMessage="boom")
    result = invoke("m37", *NAMED, "--count", "6", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["answered"], report["failed"]) == (1, 4, 2)
    assert "boom" in report["errors"]["ModelFailedError"]["example"]


@pytest.fixture
def any_call_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the guess what was in memory, however slow the machine."""
    for limit in ("COLD_FROM_SECONDS", "WARM_TO_SECONDS"):
        monkeypatch.setattr(f"tierfleet.runtime.client.explain.{limit}", math.inf)


@pytest.mark.usefixtures("as_caller", "any_call_is_quick")
def test_explain_shows_route_model_cache_and_steps(aws: FakeAws) -> None:
    result = invoke("m37", *NAMED, "--explain")
    assert result.exit_code == 0
    for shown in (
        "m37 is not listed in the routes, so it is on the default tier tail",
        "m37/v1.tar.gz version v1, pointer read",
        "in memory: a guess",
        "appconfigdata StartConfigurationSession",
        "sagemaker-runtime InvokeEndpoint",
        "X-Amzn-SageMaker-Target-Model",
    ):
        assert shown in result.stdout
    assert aws.count("InvokeEndpoint") == 2


@pytest.mark.usefixtures("as_caller")
def test_a_failed_call_is_one_sentence_and_1(aws: FakeAws) -> None:
    aws.unpublished.add("m37")
    for more in ([], ["--explain"]):
        result = invoke("m37", *NAMED, *more)
        assert result.exit_code == 1
        assert "error: tenant m37" in result.stderr
        assert "publish the tenant's model" in " ".join(result.stderr.split())
        assert "Traceback" not in result.output


@pytest.mark.usefixtures("as_caller")
def test_what_is_not_deployed_is_one_sentence_and_2(aws: FakeAws) -> None:
    aws.routes = None
    result = invoke("m37", *NAMED)
    assert result.exit_code == 2
    assert "AppConfig has no deployed routes of application fraud--prod" in result.stderr
    assert "deploy fraud-prod/Fleet" in result.stderr


@pytest.mark.usefixtures("as_caller")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m37"], "give --config FILE, --fleet NAME --environment NAME"),
        (["m37", "--fleet", "fraud"], "needs --environment"),
        (["m37", "--config", "x.toml", "--fleet", "fraud"], "both name a fleet: give one of them"),
        (["m37", "--config", str(CONFIG / "fraud-prod.toml"), "--region", "eu-west-1"], "leave --environment"),
        (["m37", *NAMED, "--body", "1", "--rows", "x"], "give one of them"),
        (["m37", *NAMED, "--rows", "nowhere.csv"], "nowhere.csv cannot be read: No such file"),
        (["m37", *NAMED, "--rows", str(CONFIG / "churn-prod.warm-up.txt")], "rows of numbers without a header"),
        (["m37", *NAMED, "--rows", "x", "--content-type", "application/json"], "use --body-file"),
        (["m37", *NAMED, "--explain", "--count", "2"], "leave --count out"),
        (["M37", *NAMED], "is not a tenant id"),
        (["m37", "--fleet", "Fraud", "--environment", "prod"], "fleet is 'Fraud', allowed"),
        (["m37", *NAMED, "--count", "0"], "greater than or equal"),
    ],
)
def test_bad_input_is_one_sentence_and_2(arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("no_credentials")
def test_without_credentials_or_region_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke("m37", *NAMED)
    assert (result.exit_code, "AWS_PROFILE" in result.stderr, "--local" in result.stderr) == (2, True, True)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    result = invoke("m37", *NAMED)
    assert (result.exit_code, "no region is given" in result.stderr) == (2, True)


@pytest.mark.usefixtures("no_credentials")
def test_local_finds_the_local_emulator_and_needs_no_credentials(
    aws: FakeAws, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def running(state_dir: Path) -> LocalCloud:
        asked.append(state_dir)
        return LocalCloud(url, REGION, ACCOUNT, tmp_path, 0)

    monkeypatch.setattr("local_cloud.running", running)
    assert invoke("m37", *NAMED, "--local").exit_code == 0
    # The local emulator's account names the bucket if the routes are too old to.
    aws.routes = older_route_document()
    assert invoke("m37", *NAMED, "--local", "--body", "1").exit_code == 0
    assert asked == [Path(".local-cloud")] * 2
    assert aws.count("GetCallerIdentity") == 0


@pytest.mark.usefixtures("no_credentials", "any_call_is_quick")
@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ([(SHARED, ["m37/v1.tar.gz"], False)], "in memory: before the call an instance had it in memory"),
        ([(SHARED, ["m38/v1.tar.gz"], False)], "loaded for this call: before the call no instance had it in memory"),
        ([(SHARED, ["m37/v1.tar.gz"], True)], "in memory: a guess"),
        (None, "in memory: a guess"),
    ],
)
def test_the_local_emulator_says_what_was_in_memory_where_it_knows(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Any, shown: str
) -> None:
    class Emulator(LocalCloud):
        def admin(self, name: str, request: dict[str, Any] | None = None) -> Any:
            assert (name, request) == ("instances", None)
            if rows is None:
                raise HTTPError(url, 404, "unknown", Message(), None)
            return [{"endpoint": e, "loaded_models": models, "retiring": retiring} for e, models, retiring in rows]

    monkeypatch.setattr("local_cloud.running", lambda _: Emulator(url, REGION, ACCOUNT, tmp_path, 0))
    assert shown in invoke("m37", *NAMED, "--local", "--explain").stdout


def test_local_without_a_local_emulator_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("m37", *NAMED, "--local")
    assert result.exit_code == 2
    assert "start it with tierfleet local up" in result.stderr


NAMES = ["age_of_the_account_in_days_when_the_order_was_placed", "amount", *(f"f{n}" for n in range(2, 14))]
EXPLAINED = {
    "feature_names": NAMES,
    "predictions": [
        {"score": 0.934, "bias": -1.25, "contributions": [0.5, -2.25, *(0.125 / n for n in range(2, 14))]},
        {"score": 0.5, "bias": 0.0, "contributions": [0.0] * 14},
    ],
}


@pytest.mark.usefixtures("as_caller")
def test_contribs_shows_the_largest_reasons_of_each_row_in_80_columns(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    aws.containers[SHARED] = lambda *_: (200, "application/json", json.dumps(EXPLAINED).encode())
    result = invoke("m37", *NAMED, "--body", "1\n2", "--contribs")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "row 0: score 0.934, margin -2.727 = bias -1.25 and"
    assert lines[1].split()[:2] == ["amount", "-2.25"]
    assert "█" in lines[1]
    assert "".join(line.strip().split()[0] for line in lines[2:4]) == NAMES[0]
    others, _ = [line for line in lines if "4 others" in line]
    assert others.split()[2].startswith("+0.0")
    assert any(line.startswith("row 1: score 0.5, margin 0 = bias 0 and") for line in lines)
    assert aws.invocations[0]["accept"] == "application/json; contribs=true"
    assert f"m37 version v1 on {SHARED}" in result.stderr


@pytest.mark.usefixtures("as_caller")
def test_contribs_of_several_outputs_are_those_of_the_highest_and_all_of_them_in_json(aws: FakeAws) -> None:
    several = {"score": [0.25, 0.75], "bias": [0.5, -0.5], "contributions": [[0.25, -2.0], [1.0, 2.0]]}
    document = {"feature_names": ["a", "b"], "predictions": [several]}
    aws.containers[SHARED] = lambda *_: (200, "application/json", json.dumps(document).encode())
    shown = invoke("m37", *NAMED, "--body", "1,2", "--contribs").stdout
    assert "row 0: score 0.75, output 1 of 2 (the highest), margin 2.5 = bias -0.5 and" in shown
    answer = json.loads(invoke("m37", *NAMED, "--body", "1,2", "--contribs", "--json").stdout)
    assert answer["feature_names"] == ["a", "b"]
    assert answer["rows"][0]["score"] == [0.25, 0.75]
    assert answer["rows"][0]["outputs"][1] == {"contributions": [1.0, 2.0], "bias": -0.5}
    assert answer["endpoint"] == SHARED


@pytest.mark.usefixtures("as_caller")
def test_rows_of_several_scores_are_a_line_each(aws: FakeAws) -> None:
    aws.containers[SHARED] = lambda *_: (200, "application/json", b"[[0.25, 0.75], [0.5, 0.5]]")
    assert invoke("m37", *NAMED, "--body", "1\n2").stdout == "0.25,0.75\n0.5,0.5\n"
    assert json.loads(invoke("m37", *NAMED, "--body", "1\n2", "--json").stdout)["predictions"][1] == [0.5, 0.5]


@pytest.mark.usefixtures("as_caller")
def test_contribs_where_there_are_none_is_one_sentence(aws: FakeAws) -> None:
    result = invoke("m37", *NAMED, "--body", "1", "--contribs")
    assert (result.exit_code, result.stdout) == (1, "")
    words = " ".join(result.stderr.split())
    assert "its scores cannot be explained: the reply has no contributions" in words
    assert "contributions need the image tierfleet" in words


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--contribs", "--count", "2"), "--contribs explains one call"),
        (("--contribs", "--explain"), "--contribs explains one call"),
        (("--contribs", "--accept", "text/csv"), "--contribs sets the type of the reply"),
    ],
)
def test_contribs_and_what_contradicts_it(options: tuple[str, ...], why: str) -> None:
    result = invoke("m37", *NAMED, "--body", "1", *options)
    assert (result.exit_code, why in result.stderr) == (2, True)
