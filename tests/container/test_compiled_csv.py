"""The compiled reader and writer of csv give exactly what Python's own code gives."""

import math

import numpy as np
import pytest
import tierfleet_forest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tierfleet_forest import uncompiled
from tierfleet_server.cost import Pace
from tierfleet_server.model.preprocessing import Preprocessing
from tierfleet_server.model.refusal import Refusal
from tierfleet_server.payloads import rows
from tierfleet_server.payloads.payload import read_rows

from tests.forest.compiled import needs_compiled

pytestmark = needs_compiled
FEATURES = 3
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.from_regex(r"[+-]?[0-9]{0,22}\.?[0-9]{0,22}([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
CELLS = st.one_of(
    NUMBERS,
    st.sampled_from(
        ["", " ", "nan", "NaN", "-nan", "inf", "1e39", "1_0", "0x10", '"1"', '"1,5"', "\t2", "1\r", "x", "\u0661"]
    ),
    NUMBERS.map(lambda text: f" {text} "),
)
LINES = st.lists(CELLS, min_size=FEATURES, max_size=FEATURES).map(",".join) | st.sampled_from(
    ["", ",", "1,2", "1,2,3,4"]
)
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r\r\n", "\r", " \r\n"])


class Columns:
    """A model of so many features that nothing is asked to score."""

    outputs = work_per_row = 1
    preprocessing = Preprocessing()
    features = FEATURES


def outcome(body: bytes, block_rows: int, monkeypatch: pytest.MonkeyPatch, reader: object) -> object:
    """The rows of a body, read in blocks by this reader, or the refusal."""
    with monkeypatch.context() as patched:
        patched.setattr(rows, "csv_rows", reader)
        patched.setattr(Pace, "_rows", lambda _self, _seconds: block_rows)
        try:
            read = read_rows(body, "text/csv", Columns())  # type: ignore[arg-type]
        except Refusal as refusal:
            return refusal.status, refusal.message
        return read.rows, np.asarray(read.owner).tobytes()


@settings(max_examples=400, deadline=None)
@given(lines=st.lists(st.tuples(LINES, ENDS), min_size=1, max_size=12), block_rows=st.integers(1, 5))
@example(lines=[("1,2,3", "\n")] * 40 + [("4,x,6", "\n")], block_rows=3)
@example(lines=[("1,,3", "\r\n"), ('"1",nan,2', "\n"), ("-0.0,1e-5,5e-324", "")], block_rows=2)
def test_rows_are_what_python_reads(lines: list[tuple[str, str]], block_rows: int) -> None:
    body = "".join(line + end for line, end in lines).encode()
    with pytest.MonkeyPatch.context() as patch:
        by_python = outcome(body, block_rows, patch, uncompiled.csv_rows)
        assert outcome(body, block_rows, patch, tierfleet_forest.csv_rows) == by_python


def test_long_bodies_are_what_python_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    cells = random.standard_normal((3000, FEATURES)) * 10.0 ** random.integers(-9, 9, (3000, FEATURES))
    lines = [",".join(map(repr, row)) for row in cells.tolist()]
    lines[1200] = '"1",2,3'
    lines[1201] = "nan,,3"
    body = "\n".join(lines).encode()
    by_python = outcome(body, 700, monkeypatch, uncompiled.csv_rows)
    assert outcome(body, 700, monkeypatch, tierfleet_forest.csv_rows) == by_python


@settings(max_examples=300, deadline=None)
@given(
    numbers=st.lists(st.floats(width=32) | st.floats() | st.integers(-(1 << 25), 1 << 25).map(float), max_size=200),
    columns=st.integers(1, 4),
)
def test_numbers_are_what_repr_writes(numbers: list[float], columns: int) -> None:
    assert tierfleet_forest.csv_text(numbers, columns) == uncompiled.csv_text(numbers, columns)


def test_a_million_float32_are_what_repr_writes() -> None:
    random = np.random.default_rng(2)
    bits = random.integers(0, 1 << 32, 250_000, np.uint64).astype(np.uint32)
    ordinary = (random.standard_normal(500_000) * 10.0 ** random.integers(-12, 8, 500_000)).astype(np.float32)
    powers = (np.arange(80, 160, dtype=np.uint32)[:, None] << 23 | np.arange(64, dtype=np.uint32)).ravel()
    with np.errstate(invalid="ignore"):
        values = np.concatenate(
            [bits.view(np.float32), ordinary, random.random(250_000, np.float32), powers.view(np.float32)]
        )
        numbers = values.astype(float).tolist()
    assert tierfleet_forest.csv_text(numbers, 1) == uncompiled.csv_text(numbers, 1)


def test_what_is_no_room_is_an_error() -> None:
    with pytest.raises(ValueError, match="csv_rows needs"):
        tierfleet_forest.csv_rows(b"1,2\n", 0, 5, 2, np.empty(2, np.float32))
    with pytest.raises(ValueError, match="0 numbers"):
        tierfleet_forest.csv_text([1.0], 0)
    with pytest.raises(TypeError):
        tierfleet_forest.csv_text(["x"], 1)  # type: ignore[list-item]
    out = np.full(3, math.inf, np.float32)
    assert tierfleet_forest.csv_rows(b"1,2\n3,4", 0, 7, 2, out) == (1, 4)
    assert out.tolist() == [1, 2, math.inf]
