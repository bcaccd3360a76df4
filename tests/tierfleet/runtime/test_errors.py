"""Every kind of error a call can get, as botocore parses it from real replies on a loopback server."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import create_parser

from tierfleet.runtime import clients
from tierfleet.runtime.aws_errors import _MEANING, Kind, classify


@dataclass
class Service:
    """A server that gives every request the same reply and counts the requests."""

    url: str = ""
    status: int = 200
    code: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    requests: int = 0


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            service.requests += 1
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(service.body).encode()
            self.send_response(service.status)
            self.send_header("x-amzn-ErrorType", service.code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield service
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def runtime(service: Service) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", service.url)
        session = boto3.Session("test", "test", region_name="eu-west-1")
        client = clients.cold_path_client(connections=1, session=session)
        yield client
        client.close()


def model_error(status: int, message: str) -> dict[str, Any]:
    return {
        "Message": "Received error from primary",
        "OriginalStatusCode": status,
        "OriginalMessage": message,
    }


NO_WORKER = "No worker is available to serve request for model: 0a1b. Consider increasing job queue size."
DOWNLOAD = "Failed to download model data (bucket: fraud--prod--models, key: models/m02/2027-09-14.tar.gz)."
NOT_FOUND = "Endpoint fraud--prod--tail--all--mme-m5-xlarge of account 111122223333 not found."
NO_TARGET = "Invocation request for multi-model endpoint is missing a target model header."
NO_MODEL_DATA = "Could not find model data at s3://fraud--prod--models/models/m02/2027-09-14.tar.gz."


@pytest.mark.parametrize(
    ("status", "code", "body", "kind", "retryable"),
    [
        (429, "ModelNotReadyException", {"Message": "loading"}, Kind.MODEL_NOT_READY, True),
        (400, "ThrottlingException", {"Message": "Rate exceeded"}, Kind.THROTTLED, True),
        (503, "ServiceUnavailable", {"Message": "try later"}, Kind.UNAVAILABLE, True),
        (500, "InternalFailure", {"Message": "oops"}, Kind.UNAVAILABLE, True),
        (530, "InternalDependencyException", {"Message": "oops"}, Kind.DEPENDENCY, True),
        (424, "ModelError", model_error(503, NO_WORKER), Kind.CONTAINER_BUSY, True),
        (424, "ModelError", model_error(507, "Insufficient memory"), Kind.OUT_OF_MEMORY, True),
        (424, "ModelError", model_error(503, "Prediction failed"), Kind.PAYLOAD_OR_MODEL, False),
        (424, "ModelError", model_error(415, "unsupported type"), Kind.PAYLOAD, False),
        (424, "ModelError", model_error(406, "no such form"), Kind.NOT_ACCEPTABLE, False),
        (424, "ModelError", model_error(500, "worker died"), Kind.MODEL, False),
        (400, "ValidationError", {"Message": DOWNLOAD}, Kind.MISSING_MODEL, False),
        (400, "ValidationError", {"Message": NO_MODEL_DATA}, Kind.MISSING_MODEL, False),
        (400, "ValidationError", {"Message": NOT_FOUND}, Kind.UNKNOWN_ENDPOINT, False),
        (400, "ValidationError", {"Message": NO_TARGET}, Kind.REQUEST, False),
        (403, "AccessDeniedException", {"Message": "User is not authorized"}, Kind.DENIED, False),
        (403, "ExpiredTokenException", {"Message": "expired"}, Kind.DENIED, False),
        (418, "NeverHeardOfException", {"Message": "?"}, Kind.UNEXPECTED, False),
        (502, "NeverHeardOfException", {"Message": "?"}, Kind.UNAVAILABLE, True),
        (429, "NeverHeardOfException", {"Message": "?"}, Kind.THROTTLED, True),
        (403, "InvalidSignatureException", {"Message": "?"}, Kind.DENIED, False),
    ],
)
def test_a_reply_of_invoke_endpoint_is_classified_and_sent_once(
    service: Service, runtime: Any, status: int, code: str, body: dict[str, Any], kind: Kind, retryable: bool
) -> None:
    service.status, service.code, service.body, service.requests = status, code, body, 0
    with pytest.raises(ClientError) as raised:
        runtime.invoke_endpoint(EndpointName="fraud--prod--tail--all--mme-m5-xlarge", Body=b"0,0,0")
    verdict = classify(raised.value)
    assert (verdict.kind, verdict.retryable) == (kind, retryable)
    assert code in verdict.sentence
    assert body.get("OriginalMessage", body["Message"]) in verdict.sentence
    assert service.requests == 1


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (exceptions.ConnectTimeoutError(endpoint_url="https://aws"), Kind.CONNECTION, True),
        (exceptions.EndpointConnectionError(endpoint_url="https://aws"), Kind.CONNECTION, True),
        (exceptions.ConnectionClosedError(endpoint_url="https://aws"), Kind.CONNECTION, True),
        (exceptions.ResponseStreamingError(error="reset"), Kind.CONNECTION, True),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), Kind.CONNECTION, True),
        (exceptions.ReadTimeoutError(endpoint_url="https://aws"), Kind.READ_TIMEOUT, True),
        (exceptions.NoCredentialsError(), Kind.DENIED, False),
        (exceptions.PartialCredentialsError(provider="env", cred_var="secret"), Kind.DENIED, False),
        (exceptions.UnauthorizedSSOTokenError(), Kind.DENIED, False),
        (exceptions.ParamValidationError(report="bad"), Kind.REQUEST, False),
        (RuntimeError("a bug"), Kind.UNEXPECTED, False),
    ],
)
def test_an_exception_without_a_reply_is_classified(error: Exception, kind: Kind, retryable: bool) -> None:
    verdict = classify(error)
    assert (verdict.kind, verdict.retryable) == (kind, retryable)
    assert " ".join(str(error).split()) in verdict.sentence


def client_error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetObject")


LISTING = (
    "User: arn:aws:sts::111122223333:assumed-role/warm-up/x is not authorized to perform: s3:ListBucket on "
    'resource: "arn:aws:s3:::bucket" because no identity-based policy allows the s3:ListBucket action'
)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("NoSuchKey", "The specified key does not exist.", Kind.MISSING_MODEL),
        ("AccessDenied", LISTING, Kind.MISSING_MODEL),
        ("AccessDenied", "Access Denied", Kind.DENIED),
        ("NoSuchBucket", "The specified bucket does not exist", Kind.UNKNOWN_BUCKET),
        ("SlowDown", "Please reduce your request rate.", Kind.THROTTLED),
        ("ValidationException", 'Could not find endpoint "arn:aws:sagemaker:e".', Kind.UNKNOWN_ENDPOINT),
    ],
)
def test_replies_of_s3_and_describe_endpoint(code: str, message: str, kind: Kind) -> None:
    assert classify(client_error(code, message)).kind is kind


def test_only_errors_of_the_endpoint_itself_are_the_same_for_every_tenant() -> None:
    verdicts = {
        code: classify(client_error(code, NOT_FOUND)).same_for_every_tenant
        for code in ("AccessDenied", "NoSuchBucket", "ValidationError", "ThrottlingException", "NoSuchKey")
    }
    assert [code for code, same in verdicts.items() if same] == [
        "AccessDenied",
        "NoSuchBucket",
        "ValidationError",
    ]


def test_the_sentence_is_one_line_and_bounded() -> None:
    sentence = classify(client_error("ModelError", "line\n" * 500)).sentence
    assert "\n" not in sentence
    assert len(sentence) < 400


def test_every_kind_has_a_meaning() -> None:
    assert set(_MEANING) == set(Kind)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_reply_without_a_body_as_a_load_balancer_gives_it_may_pass(runtime: Any, status: int) -> None:
    parser = create_parser("rest-json")
    operation = runtime.meta.service_model.operation_model("InvokeEndpoint")
    parsed = parser.parse({"status_code": status, "headers": {}, "body": b""}, operation.output_shape)
    error = ClientError(parsed, "InvokeEndpoint")
    assert (classify(error).kind, classify(error).retryable) == (Kind.UNAVAILABLE, True)
