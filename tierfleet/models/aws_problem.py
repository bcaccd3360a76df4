"""What went wrong between here and AWS, in one sentence that says what to do."""

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from tierfleet.runtime.errors import classify

_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.TokenRetrievalError,
    exceptions.SSOError,
    exceptions.ProfileNotFound,
)
_WHO = "AWS_PROFILE or AWS_ACCESS_KEY_ID says who you are"
_BAD_KEYS = ("InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_OTHER_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "301", "IllegalLocationConstraintException")
# Source: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_CLOCK = ("RequestTimeTooSkewed", "RequestInTheFuture")


class AwsProblemError(Exception):
    """AWS cannot be used as asked; the message is one sentence."""


def aws_problem(error: BotoCoreError | ClientError, bucket: str) -> str:
    """The sentence for an error of a call that concerns the fleet of this bucket."""
    if isinstance(error, ClientError):
        return _reply(error, bucket)
    if isinstance(error, exceptions.NoCredentialsError):
        return f"there are no AWS credentials; {_WHO}"
    if isinstance(error, _CREDENTIALS):
        return f"{_one_line(error)}; {_WHO}"
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return f"no answer about {bucket}: {_one_line(error)}; check the network, AWS_ENDPOINT_URL and the region"
    return f"{bucket}: {classify(error).sentence}"


def every_call_meets(error: BotoCoreError | ClientError) -> bool:
    """Whether no other call to this bucket would fare better, so that it is no use to go on."""
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        return code in _CLOCK + _EXPIRED + _BAD_KEYS + _OTHER_REGION or classify(error).same_for_every_tenant
    return isinstance(error, (*_CREDENTIALS, exceptions.EndpointConnectionError))


def _reply(error: ClientError, bucket: str) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    operation = error.operation_name
    if code in _CLOCK:
        return f"AWS refuses this machine's clock, it is more than 15 minutes off ({_one_line(error)}); set the clock"
    if code in _EXPIRED:
        return f"the credentials have expired ({code}); get new ones: {_WHO}"
    if code in _BAD_KEYS:
        return f"AWS does not accept the credentials ({code}); {_WHO}"
    if code == "NoSuchBucket":
        fleet, environment = bucket.split("--")[:2]
        return (
            f"there is no bucket {bucket}; it comes with cdk deploy {fleet}-{environment}/Models, and the fleet file "
            "says in which account and region"
        )
    if code in _OTHER_REGION:
        return f"the bucket {bucket} is in another region than the fleet file says ({code}); mend region in the file"
    if code in ("AccessDenied", "AccessDeniedException", "403"):
        return (
            f"access denied: {operation} on {bucket} ({_one_line(error)}); docs/models.md lists the permissions; {_WHO}"
        )
    return f"{operation} failed on {bucket}: {classify(error).sentence}"


def _one_line(error: Exception) -> str:
    text = error.response["Error"].get("Message", "") if isinstance(error, ClientError) else str(error)
    return " ".join(text.split())[:300]
