"""One sentence for a failed call to AWS: the request, AWS's answer, what to do."""

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from tierfleet.runtime.aws_errors import classify

_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.TokenRetrievalError,
    exceptions.SSOError,
    exceptions.ProfileNotFound,
)
WHO = "AWS_PROFILE or AWS_ACCESS_KEY_ID says who you are"
_BAD_KEYS = ("InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_OTHER_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "301", "IllegalLocationConstraintException")
# Source: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_CLOCK = ("RequestTimeTooSkewed", "RequestInTheFuture")
_DENIED = ("AccessDenied", "AccessDeniedException", "403")
MODELS_PERMISSIONS = "docs/models.md lists the permissions"


class AwsProblemError(Exception):
    """A call to AWS failed; the message is one sentence."""


def aws_problem(error: BotoCoreError | ClientError, asked: str, *, permissions: str = MODELS_PERMISSIONS) -> str:
    """The sentence for an error of a call.

    asked: what the call is about: a bucket by its name, or words such as "the routes of fraud prod".
    permissions: what to do about access denied.
    """
    if isinstance(error, ClientError):
        said, remedy = _refused(error, asked, permissions)
        return f"{error.operation_name} on {asked}: {said}; {remedy}"
    said, remedy = _unanswered(error)
    return f"{asked}: {said}; {remedy}"


def every_call_meets(error: BotoCoreError | ClientError) -> bool:
    """Whether every other call to this bucket would fail too."""
    if isinstance(error, ClientError):
        return _code(error) in _CLOCK + _EXPIRED + _BAD_KEYS + _OTHER_REGION or classify(error).same_for_every_tenant
    return isinstance(error, (*_CREDENTIALS, exceptions.EndpointConnectionError))


def _refused(error: ClientError, asked: str, permissions: str) -> tuple[str, str]:
    """What AWS said, and what to do."""
    code = _code(error)
    message = _one_line(error.response["Error"].get("Message", ""))
    if code in _CLOCK:
        return f"AWS refuses this machine's clock, it is more than 15 minutes off ({message})", "set the clock"
    if code in _EXPIRED:
        return f"the credentials have expired ({code})", f"get new ones: {WHO}"
    if code in _BAD_KEYS:
        return f"AWS does not accept the credentials ({code})", WHO
    if code == "NoSuchBucket":
        stage = "-".join(asked.split("--")[:2])
        remedy = f"it comes with cdk deploy {stage}/Models, and the fleet file says in which account and region"
        return "there is no such bucket", remedy
    if code in _OTHER_REGION:
        return f"the bucket is in another region than the fleet file says ({code})", "correct region in the file"
    if code in _DENIED:
        return f"access denied ({message})", f"{permissions}; {WHO}"
    return _classified(error)


def _unanswered(error: BotoCoreError) -> tuple[str, str]:
    """What happened before AWS answered, and what to do."""
    if isinstance(error, exceptions.NoCredentialsError):
        return "there are no AWS credentials", WHO
    if isinstance(error, _CREDENTIALS):
        return _one_line(str(error)), WHO
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return f"no answer ({_one_line(str(error))})", "check the network, AWS_ENDPOINT_URL and the region"
    return _classified(error)


def _classified(error: BotoCoreError | ClientError) -> tuple[str, str]:
    verdict = classify(error)
    if verdict.retryable:
        return verdict.sentence, "try again in a minute"
    return verdict.sentence, "trying again will not help: correct what AWS names"


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
