"""Whatever AWS refuses or does not answer, and whichever command asked: what was asked, what AWS said, what to do."""

from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from loopback import BUCKET, NAMED, FakeAws, older_route_document
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG
from tierfleet.aws_problem import aws_problem, every_call_meets
from tierfleet.cli import app

ROUTES = "the routes of fraud prod"
COMMANDS = {
    "invoke": (["invoke", "m37", *NAMED], f"StartConfigurationSession on {ROUTES}", "docs/calling.md"),
    "warm": (["warm", *NAMED], f"StartConfigurationSession on {ROUTES}", "docs/calling.md"),
    "list": (["models", "list", str(CONFIG / "fraud-prod.toml")], f"ListObjectsV2 on {BUCKET}", "docs/models.md"),
}
WHO = "AWS_PROFILE or AWS_ACCESS_KEY_ID says who you are"


def refused(*arguments: str) -> str:
    """The one sentence with which a command ends."""
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.splitlines()
    return line.removeprefix("error: ")


@pytest.fixture
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierfleet.runtime.clients.CONTROL_ATTEMPTS", 1)


@pytest.mark.usefixtures("as_caller", "one_attempt")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("status", "code", "said", "remedy"),
    [
        (403, "AccessDeniedException", "access denied (down)", f"{{page}} lists the permissions; {WHO}"),
        (400, "ExpiredTokenException", "the credentials have expired (ExpiredTokenException)", f"get new ones: {WHO}"),
        (403, "InvalidAccessKeyId", "AWS does not accept the credentials (InvalidAccessKeyId)", WHO),
        (429, "ThrottlingException", "AWS throttles the calls (ThrottlingException: down)", "try again in a minute"),
        (500, "InternalError", "the service is unavailable (InternalError: down)", "try again in a minute"),
        (400, "Odd", "unexpected error (Odd: down)", "trying again will not help: correct what AWS names"),
    ],
)
def test_a_refusal(aws: FakeAws, command: str, status: int, code: str, said: str, remedy: str) -> None:
    aws.down = {"appconfig", "s3"}
    aws.appconfig_error = aws.s3_error = (status, code)
    arguments, asked, page = COMMANDS[command]
    assert refused(*arguments) == f"{asked}: {said}; {remedy.format(page=page)}"


@pytest.mark.usefixtures("as_caller", "one_attempt")
def test_an_account_that_cannot_be_asked_for(aws: FakeAws) -> None:
    aws.routes = {**older_route_document(), "warm_up": (aws.routes or {})["warm_up"]}
    aws.down = {"sts"}
    sentence = refused("warm", *NAMED)
    said = "GetCallerIdentity on the account of these credentials: access denied (down)"
    assert sentence == f"{said}; with --config this call is not needed; {WHO}"
    assert aws.count("InvokeEndpoint") == 0


@pytest.mark.usefixtures("as_caller", "one_attempt")
@pytest.mark.parametrize("command", COMMANDS)
def test_no_answer(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    arguments, asked, _ = COMMANDS[command]
    sentence = refused(*arguments)
    assert sentence.startswith(f"{asked.partition(' on ')[2]}: no answer (Could not connect to the endpoint URL")
    assert sentence.endswith("; check the network, AWS_ENDPOINT_URL and the region")


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("profile", "said"),
    [(None, "there are no AWS credentials"), ("absent", "The config profile (absent) could not be found")],
)
def test_no_credentials(command: str, profile: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    if profile is not None:
        monkeypatch.setenv("AWS_PROFILE", profile)
    assert refused(*COMMANDS[command][0]).endswith(f": {said}; {WHO}")


@pytest.mark.parametrize(
    ("code", "sentence", "for_all"),
    [
        ("NoSuchBucket", "there is no such bucket; it comes with cdk deploy fraud-prod/Models", True),
        ("AccessDenied", "docs/models.md lists the permissions", True),
        ("RequestTimeTooSkewed", "AWS refuses this machine's clock, it is more than 15 minutes off", True),
        ("ExpiredToken", "the credentials have expired (ExpiredToken)", True),
        ("InvalidAccessKeyId", "AWS does not accept the credentials (InvalidAccessKeyId)", True),
        ("PermanentRedirect", "is in another region than the fleet file says", True),
        ("SlowDown", "AWS throttles the calls", False),
        ("InternalError", "the service is unavailable", False),
    ],
)
def test_what_aws_refuses_is_one_sentence_that_says_what_to_do(code: str, sentence: str, for_all: bool) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "its\nown words"}}, "PutObject")
    assert sentence in aws_problem(error, BUCKET)
    assert "\n" not in aws_problem(error, BUCKET)
    assert every_call_meets(error) == for_all


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (exceptions.ProfileNotFound(profile="x"), "The config profile (x) could not be found; AWS_PROFILE or"),
        (
            exceptions.EndpointConnectionError(endpoint_url="http://x"),
            "check the network, AWS_ENDPOINT_URL and the region",
        ),
    ],
)
def test_what_never_reaches_aws_is_one_sentence_too(error: Any, sentence: str) -> None:
    assert sentence in aws_problem(error, BUCKET)
    assert every_call_meets(error)


@pytest.mark.usefixtures("as_caller")
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
        OSError("no such device"),
        KeyError("AccessKeyId"),
        ValueError("Invalid endpoint: x"),
        RecursionError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("where", ["get_credentials", "client"])
def test_whatever_a_credential_source_raises_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(f"boto3.Session.{where}", fail)
    sentence = refused("invoke", "m37", *NAMED)
    assert sentence.startswith((ROUTES, "the fleet at AWS"))
    assert sentence.endswith(WHO)
