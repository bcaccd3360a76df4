"""The public port: one connection may carry invocations and everything else, in any framing HTTP/1.1 allows."""

import http.client
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlparse

import pytest

from local_cloud import start
from local_cloud.testing.account import Account
from local_cloud.testing.served_account import ROW, Served, score

ACCOUNT = "700000000001"
AUTHORIZATION = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20270101/eu-west-1/sagemaker/aws4_request"
HEADERS = {
    "Content-Type": "text/csv",
    "X-Amzn-SageMaker-Target-Model": "m01.tar.gz",
    "Authorization": AUTHORIZATION,
}
PATH = "/endpoints/tail/invocations"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with start(tmp_path_factory.mktemp("front"), account=ACCOUNT, serving="models", network_milliseconds=5) as cloud:
        served = Served(Account(cloud, ACCOUNT))
        served.publish(**{f"m{n:02d}": n for n in range(1, 6)})
        served.config("tail")
        served.create("tail", "tail")
        yield served


@pytest.fixture
def connection(served: Served) -> Iterator[http.client.HTTPConnection]:
    address = urlparse(served.cloud.endpoint_url)
    connection = http.client.HTTPConnection(str(address.hostname), int(address.port or 0), timeout=30)
    yield connection
    connection.close()


def ask(connection: http.client.HTTPConnection, method: str, path: str, **request: object) -> tuple[int, bytes]:
    connection.request(method, path, **request)  # type: ignore[arg-type]
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_one_connection_carries_invocations_and_everything_else(connection: http.client.HTTPConnection) -> None:
    sockets = set()
    for _ in range(3):
        status, body = ask(connection, "POST", PATH, body=ROW, headers=HEADERS)
        assert (status, float(body)) == (200, pytest.approx(score(1), rel=1e-6))
        sockets.add(connection.sock)
        assert "pid" in json.loads(ask(connection, "GET", "/_tierfleet/health")[1])
        sockets.add(connection.sock)

    assert len(sockets) == 1


def test_a_body_in_chunks_is_a_body(connection: http.client.HTTPConnection) -> None:
    status, body = ask(connection, "POST", PATH, body=iter([ROW[:3], ROW[3:]]), headers=HEADERS, encode_chunked=True)

    assert (status, float(body)) == (200, pytest.approx(score(1), rel=1e-6))


@pytest.mark.parametrize("pieces", [1, 7, 400])
def test_a_request_may_come_in_pieces_and_wait_to_be_told_to_go_on(served: Served, pieces: int) -> None:
    address = urlparse(served.cloud.endpoint_url)
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost", f"Content-Length: {len(ROW)}", "Expect: 100-continue"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in HEADERS.items()), "", ""]).encode()
    size = -(-len(head) // pieces)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start_at in range(0, len(head), size):
            client.sendall(head[start_at : start_at + size])
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(ROW)
        answer = client.recv(1000)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert float(answer.rpartition(b"\r\n\r\n")[2]) == pytest.approx(score(1), rel=1e-6)


def test_a_client_that_asks_to_close_is_closed_on(served: Served) -> None:
    address = urlparse(served.cloud.endpoint_url)
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost", f"Content-Length: {len(ROW)}", "Connection: close"]
    request = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in HEADERS.items()), "", ""]).encode() + ROW
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 30) as client:
        client.sendall(request)
        answer = b"".join(iter(lambda: client.recv(1000), b""))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in answer


def test_what_is_no_http_is_refused_by_ministack_and_the_port_lives_on(served: Served) -> None:
    address = urlparse(served.cloud.endpoint_url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 30) as client:
        client.sendall(b"\x16\x03\x01 not HTTP\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(1000), b""))

    assert b" 400" in answer.split(b"\r\n")[0]
    assert served.score("tail", "m01") == pytest.approx(score(1), rel=1e-6)


def test_a_caller_who_leaves_while_a_model_answers_harms_no_other_caller(served: Served) -> None:
    served.faults(slow_model_server=[{"endpoint": "tail", "milliseconds": 300}])
    address = urlparse(served.cloud.endpoint_url)
    for _ in range(5):
        connection = http.client.HTTPConnection(str(address.hostname), int(address.port or 0), timeout=30)
        connection.request("POST", PATH, ROW, HEADERS)
        connection.close()
    served.faults()

    assert served.score("tail", "m01") == pytest.approx(score(1), rel=1e-6)
    served.wait_for(lambda: served.instances("tail")[0]["in_flight"] == 0)


def test_the_control_plane_may_say_much_at_once(served: Served) -> None:
    served.faults(throttled=[{"endpoint": f"another-{number}", "refused_of_ten": 10} for number in range(5000)])
    assert served.score("tail", "m01") == pytest.approx(score(1), rel=1e-6)
    served.faults()


def test_no_request_is_lost_while_fleets_come_and_go(served: Served) -> None:
    """Two updates, each followed by a scale-out and a scale-in, under load from six callers."""
    address = urlparse(served.cloud.endpoint_url)
    outcomes: Counter[str] = Counter()
    ended = threading.Event()

    def call() -> None:
        connection = http.client.HTTPConnection(str(address.hostname), int(address.port or 0), timeout=60)
        chosen = random.Random(0)  # noqa: S311
        while not ended.is_set():
            number = chosen.randint(1, 5)
            headers = {**HEADERS, "X-Amzn-SageMaker-Target-Model": f"m{number:02d}.tar.gz"}
            status, body = ask(connection, "POST", PATH, body=ROW, headers=headers)
            right = status == 200 and float(body) == pytest.approx(score(number), rel=1e-6)
            outcomes["right" if right else f"{status} {body!r}"] += 1
        connection.close()

    callers = [threading.Thread(target=call) for _ in range(6)]
    for caller in callers:
        caller.start()
    try:
        for name in ("update-1", "update-2"):
            served.config(name)
            served.sagemaker.update_endpoint(EndpointName="tail", EndpointConfigName=name)
            served.wait_for(lambda name=name: served.settled("tail")["EndpointConfigName"] == name)
            for count in (2, 1):
                change = [{"VariantName": "AllTraffic", "DesiredInstanceCount": count}]
                served.sagemaker.update_endpoint_weights_and_capacities(
                    EndpointName="tail", DesiredWeightsAndCapacities=change
                )
                served.settled("tail")
    finally:
        ended.set()
        for caller in callers:
            caller.join()

    assert outcomes.keys() == {"right"}
    assert outcomes["right"] > 50
