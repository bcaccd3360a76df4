"""Rows of text: numbers are read exactly as Python's float() and a cast to float32 read them, or not at all."""

from array import array
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import tierfleet_forest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tierfleet_forest import layout
from tierfleet_forest.layout import FORM_B, Parts, assemble

from tests.forest.compiled import needs_compiled
from tests.forest.random_files import random_parts

pytestmark = needs_compiled
_ROW = 1000


def counting_mistakes(values: Any) -> tierfleet_forest.Forest:
    """A forest whose score is how many values of a row are not exactly these: a tree on either side of each."""
    features = len(values)
    with np.errstate(over="ignore"):
        above = np.nextafter(values, np.float32(np.inf))
    columns = np.zeros(features, layout.COLUMN)
    columns["feature"] = columns["left_slot"] = np.arange(features)
    columns["right_slot"] = layout.NO_SLOT
    thresholds = np.stack([values, above], 1).ravel().view(np.uint32).astype("<u8")
    roots = thresholds << np.uint64(32) | np.repeat(np.arange(features), 2).astype("<u8")
    one = int(np.float32(1).view(np.uint32)) << 32
    words = np.tile(np.array([one, 0, 0, one], "<u8"), features)  # below the value: a mistake; above it: another
    return tierfleet_forest.loads(
        assemble(
            Parts(
                node_bytes=FORM_B, features=features, outputs=1, base=bytes(4), columns=columns.tobytes(),
                roots=roots.tobytes(), first=(2 * np.arange(2 * features)).astype("<u4").tobytes(),
                words=words.tobytes(),
            )
        )
    )  # fmt: skip


def _random_doubles(random: Any) -> list[str]:
    bits = random.integers(0, 1 << 64, _ROW, np.uint64).view(np.float64)
    return [repr(value) for value in bits.tolist() if abs(value) < 3e38]


def _floats(random: Any, count: int = _ROW) -> Any:
    numbers = random.integers(0, 1 << 32, 2 * count).astype(np.uint32).view(np.float32)
    return numbers[np.isfinite(numbers)][:count]


def _float32(random: Any) -> list[str]:
    return [np.format_float_positional(value) for value in _floats(random)]


def _as_users_write(random: Any) -> list[str]:
    return [f"{value:.{int(random.integers(0, 9))}f}" for value in (random.standard_normal(_ROW) * 1000).tolist()]


def _digits(random: Any) -> list[str]:
    texts = []
    for _ in range(_ROW):
        digits = "".join(map(str, random.integers(0, 10, int(random.integers(1, 30)))))
        at = int(random.integers(0, len(digits) + 1))
        texts.append(str(random.choice(["", "-", "+"])) + digits[:at] + "." + digits[at:])
    return texts


def _whole(random: Any) -> list[str]:
    return ["".join(map(str, random.integers(0, 10, int(random.integers(1, 25))))) for _ in range(_ROW)]


def _exponents(random: Any) -> list[str]:
    values, exponents = random.standard_normal(_ROW).tolist(), random.integers(-45, 38, _ROW).tolist()
    return [
        f"{value:.{int(random.integers(0, 20))}f}e{exponent}" for value, exponent in zip(values, exponents, strict=True)
    ]


def _halfway(random: Any) -> list[str]:
    """Between two neighbouring float32 numbers: to 15 to 26 digits, and one unit of the last digit away."""
    texts = []
    values = _floats(random, 4 * _ROW)
    for value in values[(np.abs(values) > 1e-12) & (np.abs(values) < 1e17)].tolist():
        above = float(np.nextafter(np.float32(value), np.float32(np.inf)))
        digits = Decimal((value + above) / 2)
        places = int(random.integers(14, 26)) - digits.adjusted()
        unit = Decimal(1).scaleb(-max(places, 0))
        near = digits.quantize(unit) if digits.adjusted() + places < 27 else digits
        texts.append(format(near + int(random.integers(-1, 2)) * unit, "f"))
    return texts


def _tiny(random: Any) -> list[str]:
    return ["0." + "0" * int(random.integers(0, 50)) + str(random.integers(0, 1 << 62)) for _ in range(_ROW)]


@pytest.mark.parametrize(
    "kind",
    [_random_doubles, _float32, _as_users_write, _digits, _whole, _exponents, _halfway, _tiny],
    ids=lambda kind: kind.__name__.strip("_"),
)
def test_numbers_are_read_as_python_reads_them(kind: Any) -> None:
    random, read = np.random.default_rng(11), 0
    while read < 15_000:  # 120,000 with all kinds
        texts = [text for text in kind(random) if abs(float(text)) < 3.4e38]
        values = np.float32([float(text) for text in texts])
        assert counting_mistakes(values).predict_csv(",".join(texts).encode()) == b"0.0"
        read += len(texts)


def test_a_mistake_in_the_last_bit_is_counted() -> None:
    values = np.float32([1, 2, 3])
    near = np.nextafter(values, np.float32([1, 0, 9])).tolist()
    assert counting_mistakes(values).predict_csv(",".join(map(repr, near)).encode()) == b"2.0"


_FORESTS = {features: counting_mistakes(np.arange(features).astype(np.float32)) for features in (1, 2, 3)}


@settings(max_examples=1500, deadline=None)
@given(
    body=st.one_of(
        st.lists(st.floats(width=32) | st.integers(-(10**20), 10**20), min_size=1, max_size=4).map(
            lambda values: ",".join(map(str, values)).encode()
        ),
        st.text(alphabet="0123456789+-.,eE_ \r\n\tnaifxX", max_size=12).map(str.encode),
        st.binary(max_size=8),
    )
)
@example(b"1\n")
@example(b"1\r\n")
@example(b"1\r")
@example(b"1\n\n")
@example(b"1,2,")
@example(b",1")
@example(b"1_0")
@example(b"0x10")
@example(b"infinity")
@example(b"-nan")
@example(b"1e400")
@example(b"3.5e38")
@example(b"-3.4028236e38")
@example("\u0661".encode())
@example(b"1\x00")
@example(b"1;2")
@example(b".")
@example(b"-.e1")
@example(b"1e")
@example(b"0" * 5000 + b"1." + b"0" * 5000)
def test_what_is_read_is_what_python_reads(body: bytes) -> None:
    for features, forest in _FORESTS.items():
        reply = forest.predict_csv(body)
        if reply is None:
            continue
        row = array("f", map(float, body.split(b",")))  # raises where the short way was wrong to read it
        assert len(row) == features
        assert b"_" not in body
        assert np.isfinite(row).all()
        assert reply == repr(forest.predict(row)[0]).encode()


@pytest.mark.parametrize("body", [b"1", b"-1.5", b"+.5", b"1.", b"007", b"1e3", b"1E-3", b"1.5\n", b"1.5\r\n", b"-0"])
def test_plain_numbers_take_the_short_way(body: bytes) -> None:
    assert _FORESTS[1].predict_csv(body) is not None


@pytest.mark.parametrize("body", [b"", b"nan", b"inf", b"-inf", b"1,2", b" 1", b"1 ", b"1e39", b'"1"', b"1\n2"])
def test_anything_odd_takes_the_long_way(body: bytes) -> None:
    assert _FORESTS[1].predict_csv(body) is None


def test_scores_are_written_as_python_writes_them() -> None:
    random, seen = np.random.default_rng(2), 0
    for _ in range(60):
        parts = random_parts(random)
        forest = tierfleet_forest.loads(assemble(parts))
        row = random.standard_normal(parts.features).astype(np.float32)
        body = ",".join(map(repr, row.tolist())).encode()
        assert forest.predict_csv(body) == ",".join(map(repr, forest.predict(row))).encode()
        seen += forest.scores
    assert seen > 60


def test_a_body_that_is_no_bytes_is_refused() -> None:
    with pytest.raises(TypeError):
        _FORESTS[1].predict_csv("1")  # type: ignore[arg-type]
