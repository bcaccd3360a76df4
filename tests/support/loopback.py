"""AppConfig data, S3, STS and sagemaker-runtime on loopback: what a real boto3 client needs to be answered.

A model's score of a row is the row's sum plus the tenant's number, so a reply from another tenant's model shows.
"""

import io
import json
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import botocore.loaders
import pytest

from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.clients import CallingClients
from tierfleet.runtime.route_parsing import parse_routes
from tierfleet.runtime.route_parts import part_key

ACCOUNT, REGION = "111122223333", "eu-west-1"
FLEET, ENVIRONMENT = "fraud", "prod"
BUCKET = f"{FLEET}--{ENVIRONMENT}--models--{ACCOUNT}--{REGION}"
ASYNC_BUCKET = f"{FLEET}--{ENVIRONMENT}--async--{ACCOUNT}--{REGION}"
# The options that name the fleet to a command.
NAMED = ("--fleet", FLEET, "--environment", ENVIRONMENT)
SHARED = "fraud--prod--tail--all--mme-m5-xlarge"
# Of a further multi-model tier.
SECOND = "fraud--prod--second--all--mme-m5-large"
WHALES_VERSION = "pinned"
# A test that fails while it holds a reply leaves no thread for longer.
# Longer than any program of a test may run, so that a held reply never helps one.
_LONGEST_HOLD_SECONDS = 120
SHARED_AFTER_RETYPE = "fraud--prod--tail--all--mme-m6i-xlarge"


def whale(tenant: str) -> str:
    return f"fraud--prod--whale--{tenant}--dedicated-m5-large"


def queued(tenant: str) -> str:
    return f"fraud--prod--backfill--{tenant}--async-m5-large"


def route_document(*, shared: str = SHARED, whales: tuple[str, ...] = ("m01",)) -> dict[str, Any]:
    return {
        "version": 1,
        "fleet": FLEET,
        "environment": ENVIRONMENT,
        "default_tier": "tail",
        "models_bucket": BUCKET,
        "ttl_seconds": 60,
        "tiers": {"tail": {"hosting": "multi-model", "endpoint": shared}, "whale": {"hosting": "dedicated"}},
        "tenants": {
            tenant: {"tier": "whale", "endpoint": whale(tenant), "model_version": WHALES_VERSION} for tenant in whales
        },
    }


def async_route_document(*tenants: str) -> dict[str, Any]:
    """A document with an asynchronous tier of these tenants."""
    document = route_document()
    document["tiers"]["backfill"] = {"hosting": "async", "bucket": ASYNC_BUCKET}
    for tenant in tenants:
        document["tenants"][tenant] = {"tier": "backfill", "endpoint": queued(tenant), "model_version": WHALES_VERSION}
    return document


def split_route_document(aws: "FakeAws", tenants: dict[str, Any]) -> dict[str, Any]:
    """A document whose tenants of multi-model tiers are a part, which is put into the bucket."""
    content = json.dumps(tenants)
    key = part_key(content.encode())
    aws.parts[key] = content
    document = route_document()
    document["tiers"]["second"] = {"hosting": "multi-model", "endpoint": SECOND}
    return {**document, "parts": {"tenants": key, "warm_up": part_key(b"not read by callers")}}


def older_route_document() -> dict[str, Any]:
    """As a fleet hosts it that was deployed before the routes named a bucket, a TTL and dedicated tenants' versions."""
    document = {key: value for key, value in route_document().items() if key not in {"models_bucket", "ttl_seconds"}}
    for tenant in document["tenants"].values():
        del tenant["model_version"]
    return document


def score(tenant: str, row: str) -> float:
    return sum(float(value) for value in row.split(",")) + int(tenant[1:])


# Takes tenant, body, content type and Accept; gives status, content type and body.
Container = Callable[[str, bytes, str, str], tuple[int, str, bytes]]


class FakeAws:
    """State that tests set and counters they read; the lock guards what several requests touch."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.routes: dict[str, Any] | None = route_document()
        # None: what the session asked for.
        self.poll_seconds: int | None = None
        self.endpoints = {SHARED, whale("m01")}
        self.versions: dict[str, str] = defaultdict(lambda: "v1")
        self.pointers: dict[str, str] = {}
        # Parts of the route document, by key.
        self.parts: dict[str, str] = {}
        # What joins them once /later is asked for, by a program that has read a pointer.
        self.later_pointers: dict[str, str] = {}
        # What a version of a shared model adds to every score.
        self.version_adds: dict[str, float] = defaultdict(float)
        self.unpublished: set[str] = set()
        self.missing_archives: set[str] = set()
        self.down: set[str] = set()
        self.s3_error: tuple[int, str] = (503, "SlowDown")
        self.appconfig_error: tuple[int, str] = (500, "InternalServerException")
        # Replies that come before the real ones, by endpoint: (status, code, message, further fields).
        self.script: dict[str, deque[tuple[int, str, str, dict[str, Any]]]] = defaultdict(deque)
        # What answers in place of the scores here, by endpoint.
        self.containers: dict[str, Container] = {}
        # Of the asynchronous tier's bucket, by key.
        self.objects: dict[str, bytes] = {}
        # Its endpoints have no instance: requests stay in the queue until `wake_up`.
        self.asleep = False
        self.queue: list[tuple[str, str, bytes]] = []
        self.submissions: list[dict[str, str | None]] = []
        # What its endpoints write to the failure location, by a row of the request.
        self.bad_rows: dict[str, bytes] = {}
        self.operations: list[str] = []
        self.invocations: list[dict[str, str | None]] = []
        self.hold_invocations = threading.Event()
        self.hold_invocations.set()
        self.hold_s3 = threading.Event()
        self.hold_s3.set()
        self.hold_appconfig = threading.Event()
        self.hold_appconfig.set()
        # GetLatestConfiguration is answered so often, then never.
        self.held_after_polls: int | None = None
        self.tokens: set[str] = set()
        self.seen_routes: dict[str, str] = {}
        self.starts: list[dict[str, Any]] = []
        self.buckets: set[str] = set()
        # What S3 requests were signed for.
        self.s3_regions: set[str] = set()

    def fail(
        self, endpoint: str, code: str, message: str = "", *, times: int = 1, status: int = 400, **fields: Any
    ) -> None:
        self.script[endpoint].extend([(status, code, message, fields)] * times)

    def wake_up(self) -> None:
        """Work off the queues."""
        self.asleep = False
        for tenant, key, body in self.queue:
            bad = [row for row in body.decode().splitlines() if row in self.bad_rows]
            if bad:
                self.objects[f"backfill/failure/{tenant}/{key}-error.out"] = self.bad_rows[bad[0]]
            else:
                predictions = [{"score": score(tenant, row)} for row in body.decode().splitlines()]
                self.objects[f"backfill/output/{tenant}/{key}.out"] = json.dumps({"predictions": predictions}).encode()
        self.queue.clear()

    def count(self, operation: str) -> int:
        with self.lock:
            return self.operations.count(operation)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Two writes a reply (headers, body) would meet delayed acknowledgements.
    wbufsize = -1
    disable_nagle_algorithm = True
    aws: FakeAws

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/later":
            self.aws.pointers |= self.aws.later_pointers
            self._reply(200, "")
        elif url.path == "/configuration":
            self._get_latest_configuration(parse_qs(url.query)["configuration_token"][0])
        else:
            self._get_object(unquote(url.path))

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # The caller was killed.
            self.close_connection = True
            return
        parts = self.path.split("/")
        if self.path == "/configurationsessions":
            self._start_configuration_session(json.loads(body))
        elif parts[-1] == "async-invocations":
            self._submit(parts[2], body)
        elif parts[1:2] == ["endpoints"]:
            self._invoke(parts[2], body.decode())
        else:
            self._note("GetCallerIdentity")
            if "sts" in self.aws.down:
                error = "<Error><Code>AccessDenied</Code><Message>down</Message></Error>"
                self._reply(403, f"<ErrorResponse>{error}</ErrorResponse>", "text/xml")
                return
            self._reply(
                200,
                f"<GetCallerIdentityResponse><GetCallerIdentityResult><Account>{ACCOUNT}</Account>"
                "</GetCallerIdentityResult></GetCallerIdentityResponse>",
                "text/xml",
            )

    def do_PUT(self) -> None:
        self._note("PutObject")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "s3" in self.aws.down:
            status, code = self.aws.s3_error
            self._reply(status, f"<Error><Code>{code}</Code><Message>down</Message></Error>", "application/xml")
            return
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            # One chunk: its size in hexadecimal, the bytes, then a checksum.
            size, _, rest = body.partition(b"\r\n")
            body = rest[: int(size.split(b";")[0], 16)]
        _, bucket, key = unquote(urlsplit(self.path).path).split("/", 2)
        assert bucket == ASYNC_BUCKET, self.path
        self.aws.objects[key] = body
        self._reply(200, "")

    def _submit(self, endpoint: str, body: bytes) -> None:
        self._note("InvokeEndpointAsync")
        location = self.headers.get("X-Amzn-SageMaker-InputLocation")
        scripted = self.aws.script[endpoint].popleft() if self.aws.script[endpoint] else None
        if scripted:
            status, code, message, fields = scripted
            self._error(status, code, message, **fields)
            return
        if endpoint not in self.aws.endpoints:
            self._error(400, "ValidationError", f"Endpoint {endpoint} of account {ACCOUNT} not found.")
            return
        tenant = endpoint.split("--")[3]
        names = ("RequestTTLSeconds", "InvocationTimeoutSeconds", "Content-Type", "InputLocation")
        with self.aws.lock:
            self.aws.submissions.append({name: self.headers.get(f"X-Amzn-SageMaker-{name}") for name in names})
            key = f"r{len(self.aws.submissions)}"
            if location:
                body = self.aws.objects[location.removeprefix(f"s3://{ASYNC_BUCKET}/")]
            self.aws.queue.append((tenant, key, body))
            if not self.aws.asleep:
                self.aws.wake_up()
        below = f"s3://{ASYNC_BUCKET}/backfill"
        locations = {"Output": f"output/{tenant}/{key}.out", "Failure": f"failure/{tenant}/{key}-error.out"}
        headers = {f"X-Amzn-SageMaker-{name}Location": f"{below}/{path}" for name, path in locations.items()}
        self._reply(202, json.dumps({"InferenceId": key}), **headers)

    def _note(self, operation: str) -> None:
        with self.aws.lock:
            self.aws.operations.append(operation)

    def _start_configuration_session(self, request: dict[str, Any]) -> None:
        self._note("StartConfigurationSession")
        if "appconfig" in self.aws.down:
            self._error(*self.aws.appconfig_error, "down")
            return
        with self.aws.lock:
            self.aws.starts.append(request)
            token = f"t{len(self.aws.operations)}"
            self.aws.tokens.add(token)
        self._reply(201, json.dumps({"InitialConfigurationToken": token}))

    def _get_latest_configuration(self, token: str) -> None:
        self._note("GetLatestConfiguration")
        if (
            self.aws.held_after_polls is not None
            and self.aws.count("GetLatestConfiguration") > self.aws.held_after_polls
        ):
            self.aws.hold_appconfig.clear()
        self.aws.hold_appconfig.wait(_LONGEST_HOLD_SECONDS)
        if "appconfig" in self.aws.down:
            self._error(*self.aws.appconfig_error, "down")
            return
        with self.aws.lock:
            if token not in self.aws.tokens:
                known = False
            else:
                known = True
                self.aws.tokens.remove(token)
                content = json.dumps(self.aws.routes) if self.aws.routes else ""
                before = self.aws.seen_routes.pop(token, None)
                next_token = f"t{len(self.aws.operations)}n"
                self.aws.tokens.add(next_token)
                self.aws.seen_routes[next_token] = content
        if not known:
            self._error(400, "BadRequestException", "Request token is invalid or was used")
            return
        headers = {
            "Next-Poll-Configuration-Token": next_token,
            "Next-Poll-Interval-In-Seconds": str(
                self.aws.poll_seconds or self.aws.starts[-1].get("RequiredMinimumPollIntervalInSeconds", 60)
            ),
        }
        self._reply(200, "" if content == before else content, **headers)

    def _get_object(self, path: str) -> None:
        self._note("GetObject")
        self.aws.hold_s3.wait(_LONGEST_HOLD_SECONDS)
        if "s3" in self.aws.down:
            status, code = self.aws.s3_error
            self._reply(status, f"<Error><Code>{code}</Code><Message>down</Message></Error>", "application/xml")
            return
        if path.startswith(f"/{ASYNC_BUCKET}/"):
            content = self.aws.objects.get(path.removeprefix(f"/{ASYNC_BUCKET}/"))
            if content is None:
                self._reply(404, "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>", "application/xml")
            else:
                # As S3 has it. A client that sees the same bytes twice takes the second for a reply to another request.
                self._reply(200, content, **{"x-amz-request-id": str(self.aws.count("GetObject"))})
            return
        _, bucket, folder, name = path.split("/")
        if folder == "routes":
            part = self.aws.parts.get(f"{folder}/{name}")
            if part is None:
                self._reply(404, "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>", "application/xml")
            else:
                self._reply(200, part)
            return
        assert folder == "catalog", path
        with self.aws.lock:
            self.aws.buckets.add(bucket)
            self.aws.s3_regions.add(self.headers.get("Authorization", "//").split("/")[2])
        tenant = path.rsplit("/", 1)[1].removesuffix(".json")
        if tenant in self.aws.unpublished:
            self._reply(404, "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>", "application/xml")
            return
        version = self.aws.versions[tenant]
        pointer = {"tenant": tenant, "version": version, "target_model": f"{tenant}/{version}.tar.gz"}
        self._reply(200, self.aws.pointers.get(tenant) or json.dumps(pointer))

    def _invoke(self, endpoint: str, body: str) -> None:
        self._note("InvokeEndpoint")
        target = self.headers.get("X-Amzn-SageMaker-Target-Model")
        with self.aws.lock:
            self.aws.invocations.append(
                {
                    "endpoint": endpoint,
                    "target_model": target,
                    "accept": self.headers.get("Accept"),
                    "content_type": self.headers.get("Content-Type"),
                }
            )
            scripted = self.aws.script[endpoint].popleft() if self.aws.script[endpoint] else None
            exists = endpoint in self.aws.endpoints
        if scripted:
            status, code, message, fields = scripted
            self._error(status, code, message, **fields)
            return
        if not exists:
            self._error(400, "ValidationError", f"Endpoint {endpoint} of account {ACCOUNT} not found.")
            return
        self.aws.hold_invocations.wait(_LONGEST_HOLD_SECONDS)
        shared = "--all--" in endpoint
        if shared == (target is None):
            self._error(400, "ValidationError", "TARGET_MODEL_HEADER_NOT_SUPPORTED or missing a target model header")
            return
        if target in self.aws.missing_archives:
            self._error(400, "ValidationError", f"Failed to download model data (bucket: {BUCKET}, key: {target})")
            return
        tenant = target.split("/")[0] if target else endpoint.split("--")[3]
        if endpoint in self.aws.containers:
            accept, sent = self.headers.get("Accept", ""), self.headers.get("Content-Type", "")
            status, content_type, answer = self.aws.containers[endpoint](tenant, body.encode(), sent, accept)
            if status == 200:
                self._reply(200, answer.decode(), content_type)
            else:  # as SageMaker passes on what a container says
                kind, said = "server" if status >= 500 else "client", answer.decode()
                message = f'Received {kind} error ({status}) from primary with message "{said}"'
                self._error(424, "ModelError", message, OriginalStatusCode=status, OriginalMessage=said)
            return
        version = target.split("/")[1].removesuffix(".tar.gz") if target else ""
        scores = [score(tenant, row) + self.aws.version_adds[version] for row in body.split("\n")]
        if shared:
            self._reply(200, json.dumps(scores), **{"x-Amzn-Invoked-Production-Variant": "AllTraffic"})
        else:
            self._reply(200, json.dumps({"predictions": [{"score": value} for value in scores]}))

    def _error(self, status: int, code: str, message: str, **fields: Any) -> None:
        self._reply(status, json.dumps({"message": message, **fields}), **{"x-amzn-ErrorType": code})

    def _reply(self, status: int, content: str | bytes, content_type: str = "application/json", **headers: str) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    # Idle keep-alive connections would be waited for.
    block_on_close = False


@contextmanager
def serving(aws: FakeAws, *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The URL at which the fake answers."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"aws": aws}))
    if tls is not None:
        # The handshake belongs to the connection's own thread.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def session() -> boto3.Session:
    return boto3.Session("test", "test", region_name=REGION)


@contextmanager
def service_models_read_once() -> Iterator[None]:
    """Every session shares what it reads of boto3's service models, which takes longer than most calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(botocore.loaders.create_loader))
        yield


class Clock:
    """A clock that only sleeping, in any thread, and tests move."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []
        self.lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.sleeps.append(seconds)
            self.now += seconds


class Pointers:
    """An S3 client that has a pointer to this version of every tenant."""

    class meta:  # noqa: N801 - boto3's name
        region_name = REGION

    def __init__(self, version: str = "1") -> None:
        self.version = version

    def get_object(self, **request: Any) -> dict[str, Any]:
        tenant = request["Key"].removeprefix("catalog/").removesuffix(".json")
        pointer = {
            "tenant": tenant,
            "version": self.version,
            "target_model": f"{tenant}/{self.version}.tar.gz",
        }
        return {"Body": io.BytesIO(json.dumps(pointer).encode())}


def fleet_client(
    runtime: Any, document: dict[str, Any], *, clock: Clock, version: str = "1", **options: Any
) -> FleetClient:
    """A client with these routes whose calls `runtime` answers. version: of every tenant's pointer."""
    return FleetClient(
        FLEET,
        ENVIRONMENT,
        account=ACCOUNT,
        routes=parse_routes(json.dumps(document)),
        aws=CallingClients(runtime=runtime, s3=Pointers(version)),  # type: ignore[arg-type]
        clock=clock,
        sleep=clock.sleep,
        **options,
    )
