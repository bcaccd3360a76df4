"""Whatever goes wrong in a call is a CallError of one line; what stops the program passes untouched."""

import contextlib
import http.client
import inspect
import io
import json
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import urllib3.exceptions
from botocore import exceptions
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import ENVIRONMENT, FLEET, REGION, Clock, route_document

from tierfleet.runtime.aws_errors import classify
from tierfleet.runtime.catalog import CatalogError, read_pointer
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.batch import call_many
from tierfleet.runtime.client.errors import CallError, RequestInvalidError
from tierfleet.runtime.client.reply import parse_scores
from tierfleet.runtime.clients import CallingClients
from tierfleet.runtime.error_bodies import readable
from tierfleet.runtime.route_document import RoutesError
from tierfleet.runtime.route_parsing import parse_routes


def raised(kind: type[BaseException]) -> BaseException:
    """One of the class, whatever its constructor wants."""
    if issubclass(kind, ClientError):
        return kind({"Error": {"Code": "x", "Message": "y"}}, "Operation")
    wanted = [
        {},
        {
            name: name
            for name in ("error", "endpoint_url", "request", "report", "provider", "name", "param", "region_name")
        },
    ]
    for arguments in wanted:
        try:
            return kind(**arguments)
        except Exception:  # noqa: S112 - the next ones
            continue
    error = kind.__new__(kind)
    Exception.__init__(error, "made without its constructor")
    return error


def classes_of(module: Any, base: type[BaseException]) -> list[type[BaseException]]:
    classes = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, base)]
    return sorted(set(classes), key=lambda kind: kind.__name__)


EVERY = [
    *classes_of(exceptions, Exception),
    *classes_of(urllib3.exceptions, urllib3.exceptions.HTTPError),
    *classes_of(http.client, http.client.HTTPException),
    *classes_of(ssl, ssl.SSLError),
    *classes_of(socket, OSError),
    *(RuntimeError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError),
    *(UnicodeError, TimeoutError, ConnectionResetError, BrokenPipeError, StopIteration, AssertionError, EOFError),
]
ROUTES = parse_routes(json.dumps(route_document()))
POINTER = {"tenant": "m37", "version": "1", "target_model": "m37/1.tar.gz"}


class Fake:
    """All three services; `failing` raises what it is told."""

    class meta:  # noqa: N801 - boto3's name
        region_name = REGION

    def __init__(self, failing: str, error: BaseException) -> None:
        self.failing = failing
        self.error = error

    def _step(self, name: str, reply: Any) -> Any:
        if name == self.failing:
            raise self.error
        return reply

    def _body(self, name: str, content: bytes) -> Any:
        class Body(io.BytesIO):
            def read(_, *_args: Any) -> bytes:  # noqa: N805
                return self._step(name, content)

        return Body()

    def start_configuration_session(self, **_: Any) -> Any:
        return self._step("start", {"InitialConfigurationToken": "t"})

    def get_latest_configuration(self, **_: Any) -> Any:
        body = self._body("routes body", json.dumps(route_document()).encode())
        return self._step("latest", {"Configuration": body, "NextPollConfigurationToken": "t"})

    def get_object(self, **_: Any) -> Any:
        return self._step("pointer", {"Body": self._body("pointer body", json.dumps(POINTER).encode())})

    def invoke_endpoint(self, **_: Any) -> Any:
        return self._step("invoke", {"Body": self._body("reply body", b"[1.5]"), "ContentType": "application/json"})


STEPS = ("start", "latest", "routes body", "pointer", "pointer body", "invoke", "reply body")


def client_of(fake: Any, **options: Any) -> FleetClient:
    clock = Clock()
    aws = CallingClients(runtime=fake, s3=fake, appconfigdata=fake)
    return FleetClient(FLEET, ENVIRONMENT, aws=aws, clock=clock, sleep=clock.sleep, **options)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_from_every_step_is_a_call_error(kind: type[BaseException]) -> None:
    for step in STEPS:
        client = client_of(Fake(step, raised(kind)))
        for call in (
            lambda client=client: client.invoke("m37", b"1", deadline_seconds=30),
            lambda client=client: client.predict("m37", [[1]], deadline_seconds=30),
        ):
            with pytest.raises(CallError) as caught:
                call()
            assert "\n" not in str(caught.value)
    for step in ("pointer", "invoke"):
        client = client_of(Fake(step, raised(kind)))
        report = call_many(
            lambda client=client: client.invoke("m37", b"1", deadline_seconds=30), count=2, concurrency=2
        )
        assert report.failed == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_stops_the_program_passes(kind: type[BaseException]) -> None:
    for step in ("invoke", "reply body"):
        with pytest.raises(kind):
            client_of(Fake(step, kind())).invoke("m37", b"1")


def test_no_thread_is_a_call_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", start)
    with pytest.raises(CallError, match="can't start new thread"):
        client_of(Fake("", OSError())).invoke("m37", b"1")


@pytest.mark.parametrize(
    "arguments",
    [
        {"tenant": 37},
        {"tenant": None},
        {"tenant": "m37\n"},
        {"tenant": "m" * 10_000 + "!"},
        {"body": None},
        {"body": io.BytesIO(b"1")},
        {"body": [1]},
        {"body": "1,\udfff"},
        {"content_type": "text/csv\r\nX-Evil: 1"},
        {"content_type": ""},
        {"content_type": 1},
        {"accept": "é"},
        {"accept": None},
        {"deadline_seconds": float("nan")},
        {"deadline_seconds": "1"},
        {"deadline_seconds": True},
    ],
    ids=range(16),
)
def test_an_argument_that_makes_no_sense_is_one_sentence(arguments: dict[str, Any]) -> None:
    fake = Fake("invoke", AssertionError("it was sent"))
    with pytest.raises(RequestInvalidError, match="correct the request"):
        client_of(fake).invoke(**{"tenant": "m37", "body": b"1", **arguments})


@pytest.mark.parametrize("seconds", [0, -1, 1e-9, -1e300])
def test_a_deadline_that_is_over_sends_nothing(seconds: float) -> None:
    with pytest.raises(CallError):
        client_of(Fake("invoke", AssertionError("it was sent"))).invoke("m37", b"1", deadline_seconds=seconds)


@pytest.mark.parametrize("seconds", [1e300, float("inf"), 10**400, 10**5000], ids=range(4))
def test_a_deadline_beyond_every_clock_is_none(seconds: float) -> None:
    if seconds >= 10**400 and isinstance(seconds, int):
        with pytest.raises(RequestInvalidError):
            client_of(Fake("", OSError())).invoke("m37", b"1", deadline_seconds=seconds)
    else:
        assert client_of(Fake("", OSError())).predict("m37", [[1]], deadline_seconds=seconds) == [1.5]


@pytest.mark.parametrize("rows", [[[object()]], [[10**400]], [["x"]], [[1j]], [None], [[[1]]]])
def test_rows_of_what_is_no_number_are_a_value_error(rows: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        client_of(Fake("", OSError())).predict("m37", rows)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["abc", "1e999"])
    | st.just(400).map(lambda digits: 10**digits)
    # Hypothesis itself cannot show one.
    | st.just(5000).map(lambda digits: 10**digits),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        *("Error", "Code", "Message", "message", "OriginalStatusCode", "OriginalMessage", "ResponseMetadata"),
        *("HTTPStatusCode", "tenant", "version", "target_model", "removed_at", "fleet", "environment", "default_tier"),
        *("tiers", "tenants", "hosting", "endpoint", "ttl_seconds", "warm_up", "probe", "models_bucket"),
    ]
)
OBJECTS = st.dictionaries(FIELDS, JSON | st.dictionaries(FIELDS, JSON, max_size=4), max_size=6)


def as_json(value: Any) -> bytes:
    try:
        return json.dumps(value).encode("utf-8", "surrogatepass")
    except ValueError:
        # Python writes no int of more than 4,300 digits; others do.
        return b'{"OriginalStatusCode": ' + b"9" * 5000 + b"}"


@settings(max_examples=150)
@given(response=OBJECTS)
def test_a_client_error_of_any_shape_has_a_verdict_and_ends_the_call(response: dict[str, Any]) -> None:
    error = ClientError({"Error": {}}, "InvokeEndpoint")
    error.response = response  # type: ignore[assignment]
    assert classify(error).sentence
    for step in ("latest", "pointer", "invoke"):
        with pytest.raises(CallError):
            client_of(Fake(step, error)).invoke("m37", b"1", deadline_seconds=30)


@settings(max_examples=300)
@given(body=st.one_of(st.binary(max_size=60), JSON.map(as_json), OBJECTS.map(as_json)))
def test_documents_of_any_bytes_are_read_or_refused(body: bytes) -> None:
    class S3:
        def get_object(self, **_: Any) -> Any:
            return {"Body": io.BytesIO(body)}

    with pytest.raises(CatalogError):
        read_pointer(S3(), bucket="b", tenant="m37")  # type: ignore[arg-type]
    with pytest.raises(RoutesError):
        parse_routes(body)
    fields = json.loads(readable(body))
    assert isinstance(fields, dict)
    assert all(isinstance(value, int if name == "OriginalStatusCode" else str) for name, value in fields.items())
    with contextlib.suppress(ValueError):
        for value in parse_scores(body):
            assert all(isinstance(score, float) for score in (value if isinstance(value, list) else [value]))


NESTED: list[Callable[[], bytes]] = [
    lambda: b"[" * 10_000,
    lambda: b'{"a":' * 10_000,
    lambda: b"[" * 100_000 + b"]" * 100_000,
    lambda: b'{"version": ' + b"[" * 900 + b"]" * 900 + b"}",
    lambda: b'{"version": 1, "fleet": ' + b"[" * 900 + b"]" * 900 + b"}",
    lambda: b'{"version": ' + b"9" * 5000 + b"}",
    lambda: b'{"version": 1e999}',
    lambda: b"\xff\xfe[",
    lambda: b"\x00",
]


@pytest.mark.parametrize("make", NESTED, ids=range(len(NESTED)))
def test_nested_huge_and_undecodable_documents_are_refused(make: Callable[[], bytes]) -> None:
    test_documents_of_any_bytes_are_read_or_refused.hypothesis.inner_test(make())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("ttl_seconds",), 10**400),
        (("ttl_seconds",), 86_401),
        (("ttl_seconds",), True),
        (("tiers", "tail", "hosting"), "odd"),
        (("tiers", "tail", "hosting"), []),
        (("tiers",), []),
        (("tenants", "m01"), "whale"),
        (("default_tier",), "none"),
        (("fleet",), 7),
    ],
)
def test_a_route_document_with_a_wrong_field_is_refused(path: tuple[str, ...], value: Any) -> None:
    document = route_document()
    place: Any = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(RoutesError):
        parse_routes(json.dumps(document))
