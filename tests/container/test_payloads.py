"""What callers may send and ask for, and the sentence they get otherwise."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from running_server import RunningServer
from tierfleet_server.model.booster import Rows
from tierfleet_server.model.preprocessing import Preprocessing
from tierfleet_server.model.refusal import Refusal
from tierfleet_server.payloads.accept import CONTENT_TYPES, Wanted, wanted
from tierfleet_server.payloads.payload import one_plain_csv_row, read_rows
from tierfleet_server.payloads.reply import render


class EightFeatures:
    """The part of a model that reading a payload needs."""

    features = 8
    outputs = work_per_row = 1
    preprocessing = Preprocessing()

    def predict(self, rows: Rows) -> list[float]:
        return [0.0] * rows.rows


MODEL = EightFeatures()
CSV, JSON, NPY, LIBSVM = "text/csv", "application/json", "application/x-npy", "text/libsvm"


def matrix_of(rows: Rows) -> np.ndarray:
    values = np.frombuffer(rows.owner, np.float32)  # type: ignore[call-overload]
    return values.reshape(rows.rows, rows.width)


def npy(array: np.ndarray, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npy_headed(text: str) -> bytes:
    """An npy file with a header of one's own."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


NO_HEADERS = (
    "{'descr': (", "{[1]: 2}", "{1: 2, 'a': 3}", "{'descr': (), 'fortran_order': False, 'shape': (1, 8)}",
    "{'descr': {}, 'fortran_order': False, 'shape': 8}", "(" * 3000, "\0", "{'descr': 'x",
)  # fmt: skip


@pytest.mark.parametrize(
    ("content_type", "body", "status", "sentence"),
    [
        (CSV, b"", 400, "the body is empty; send at least one row of 8 features"),
        (CSV, b"\n", 400, "the body is empty"),
        (CSV, b"1,2,3", 400, "row 0 has 3 features; the model has 8"),
        (CSV, b"1,2,3,4,5,6,7,8,9", 400, "row 0 has 9 features; the model has 8"),
        (CSV, b"1,2,3,4,5,6,7,8\n1,2", 400, "row 1 has 2 features"),
        (CSV, b"1;2;3;4;5;6;7;8", 400, "row 0 has 1 features"),
        (CSV, b"1,2,3,4,x,6,7,8", 400, "row 0, feature 4 is 'x', not a number; leave it empty"),
        (CSV, b"1,2,3,4,1_0,6,7,8", 400, "row 0, feature 4 is '1_0', not a number"),
        (CSV, b"1,2,3,4,\xd9\xa1,6,7,8", 400, "feature 4 is '\u0661', not a number"),
        (CSV, b"1,2,3,4,5,6,7,inf", 400, "row 0, feature 7 is infinite"),
        (CSV, b"1,2,3,4,5,6,7,-1e39", 400, "row 0, feature 7 is infinite or beyond float32"),
        (CSV, b"1,2,3,4,5,6,7,\xff", 400, "not UTF-8"),
        (CSV, b'1,2,3,4,5,6,7,"8', 400, "row 0 has a quote that does not end"),
        (JSON, b"{", 400, "the body is not JSON"),
        (JSON, b"[" * 50_000, 400, "the body is not JSON"),
        (JSON, b"[1,2,3,4,5,6,7,NaN]", 400, "NaN is not JSON; use null"),
        (JSON, b"[1,2,3,4,5,6,7,Infinity]", 400, "Infinity is not JSON"),
        (JSON, b"{}", 400, "the JSON body has no rows"),
        (JSON, b"[]", 400, "the JSON body has no rows"),
        (JSON, b'"text"', 400, "the JSON body has no rows"),
        (JSON, b"7", 400, "the JSON body has no rows"),
        (JSON, b'{"instances": {"a": 1}}', 400, "the JSON body has no rows"),
        (JSON, b"[[1,2]]", 400, "row 0 has 2 features"),
        (JSON, b"[[1,2,3,4,5,6,7,8],7]", 400, "row 1 is 7; a row is a list"),
        (JSON, b'[1,2,3,4,5,6,7,"8"]', 400, "row 0, feature 7 is '8', not a number; use null"),
        (JSON, b"[1,2,3,4,5,6,7,true]", 400, "row 0, feature 7 is True, not a number"),
        (JSON, b"[1,2,3,4,5,6,7,[8]]", 400, "row 0, feature 7 is [8], not a number"),
        (JSON, b"[1,2,3,4,5,6,7,1e400]", 400, "row 0, feature 7 is infinite"),
        (JSON, b"[1,2,3,4,5,6,7," + b"9" * 400 + b"]", 400, "row 0, feature 7 is infinite"),
        (LIBSVM, b"1,2,3,4,5,6,7,8", 400, "begins with '1,2,3,4,5,6,7,8'"),
        (LIBSVM, b"cat 0:1", 400, "begins with 'cat'"),
        (LIBSVM, b"0 8:1", 400, "row 0 sets column '8'; the model has columns 0 to 7"),
        (LIBSVM, b"0 99999999999999999999:1", 400, "the model has columns 0 to 7"),
        (LIBSVM, b"0 a:1", 400, "row 0 holds 'a:1'; libsvm is"),
        (LIBSVM, b"0 1:x", 400, "row 0, feature 1 is 'x', not a number"),
        (LIBSVM, b"0 1:1 1:2", 400, "row 0 sets column 1 twice"),
        (LIBSVM, b"0 -1:1", 400, "row 0 holds '-1:1'"),
        (LIBSVM, b"\n".join([b"0"] * 3_000_000), 413, "rows of 8 features are more than"),
        (NPY, b"\x93NUMPY", 400, "not an npy file"),
        *((NPY, npy_headed(text), 400, "not an npy file") for text in NO_HEADERS),
        (NPY, npy_headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1, " + "9" * 3000 + ")}"), 400,
         "row 0 has 999999"),
        (NPY, npy(np.zeros((1, 8)))[:-1], 400, "has 63 bytes of data, its header asks 64"),
        (NPY, npy(np.zeros((2, 3))), 400, "row 0 has 3 features"),
        (NPY, npy(np.zeros((1, 8), complex)), 400, "is 'complex128' of shape"),
        (NPY, npy(np.zeros((1, 8, 1))), 400, "send real numbers of shape (rows, 8)"),
        (NPY, npy(np.zeros((0, 8))), 400, "send real numbers of shape"),
        (NPY, npy(np.array([print] * 8, object), allow_pickle=True), 400, "is 'object' of shape"),
        (NPY, npy(np.full((1, 8), np.inf)), 400, "row 0, feature 0 is infinite"),
        (NPY, npy(np.full((1, 8), 1e300)), 400, "row 0, feature 0 is infinite"),
        ("application/x-recordio", b"x", 415, "content type 'application/x-recordio' is not read"),
    ],
)  # fmt: skip
def test_a_bad_payload_is_the_callers_and_says_why(content_type: str, body: bytes, status: int, sentence: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_rows(body, content_type, MODEL)
    assert caught.value.status == status
    assert sentence in caught.value.message
    assert len(caught.value.message) < 400


EIGHT = np.arange(1, 9, dtype=np.float32)


@given(st.text(alphabet='1.e- ,\n\r\t\x0b_"', max_size=24))
@example("1,1,1,1,\n1,1,1,1")
@example("1,1,1,1\n,1,1,1,1")
@example("\n1,1,1,1,1,1,1,1")
@example("1,1,1,1,1,1,1,1\n \n")
def test_the_fast_reader_of_one_csv_row_reads_what_the_other_one_reads_or_nothing(text: str) -> None:
    for body in (text.encode(), f"1,1,1,1,1,1,{text}".encode()):
        fast = one_plain_csv_row(body, MODEL)
        if fast is not None:
            np.testing.assert_array_equal(
                np.frombuffer(fast.owner, np.float32), matrix_of(read_rows(body, CSV, MODEL))[0]
            )


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (CSV, b"1,2,3,4,5,6,7,8"),
        (CSV, b"1,2,3,4,5,6,7,8\n"),
        (CSV, b"1, 2 ,3.0,4e0,+5,6,7,8\r\n"),
        (CSV, b'"1",2,3,4,5,6,7,8'),
        (JSON, b"[1,2,3,4,5,6,7,8]"),
        (JSON, b"[[1.0,2,3,4,5,6,7,8.0]]"),
        (JSON, b'{"instances": [[1,2,3,4,5,6,7,8]]}'),
        (JSON, b'{"instances": [{"features": [1,2,3,4,5,6,7,8]}]}'),
        (LIBSVM, b"1 0:1 1:2 2:3 3:4 4:5 5:6 6:7 7:8"),
        (LIBSVM, b"qid:3 0:1 1:2 2:3 3:4 4:5 5:6 6:7 7:8\n"),
        (NPY, npy(EIGHT)),
        (NPY, npy(EIGHT[None].astype(np.int16))),
        (NPY, npy(np.asfortranarray(EIGHT[None].astype(">f8")))),
    ],
)
def test_the_same_row_in_many_forms(content_type: str, body: bytes) -> None:
    assert np.array_equal(matrix_of(read_rows(body, content_type, MODEL)), EIGHT[None])


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (CSV, b"1,,3,4,5,6,7,"),
        (CSV, b"1,nan,3,4,5,6,7, "),
        (JSON, b"[1,null,3,4,5,6,7,null]"),
        (LIBSVM, b"0 0:1 2:3 3:4 4:5 5:6 6:7"),
        (NPY, npy(np.array([1, np.nan, 3, 4, 5, 6, 7, np.nan]))),
    ],
)
def test_what_is_absent_is_missing(content_type: str, body: bytes) -> None:
    missing = np.isnan(matrix_of(read_rows(body, content_type, MODEL)))[0]
    assert missing.tolist() == [False, True, False, False, False, False, False, True]


finite_rows = numpy_strategies.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.just(8)),
    elements=st.floats(width=32, allow_infinity=False),
)


@given(rows=finite_rows, fortran=st.booleans())
def test_every_form_carries_every_float32(rows: np.ndarray, fortran: bool) -> None:
    cells = [["" if np.isnan(v) else repr(float(v)) for v in row] for row in rows]
    csv = "\n".join(",".join(row) for row in cells).encode()
    as_json = json.dumps([[None if np.isnan(v) else float(v) for v in row] for row in rows]).encode()
    pairs = [" ".join(f"{i}:{v}" for i, v in enumerate(row) if v) for row in cells]
    libsvm = "\n".join(f"0 {row}" for row in pairs).encode()
    laid_out = npy(np.asfortranarray(rows) if fortran else rows)
    for content_type, body in ((CSV, csv), (JSON, as_json), (LIBSVM, libsvm), (NPY, laid_out)):
        got = matrix_of(read_rows(body, content_type, MODEL))
        assert np.array_equal(got, rows, equal_nan=True)


@settings(max_examples=400)
@given(body=st.binary(max_size=300), content_type=st.sampled_from((CSV, JSON, LIBSVM, NPY)))
def test_any_bytes_are_rows_or_refused(body: bytes, content_type: str) -> None:
    body = npy(EIGHT)[:80] + body if content_type == NPY and body[:1] < b"\x80" else body
    status = None
    matrix = EIGHT[None]
    try:
        matrix = matrix_of(read_rows(body, content_type, MODEL))
    except Refusal as refusal:
        status = refusal.status
    assert status in (None, 400, 413)
    assert matrix.shape[1] == 8
    assert not np.isinf(matrix).any()


scores = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=12)


@given(values=scores, outputs=st.integers(1, 4), content_type=st.sampled_from(CONTENT_TYPES))
def test_every_float32_score_reads_back_exactly(values: list[float], outputs: int, content_type: str) -> None:
    expected = values * outputs
    body = render(expected, len(values), content_type)
    if content_type == CSV:
        got = [float(cell) for line in body.decode().split("\n") for cell in line.split(",")]
    elif content_type == NPY:
        got = np.load(io.BytesIO(body), allow_pickle=False).ravel().tolist()
    else:
        lines = body.decode().split("\n") if content_type.endswith("lines") else None
        items = [json.loads(line) for line in lines] if lines else json.loads(body)["predictions"]
        got = np.array([item["score"] for item in items]).ravel().tolist()
    assert got == expected


def test_a_score_that_is_not_finite() -> None:
    assert render([float("inf"), float("nan")], 2, CSV) == b"inf\nnan"
    assert json.loads(render([float("inf")], 1, JSON)) == {"predictions": [{"score": None}]}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/csv"),
        ("*/*", "text/csv"),
        ("text/*", "text/csv"),
        ("Application/JSON", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("image/png, application/json", "application/json"),
        ("text/csv;q=0.1, application/x-npy", "application/x-npy"),
        ("text/csv;q=0, */*;q=0.1, application/jsonlines;q=0.5", "application/jsonlines"),
        ("text/csv;q=0, */*", "application/json"),
        ("*/*;q=0.9, text/csv;q=0.1, application/x-npy", "application/x-npy"),
        ("text/*;q=0.2, application/json;q=0.2", "text/csv"),
        ("application/*", "application/json"),
        (", ,application/json,", "application/json"),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "text/csv"),
        ('image/png; a=",;q=nan", application/json; charset="utf-8;q=0"', "application/json"),
        ("application/json; contribs=false", "application/json"),
        ("text/csv; contribs=true, application/x-npy;q=0.001", "application/x-npy"),
        ("application/json;q=1.000", "application/json"),
    ],
)
def test_accept_chooses_the_form(accept: str, expected: str) -> None:
    assert wanted(accept, "text/csv") == Wanted(expected)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("application/json; contribs=true", JSON), ("Application/JSON;Contribs=TRUE", JSON), ("*/*;contribs=true", JSON),
     ('application/*; contribs="true"; q=0.5, image/png', JSON),
     ("text/csv;q=0.5, application/json;contribs=true", JSON),
     ("application/json;q=0.5, application/json;contribs=true", JSON)],
)  # fmt: skip
def test_accept_asks_for_contributions(accept: str, content_type: str) -> None:
    assert wanted(accept, "text/csv") == Wanted(content_type, contribs=True)


@pytest.mark.parametrize(
    "accept",
    ["text/csv; contribs=true", "application/x-npy;contribs=true", "application/json; contribs=true; q=0",
     "application/json; contribs=1", "application/json; contribs", "application/json;contribs=tru"],
)  # fmt: skip
def test_contributions_come_as_json_alone(accept: str) -> None:
    with pytest.raises(Refusal, match="contrib") as caught:
        wanted(accept, "text/csv")
    assert caught.value.status == 406


ODD_NUMBERS = (
    "nan", "NaN", "inf", "-inf", "infinity", "+1", "-1", "-0", "1e0", "1E-1", "0x1", "1_0", "0_1", "1.5", "2",
    "01", "00", "0.5.5", "0,5", "", " ", ".", "1 0", "\u00b2", "\u00bd", "\u0661", "0.\u0661", "1\u00a0", '"1"', "true",
    "0.1" + "1" * 99,
)  # fmt: skip


@pytest.mark.parametrize("weight", [weight for weight in ODD_NUMBERS if "," not in weight])
def test_a_weight_is_a_number_from_0_to_1(weight: str) -> None:
    """Java's own client sends one without its leading digit: that passes."""
    with pytest.raises(Refusal, match="it must be from 0 to 1") as caught:
        wanted(f"text/csv; q={weight}", "text/csv")
    assert caught.value.status == 406


@given(st.text(st.characters(max_codepoint=255), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_accept_is_a_form_or_a_refusal(accept: str) -> None:
    for text in (accept, f"text/csv;q={accept}", f"*/*;{accept}"):
        try:
            assert wanted(text, "text/csv").content_type in CONTENT_TYPES
        except Refusal as refusal:
            assert refusal.status == 406  # noqa: PT017 - either may come


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "text/csv;q=x", "text/csv," * 1000, "image/png,"])
def test_accept_for_what_there_is_not(accept: str) -> None:
    with pytest.raises(Refusal) as caught:
        wanted(accept, "text/csv")
    assert caught.value.status == 406


def test_the_status_and_sentence_reach_the_caller(server: RunningServer, artefacts: dict[str, Path]) -> None:
    assert server.load("m", artefacts["binary"]).status == 200
    wrong = server.invoke("m", b"1,2,3")
    assert (wrong.status, wrong.json) == (
        400,
        {"code": 400, "type": "BadRequest", "message": "row 0 has 3 features; the model has 8"},
    )
    assert server.invoke("m", b"x", "image/png").status == 415
    assert server.invoke("m", b"1,2,3,4,5,6,7,8", accept="image/png").status == 406
    assert server.invoke("m", b"1,2,3,4,5,6,7,8", "TEXT/CSV; charset=utf-8").status == 200
    too_big = server.invoke("m", b"1" * (6 * 1024 * 1024 + 1))
    assert (too_big.status, too_big.json["type"]) == (413, "RequestEntityTooLarge")
    assert "over 6291456 bytes; send smaller batches" in too_big.json["message"]


@pytest.mark.parametrize(
    "header",
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (%s 8,)}" % ("1L," * 1200),
     "{'descr': '<f4', 'fortran_order': False, 'shape': (%s8,)}" % ("-" * 3900),
     "{'descr': '<f4', 'fortran_order': False, 'shape': (%s)}" % ("(" * 2000), "{" * 4000, "%s{}" % (" " * 4000),
     "{" + "'descr': '<f4', " * 250 + "}", "{'descr': '%s', 'fortran_order': False, 'shape': (8,)}" % (",f4" * 1200)],
)  # fmt: skip
def test_an_npy_header_is_never_evaluated(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluated(*_: object, **__: object) -> None:
        raise AssertionError("milliseconds, on the event loop")

    monkeypatch.setattr("ast.literal_eval", evaluated)
    monkeypatch.setattr("numpy.lib.format.safe_eval", evaluated, raising=False)
    with pytest.raises(Refusal, match="npy"):
        read_rows(npy_headed(header), NPY, MODEL)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f4", ">f8", "|i1", "<u2", ">i8", "|b1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_every_real_type_and_order(dtype: str, order: Any) -> None:
    values = np.arange(24).reshape(3, 8).astype(dtype, order=order)
    got = read_rows(npy(values), NPY, MODEL)
    assert np.array_equal(np.asarray(got.owner), values.astype(np.float32))
    other = b"{\"shape\":(8,),'fortran_order':False ,\n'descr':\"%s\"}" % dtype.encode()
    body = b"\x93NUMPY\x02\x00" + len(other).to_bytes(4, "little") + other + values[0].tobytes()
    assert np.array_equal(np.asarray(read_rows(body, NPY, MODEL).owner), values[:1].astype(np.float32))
