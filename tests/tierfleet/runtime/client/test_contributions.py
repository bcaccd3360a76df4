"""Rows of scores and contributions, as every image answers them, and what a reply that is neither becomes."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import ACCOUNT, ENVIRONMENT, FLEET, SHARED, Container, FakeAws, whale

from tierfleet.runtime.aws_errors import Kind
from tierfleet.runtime.client import FleetClient, errors
from tierfleet.runtime.client.reply import parse_scores
from tierfleet.runtime.contributions import CONTRIBS, NoContributionsError, Scores, parse_contributions

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
TABLES = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.lists(FLOATS, min_size=width, max_size=width), min_size=1, max_size=8)
)
ROWS = [[0.5, 2.0], [1.5, None]]
SCORES = [[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]]


@pytest.fixture
def fleet(url: str, boto_session: Any) -> Iterator[FleetClient]:
    with FleetClient(FLEET, ENVIRONMENT, account=ACCOUNT, session=boto_session) as client:
        yield client


def says(body: str | bytes, content_type: str = "application/json", status: int = 200) -> Container:
    """A container that answers one thing."""
    content = body.encode() if isinstance(body, str) else body
    return lambda _tenant, _body, _content_type, _accept: (status, content_type, content)


@given(TABLES)
def test_every_form_of_the_same_rows_of_scores_parses_equal(table: list[list[float]]) -> None:
    """The dense server's four, the stock image's on a shared and on a dedicated endpoint, and as CSV in a batch job."""
    wide = json.dumps({"predictions": [{"score": row} for row in table]})
    lines = "\n".join(json.dumps({"score": row}) for row in table)
    csv = "\n".join(",".join(map(repr, row)) for row in table)
    stock_csv = ",".join(map(str, table))
    for form in (wide, lines, lines + "\n", json.dumps(table)):
        assert parse_scores(form.encode()) == table
    assert parse_scores(csv.encode(), rows=len(table)) == table
    if len(table) > 1:
        assert parse_scores(csv.encode()) == table
        assert parse_scores(stock_csv.encode()) == parse_scores("\n".join(map(str, table)).encode()) == table


@given(st.lists(FLOATS, min_size=2, max_size=8))
def test_a_line_of_several_numbers_is_read_by_the_rows_that_were_sent(numbers: list[float]) -> None:
    line = ",".join(map(repr, numbers)).encode()
    assert parse_scores(line) == parse_scores(line, rows=len(numbers)) == numbers
    assert parse_scores(line, rows=1) == [numbers]
    assert parse_scores(json.dumps(numbers).encode(), rows=1) == numbers


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[[0.1, 0.9], [0.1]]", "rows with different numbers of scores"),
        (b"[[0.1, 0.9], 0.1]", "rows with different numbers of scores"),
        (b"0.1,0.9\n0.1", "rows with different numbers of scores"),
        (b"[[0.1, 0.9, 0.2], [0.1, 0.2]]", "rows with different numbers of scores"),
        (b"[[[0.1, 0.9]]]", "a value that is not a number"),
        (b"[[[0.1, 0.9], [0.1, 0.9]]]", "a value that is not a number"),
        (b'[{"score": [0.1, "x"]}]', "a value that is not a number"),
        (b"[[]]", "a value that is not a number"),
        (b'{"score": {"score": 1}}', "a value that is not a number"),
        (b'{"predictions": [{"score": null}]}', "null for a number that is not finite"),
        (b"[[0.1, null]]", "null for a number"),
        (b"1_0", "a value that is not a number"),
        ("\u0661".encode(), "a value that is not a number"),
        (b"[0.1", "not JSON"),
        (b'{"score": 1}\n{"score"', "not JSON"),
        (b'{"predictions": 3}', "no list of predictions"),
    ],
)
def test_what_is_not_rows_of_scores_is_said_so(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_scores(body)


@pytest.mark.parametrize(
    "form",
    [json.dumps(SCORES), json.dumps({"predictions": [{"score": row} for row in SCORES]})],
    ids=["stock, shared", "dense, and stock dedicated"],
)
@pytest.mark.parametrize(("tenant", "endpoint"), [("m37", SHARED), ("m01", whale("m01"))])
def test_predict_gives_a_list_per_row(form: str, tenant: str, endpoint: str, aws: FakeAws, fleet: FleetClient) -> None:
    aws.containers[endpoint] = says(form)
    assert fleet.predict(tenant, ROWS) == SCORES
    assert fleet.invoke(tenant, b"1,2\n3,4").predictions == SCORES
    assert {call["accept"] for call in aws.invocations} == {"application/json"}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (json.dumps(SCORES[:1]), "2 rows were sent and 1 scores came back"),
        (json.dumps([*SCORES, SCORES[0]]), "2 rows were sent and 3 scores came back"),
        ("[]", "2 rows were sent and 0 scores came back"),
        ("[[0.1, 0.9], 0.1]", "rows with different numbers of scores"),
        ("<html>", "a value that is not a number"),
        ("", "2 rows were sent and 0 scores came back"),
        ("[" * 20_000, "not JSON|too deeply"),
    ],
)
def test_a_wrong_reply_to_predict_is_a_call_error(body: str, why: str, aws: FakeAws, fleet: FleetClient) -> None:
    aws.containers[SHARED] = says(body)
    with pytest.raises(errors.ReplyFormatError, match=why) as caught:
        fleet.predict("m37", ROWS)
    assert (caught.value.tenant, caught.value.endpoint) == ("m37", SHARED)


def dense(*rows: dict[str, Any], names: tuple[str, ...] = ("age", "amount")) -> str:
    return json.dumps({"feature_names": names, "predictions": rows})


ONE = {"score": 0.75, "bias": -0.5, "contributions": [0.25, -2.0]}
OTHER = {"score": 0.5, "bias": -0.5, "contributions": [0.0, 0.5]}
SEVERAL = {"score": [0.25, 0.75], "bias": [0.5, -0.5], "contributions": [[0.25, -2.0], [1.0, 2.0]]}


def test_explain_gives_contributions_by_name(aws: FakeAws, fleet: FleetClient) -> None:
    aws.containers[SHARED] = says(dense(ONE, OTHER))
    explained = fleet.explain("m37", ROWS)
    assert explained.feature_names == ("age", "amount")
    first, second = explained.rows
    assert (first.score, first.bias, first.contributions, first.margin) == (0.75, -0.5, (0.25, -2.0), -2.25)
    assert second.margin == 0.0
    assert explained.reasons() == [("amount", -2.0), ("age", 0.25)]
    assert explained.reasons(row=1) == [("amount", 0.5), ("age", 0.0)]
    assert aws.invocations[0]["accept"] == CONTRIBS == "application/json; contribs=true"
    assert aws.invocations[0]["content_type"] == "text/csv"


def test_explain_gives_every_output(aws: FakeAws, fleet: FleetClient) -> None:
    aws.containers[whale("m01")] = says(dense(SEVERAL))
    (row,) = fleet.explain("m01", ROWS[:1]).rows
    assert row.score == [0.25, 0.75]
    assert [(output.bias, output.contributions) for output in row.outputs] == [(0.5, (0.25, -2.0)), (-0.5, (1.0, 2.0))]
    assert [output.margin for output in row.outputs] == [-1.25, 2.5]
    for read in (lambda: row.bias, lambda: row.contributions, lambda: row.margin):
        with pytest.raises(ValueError, match=r"2 outputs; choose one, for example outputs\[0\]"):
            read()
    reply, explained = fleet.explain_body("m01", b"[[1, null]]", content_type="application/json")
    assert (explained.rows[0], reply.endpoint, reply.predictions) == (row, whale("m01"), [[0.25, 0.75]])
    assert reply.contributions == explained


REFUSED = json.dumps({"code": 406, "type": "NotAcceptable", "message": "the deepest tree has 1025 levels"})


def stock_shared(_tenant: str, _body: bytes, _content_type: str, accept: str) -> tuple[int, str, bytes]:
    """It knows two values of Accept, and nothing with a parameter; every refusal is a 503."""
    if accept.lower() not in ("application/json", "text/csv"):
        return (
            503,
            "application/json",
            b'{"code": 503, "type": "InternalServerException", "message": "Prediction failed"}',
        )
    return 200, accept, json.dumps(SCORES).encode()


def stock_dedicated(_tenant: str, _body: bytes, _content_type: str, accept: str) -> tuple[int, str, bytes]:
    """It leaves parameters out."""
    assert accept.partition(";")[0] == "application/json"
    return 200, "application/json", json.dumps({"predictions": [{"score": row} for row in SCORES]}).encode()


@pytest.mark.parametrize(
    ("tenant", "container", "kind", "why"),
    [
        (
            "m37",
            stock_shared,
            Kind.PAYLOAD_OR_MODEL,
            "rejected the payload or cannot use .*Prediction failed",
        ),
        ("m01", stock_dedicated, None, "the reply has no contributions"),
        ("m37", says(REFUSED, status=406), Kind.NOT_ACCEPTABLE, "the deepest tree has 1025 levels"),
        ("m37", says("0.5,0.5", "text/csv"), None, "the reply has no contributions: '0.5,0.5'"),
        ("m37", says("[0.5, 0.5]"), None, "the reply has no contributions"),
    ],
    ids=["stock shared", "stock dedicated", "a model", "an older image", "a list"],
)
def test_where_there_are_no_contributions_the_error_says_why(
    tenant: str, container: Container, kind: Kind | None, why: str, aws: FakeAws, fleet: FleetClient
) -> None:
    endpoint = SHARED if tenant == "m37" else whale(tenant)
    aws.containers[endpoint] = container
    with pytest.raises(errors.ContributionsUnavailableError, match=why) as caught:
        fleet.explain(tenant, ROWS)
    assert (caught.value.tenant, caught.value.endpoint, caught.value.kind) == (tenant, endpoint, kind)
    assert str(caught.value).startswith(f"tenant {tenant} on endpoint {endpoint}: its scores cannot be explained: ")
    assert "contributions need the image tierfleet" in str(caught.value)
    assert aws.count("InvokeEndpoint") == 1


def test_other_errors_stay_what_they_are(aws: FakeAws, fleet: FleetClient) -> None:
    aws.containers[SHARED] = says('{"code": 400, "message": "row 0 has 2 features"}', status=400)
    with pytest.raises(errors.PayloadRejectedError, match="row 0 has 2 features"):
        fleet.explain("m37", ROWS)
    aws.containers[SHARED] = says("{}", status=500)
    with pytest.raises(errors.ModelFailedError):
        fleet.explain("m37", ROWS)
    with pytest.raises(errors.RequestInvalidError):
        fleet.explain("M37", ROWS)
    with pytest.raises(ValueError, match="no rows"):
        fleet.explain("m37", [])
    aws.containers[SHARED] = says(REFUSED, status=406)
    with pytest.raises(errors.RequestInvalidError, match="cannot answer in the requested format"):
        fleet.invoke("m37", b"1", accept="image/png")


BROKEN: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda row: row.pop("score"), "without score, bias or contributions"),
    (lambda row: row.pop("bias"), "without score, bias or contributions"),
    (lambda row: row.pop("contributions"), "without score, bias or contributions"),
    (lambda row: row.update(contributions=[0.25]), "one contribution for each of 2 features"),
    (lambda row: row.update(contributions=[0.25, 1, 2]), "one contribution for each of 2 features"),
    (lambda row: row.update(contributions=0.25), "one contribution for each of 2 features"),
    (lambda row: row.update(contributions=[0.25, None]), "null for a number"),
    (lambda row: row.update(contributions=[0.25, "x"]), "a value that is not a number"),
    (lambda row: row.update(contributions=[[0.25, 1]]), "one contribution for each of 2 features|numbers"),
    (lambda row: row.update(bias=None), "null for a number"),
    (lambda row: row.update(bias=[]), "bias and contributions differ"),
    (lambda row: row.update(bias=[0.5]), "bias and contributions differ"),
    (lambda row: row.update(bias=[0.5, 0.25]), "one contribution for each of 2 features"),
    (lambda row: row.update(bias=True), "a value that is not a number"),
    (lambda row: row.update(score=[[1]]), "a value that is not a number"),
    (lambda row: row.update(bias=[1, 2], contributions=[[1, 2], [3, 4]]), "different numbers of outputs"),
]


@pytest.mark.parametrize(("change", "why"), BROKEN)
def test_a_reply_that_is_not_contributions_row_by_row(
    change: Callable[[dict[str, Any]], Any], why: str, aws: FakeAws, fleet: FleetClient
) -> None:
    broken = dict(OTHER)
    change(broken)
    aws.containers[SHARED] = says(dense(ONE, broken))
    with pytest.raises(errors.ReplyFormatError, match=why):
        fleet.explain("m37", ROWS)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (dense(ONE), "2 rows were sent and 1 were explained"),
        (dense(ONE, ONE, ONE), "2 rows were sent and 3 were explained"),
        (json.dumps({"feature_names": "ab", "predictions": [ONE, ONE]}), "feature_names are not texts"),
        (json.dumps({"feature_names": [1, 2], "predictions": [ONE, ONE]}), "feature_names are not texts"),
        (json.dumps({"feature_names": [], "predictions": [ONE, ONE]}), "feature_names are not texts"),
        (json.dumps({"feature_names": ["a", "b"], "predictions": {}}), "no list of predictions"),
        (json.dumps({"feature_names": ["a", "b"], "predictions": [1, 2]}), "without score, bias or contributions"),
    ],
)
def test_a_reply_of_another_table(body: str, why: str, aws: FakeAws, fleet: FleetClient) -> None:
    aws.containers[SHARED] = says(body)
    with pytest.raises(errors.ReplyFormatError, match=why):
        fleet.explain("m37", ROWS)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("feature_names", "predictions", "score", "bias", "contributions", "x")), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(ANY_JSON | st.fixed_dictionaries({"feature_names": ANY_JSON, "predictions": st.lists(ANY_JSON, max_size=3)}))
def test_any_json_is_rows_or_a_value_error(document: Any) -> None:
    body = json.dumps(document).encode()
    scores: Scores | None = None
    with suppress(ValueError):
        scores = parse_scores(body)
    if scores is not None:
        widths = {len(row) if isinstance(row, list) else 0 for row in scores}
        assert len(widths) <= 1
        assert widths != {1}
    try:
        parsed = parse_contributions(body)
    except ValueError:
        return
    for row in parsed.rows:
        for output in row.outputs:
            assert len(output.contributions) == len(parsed.feature_names)
            assert isinstance(output.margin, float) or math.isnan(output.margin)


@given(st.binary(max_size=60))
def test_any_bytes_are_contributions_or_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_contributions(body)
    assert issubclass(NoContributionsError, ValueError)


@pytest.mark.parametrize("body", [b"0.1,,0.3", b",0.1,0.2", b"0.1,0.2\n,0.4", b"0.1, ,0.3"])
def test_an_empty_cell_is_refused_and_does_not_move_the_scores_after_it(body: bytes) -> None:
    with pytest.raises(ValueError, match="a value that is not a number"):
        parse_scores(body)
    assert parse_scores(b"0.1,0.2,\n") == [0.1, 0.2]
