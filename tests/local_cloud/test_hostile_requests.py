"""Whatever is sent to the local emulator's port, it answers as AWS does or closes, goes on, and serves the others."""

import json
import random
import socket
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.error import HTTPError

import botocore.session
import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from local_cloud.testing.served_account import Served, score

ACCOUNT = "760000000001"
TARGETS = {
    "sagemaker": (
        "SageMaker",
        "CreateModel DescribeModel DeleteModel ListModels CreateEndpointConfig DescribeEndpointConfig "
        "DeleteEndpointConfig ListEndpointConfigs CreateEndpoint UpdateEndpoint UpdateEndpointWeightsAndCapacities "
        "DescribeEndpoint DeleteEndpoint ListEndpoints AddTags DeleteTags ListTags",
    ),
    "application-autoscaling": (
        "AnyScaleFrontendService",
        "RegisterScalableTarget DescribeScalableTargets DeregisterScalableTarget PutScalingPolicy "
        "DescribeScalingPolicies DeleteScalingPolicy PutScheduledAction DescribeScheduledActions "
        "DeleteScheduledAction DescribeScalingActivities",
    ),
    "service-quotas": (
        "ServiceQuotasV20190624",
        "ListServices ListServiceQuotas ListAWSDefaultServiceQuotas GetServiceQuota GetAWSDefaultServiceQuota "
        "RequestServiceQuotaIncrease GetRequestedServiceQuotaChange ListRequestedServiceQuotaChangeHistory "
        "ListRequestedServiceQuotaChangeHistoryByQuota",
    ),
    "logs": ("Logs_20140328", "FilterLogEvents"),
}
OPERATIONS = [(service, prefix, name) for service, (prefix, names) in TARGETS.items() for name in names.split()]
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**400,
    1.5,
    "",
    "x" * 5000,
    "\x00",
    "\ud800",
    "../../etc",
    "arn:aws:sagemaker:eu-west-1:1:model/x",
    [],
    [None],
    [[]],
    {},
    {"": {}},
    [{"VariantName": 1}],
]
BODIES = [
    b"",
    b"null",
    b"[]",
    b"3",
    b'"x"',
    b"{",
    b"\xff\xfe",
    b'{"a":NaN}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"ModelName": "a", "ModelName": {}}',
]
PATHS = ["clock", "faults", "events?since=x", "events?since=-5", "nothing", "", "instances", "../x", "reset/x"]
RAW = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\ncontent-length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST /endpoints/tail/invocations HTTP/1.1\r\ncontent-length: 5\r\n\r\nab",
    b"POST /endpoints/tail/invocations HTTP/1.1\r\ncontent-length: x\r\n\r\nab",
    b"POST /endpoints/%ff%00/invocations HTTP/1.1\r\nHost: x\r\ncontent-length: 1\r\n\r\na",
    b"POST /endpoints/tail/invocations HTTP/1.1\r\n" + b"x: y\r\n" * 20_000,
    b"POST /endpoints/tail/invocations HTTP/1.1\r\nx: " + b"y" * 10_000_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"A" * 200_000,
]
# A little more than is read of a head: nothing of it is unread when it is refused.
LONG_HEAD = b"POST /endpoints/tail/invocations HTTP/1.1\r\nx: " + b"y" * 1024 * 1024


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("hostile"), account=ACCOUNT, serving="models") as running:
        yield running


@pytest.fixture(scope="module")
def served(cloud: LocalCloud) -> Served:
    """A neighbour that must not notice anything."""
    served = Served(Account(cloud, ACCOUNT))
    served.publish(m01=1, m02=2)
    served.config("c")
    served.create("tail", "c")
    return served


def unharmed(served: Served) -> None:
    assert served.cloud.admin("health", seconds=30) == {"pid": served.cloud.pid}
    assert served.score("tail", "m01") == pytest.approx(score(1), rel=1e-6)
    assert served.describe("tail")["EndpointStatus"] == "InService"
    assert "tick failed" not in (served.cloud.state_dir / "local-cloud.log").read_text()


def signed(service: str, account: str) -> str:
    scope = {"service-quotas": "servicequotas"}.get(service, service)
    return (
        f"AWS4-HMAC-SHA256 Credential={account}/20270101/eu-west-1/{scope}/aws4_request, SignedHeaders=h, Signature=s"
    )


def post(cloud: LocalCloud, service: str, target: str, body: bytes) -> tuple[int, bytes]:
    """Under an account of its own: what it makes is its own."""
    headers = {
        "x-amz-target": target,
        "content-type": "application/x-amz-json-1.1",
        "authorization": signed(service, "760000000002"),
    }
    request = urllib.request.Request(cloud.endpoint_url + "/", data=body, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def sound(shape: Shape, depth: int = 0) -> Any:
    """A small value of the right types."""
    if isinstance(shape, StructureShape):
        wanted = shape.members if depth < 4 else {name: shape.members[name] for name in shape.required_members}
        return {name: sound(member, depth + 1) for name, member in wanted.items()}
    if isinstance(shape, ListShape):
        return [sound(shape.member, depth + 1)] if depth < 6 else []
    if isinstance(shape, MapShape):
        return {"k": sound(shape.value, depth + 1)}
    if shape.type_name == "string":
        return shape.enum[0] if getattr(shape, "enum", None) else "x" * max(1, shape.metadata.get("min", 1))
    return {"boolean": True, "timestamp": 1, "blob": "eA=="}.get(shape.type_name, shape.metadata.get("min", 1))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(below, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], odd)
    return copy


@pytest.mark.parametrize(("service", "prefix", "operation"), OPERATIONS, ids=[name for *_, name in OPERATIONS])
def test_a_request_of_any_shape_is_answered_as_aws_does(
    cloud: LocalCloud, served: Served, service: str, prefix: str, operation: str
) -> None:
    shape = botocore.session.Session().get_service_model(service).operation_model(operation).input_shape
    source = random.Random(operation)  # noqa: S311 - tests, no secret
    right = sound(shape)
    all_places = list(places(right))
    odd = [replaced(right, source.choice(all_places), source.choice(ODD)) for _ in range(25)]
    odd += [{name: value} for name in shape.members for value in source.sample(ODD, 2)]
    bodies = [json.dumps(request).encode() for request in odd] + (BODIES if operation.startswith("List") else [])
    for body in bodies:
        status, answered = post(cloud, service, f"{prefix}.{operation}", body)
        assert status in (200, 400), (body[:500], status, answered[:500])
        read = json.loads(answered)
        assert status == 200 or (read["__type"] and read.get("message") is not None), (body[:500], answered)
    unharmed(served)


@pytest.mark.parametrize(
    "target", ["", "x", "SageMaker.", "SageMaker.Nothing", ".", "Nobody.Knows", "SageMaker." * 900]
)
def test_an_unknown_operation_is_named(cloud: LocalCloud, served: Served, target: str) -> None:
    status, answered = post(cloud, "sagemaker", target, b"{}")
    assert status == 400
    if target:
        assert json.loads(answered)["__type"] == "UnknownOperationException"
    unharmed(served)


@pytest.mark.parametrize("path", PATHS)
def test_our_own_paths_refuse_with_a_sentence(cloud: LocalCloud, served: Served, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        for body in [*BODIES, b'{"mode": "odd"}', b'{"advance_seconds": "nan"}', b'{"advance_seconds": 1e300}']:
            connection = HTTPConnection(cloud.endpoint_url.removeprefix("http://"), timeout=60)
            connection.request(method, f"/_tierfleet/{path}", body if method != "GET" else None)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status in (200, 400, 404, 405), (method, path, body[:80], answer.status, text[:300])
            if answer.status != 200:
                assert json.loads(text)["message"]
            connection.close()
            if method == "GET":
                break
    assert cloud.admin("clock")["ahead_seconds"] == 0
    unharmed(served)


@pytest.mark.parametrize(
    "faults",
    [
        {"unhealthy_model_data": 3},
        {"unhealthy_model_data": [3]},
        {"unhealthy_model_data": "m01"},
        {"events_per_in_service": "x"},
        {"events_per_in_service": 10**9},
        {"events_per_in_service": -1},
        {"events_per_in_service": None},
        {"s3_failing": True, "throttled": [{"endpoint": "tail", "refused_of_ten": "many"}]},
        {"slow_model_server": [{"endpoint": "tail", "milliseconds": "nan"}]},
        {"slow_model_server": [{"endpoint": "tail", "milliseconds": 1e300}]},
        {"disk_full": 7},
        {"disk_full": [[]]},
        {"kill_instance": []},
    ],
)
def test_a_fault_of_a_wrong_value_is_refused_as_a_whole(cloud: LocalCloud, served: Served, faults: Any) -> None:
    with pytest.raises(HTTPError) as refused:
        cloud.admin("faults", faults)
    assert refused.value.code == 400
    assert "faults not set" in json.loads(refused.value.read())["message"]
    unharmed(served)
    cloud.admin("faults", {})


@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_invalid_http_harms_no_other_caller(cloud: LocalCloud, served: Served, raw: bytes) -> None:
    host, port = cloud.endpoint_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.settimeout(2)
        try:
            connection.sendall(raw)
            connection.recv(65536)
        except (TimeoutError, OSError):
            pass  # half a request may wait for the rest
        unharmed(served)


@pytest.mark.parametrize(("raw", "status"), [(RAW[7], b"400"), (LONG_HEAD, b"431")])
def test_an_invocation_that_is_no_request_is_refused(cloud: LocalCloud, raw: bytes, status: bytes) -> None:
    host, port = cloud.endpoint_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(raw)
        assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)


def test_half_open_connections_delay_no_other_caller(cloud: LocalCloud, served: Served) -> None:
    host, port = cloud.endpoint_url.removeprefix("http://").split(":")
    halves = [b"", b"P", b"POST /endpoints/tail/invocations HTTP/1.1\r\nhost: x\r\n", b"POST / HTTP/1.1\r\nhost: x\r\n"]
    held = [socket.create_connection((host, int(port)), timeout=60) for _ in range(120)]
    for number, connection in enumerate(held):
        connection.sendall(halves[number % len(halves)])
    unharmed(served)
    for connection in held:
        connection.close()
    unharmed(served)


def test_a_body_that_is_announced_too_large_is_not_waited_for(cloud: LocalCloud, served: Served) -> None:
    host, port = cloud.endpoint_url.removeprefix("http://").split(":")
    head = b"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: SageMaker.ListModels\r\ncontent-length: 10000000000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head)
        assert b" 413 " in connection.recv(65536).partition(b"\r\n")[0]
    unharmed(served)


def test_a_bad_artefact_and_a_container_that_ends_stop_no_other(cloud: LocalCloud, served: Served) -> None:
    served.account.upload("models/bad.tar.gz", b"no archive")
    served.account.upload("models/empty.tar.gz", b"")
    served.config("bad", "bad.tar.gz")
    served.sagemaker.create_endpoint(EndpointName="bad", EndpointConfigName="bad")
    served.config("ends", "m02.tar.gz", Environment={"TIERFLEET_SERVER_THREADS": "no number", "PYTHONHOME": "/none"})
    served.sagemaker.create_endpoint(EndpointName="ends", EndpointConfigName="ends")
    for name in ("bad", "empty"):
        with pytest.raises(Exception, match=r"\((ModelError|ValidationError)\)"):
            served.invoke("tail", name)
        unharmed(served)
    assert served.settled("bad")["EndpointStatus"] == "Failed"
    assert served.settled("ends")["EndpointStatus"] == "Failed"
    unharmed(served)
    (instance,) = served.instances("tail")
    cloud.admin("faults", {"kill_instance": {"endpoint": "tail"}})
    served.wait_for(lambda: served.instances("tail")[0]["pid"] not in (None, instance["pid"]))
    served.wait_for(lambda: served.instances("tail")[0]["status"] == "InService")
    assert served.score("tail", "m02") == pytest.approx(score(2), rel=1e-6)
