"""A body in blocks of any size gives what it gives at once: the same scores, byte for byte, or the same sentence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps import run_through
from tierfleet_server import prediction
from tierfleet_server.contract import invocations
from tierfleet_server.cost import Pace, is_inline, rows_at_most
from tierfleet_server.model.booster import BoosterModel, Model, Rows, open_model
from tierfleet_server.model.preprocessing import Preprocessing
from tierfleet_server.model.refusal import Refusal
from tierfleet_server.payloads import json_text, text
from tierfleet_server.payloads.accept import CONTENT_TYPES
from tierfleet_server.payloads.payload import read_blocks, read_rows
from tierfleet_server.payloads.reply import Rendering, render
from trained_models import KINDS, Trained

from tests.fuzz.payloads import payloads

STEPS = {
    "fill": {"0": 2.5}, "clip": {"0": [-1, 1.25], "1": [0, 2]}, "scale": {"1": {"center": 0.5, "width": 1e-37}},
}  # fmt: skip


class FixedPace(Pace):
    """Blocks of one size, whatever they take."""

    def __init__(self, model: Model, rows: int) -> None:
        super().__init__(model)
        self.rows = rows

    def took(self, seconds: float, scores: int, rows: int) -> None:
        pass


class Sums:
    """A model of `features` features whose scores depend on every value of a row."""

    outputs = work_per_row = 1

    def __init__(self, features: int, steps: dict[str, object]) -> None:
        self.features = features
        self.preprocessing = Preprocessing.from_metadata(steps, features, ())

    def predict(self, rows: Rows) -> list[float]:
        values = np.nan_to_num(np.ascontiguousarray(rows.owner, np.float64), nan=0.75)
        return (values @ np.arange(1, self.features + 1)).astype(np.float32).tolist()

    predict_now = predict


def outcome_at_once(body: bytes, content_type: str, accept: str, model: Model) -> object:
    try:
        rows = read_rows(body, content_type, model)
        return render(model.predict(rows), rows.rows, accept)
    except Refusal as refusal:
        return refusal.status, refusal.message


def outcome_in_blocks(body: bytes, content_type: str, accept: str, model: Model, rows: int) -> object:
    rendering = Rendering(accept)
    try:
        with np.errstate(over="ignore"):
            for block in read_blocks(body, content_type, model, FixedPace(model, rows)):
                if block is not None:
                    assert 1 <= block[1].rows <= rows
                    if block[0] == 0:
                        rendering = Rendering(accept)
                    assert block[0] == rendering.rows
                    rendering.add(model.predict(block[1]), block[1].rows)
        return rendering.finish()
    except Refusal as refusal:
        return refusal.status, refusal.message


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32), features=st.sampled_from((2, 3, 8)), rows=st.integers(1, 40),
    accept=st.sampled_from(CONTENT_TYPES), steps=st.sampled_from(({}, STEPS, {"categories": {"1": {"a": 1, "],": 2}}})),
    window=st.sampled_from((32, 100, 1000, 32 * 1024)),
)  # fmt: skip
def test_any_payload_in_blocks_of_any_size(
    seed: int, features: int, rows: int, accept: str, steps: dict[str, object], window: int
) -> None:
    """However small the pieces are that the body is read in, too."""
    model = Sums(features, steps)
    sent = payloads(seed, features, most_bytes=3000)
    with pytest.MonkeyPatch.context() as patch:
        for content_type, _, body in (next(sent) for _ in range(4)):
            expected = outcome_at_once(body, content_type, accept, model)
            with patch.context() as smaller:
                smaller.setattr(text, "PIECE_BYTES", window)
                smaller.setattr(text, "_COUNT_BYTES", window)
                if isinstance(expected, bytearray):  # where a long value begins to be one is in some sentences
                    smaller.setattr(json_text, "WINDOW_BYTES", max(window, 400))
                assert outcome_in_blocks(body, content_type, accept, model, rows) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_scores_the_same_in_blocks(kind: str, trained: dict[str, Trained]) -> None:
    handle, facts = open_model(trained[kind].saved)
    model = BoosterModel(handle, facts, Preprocessing())
    body = b"\n".join(b",".join(b"" if v != v else b"%r" % v for v in row) for row in trained[kind].rows[:90].tolist())
    for accept in CONTENT_TYPES:
        expected = outcome_at_once(body, "text/csv", accept, model)
        assert isinstance(expected, bytearray)
        for rows in (1, 7, 64):
            assert outcome_in_blocks(body, "text/csv", accept, model, rows) == expected
        assert run_through(prediction.predict(body, "text/csv", accept, model, now=True)) == expected


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), features=st.sampled_from((1, 3, 8)))
def test_there_are_never_more_rows_than_were_estimated(seed: int, features: int) -> None:
    model = Sums(features, {})
    sent = payloads(seed, features, most_bytes=2000)
    for content_type, _, body in (next(sent) for _ in range(8)):
        if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
            continue
        try:
            rows = read_rows(body, content_type, model).rows
        except Refusal:
            continue
        assert rows <= rows_at_most(body, content_type, features)
        pace = Pace(model)
        with np.errstate(over="ignore"):
            for _ in read_blocks(body, content_type, model, pace):
                pass
        assert pace.rows_in_all == (None if content_type == "application/json" else rows)


@pytest.mark.parametrize(
    ("content_type", "body", "features", "work", "inline"),
    [
        ("text/csv", b"1,2,3", 3, 2400, True),
        ("text/csv", b"1\n" * 4095 + b"1", 1, 2400, False),
        ("text/libsvm", b"1\n" * 4094 + b"1", 4096, 1, False),
        ("text/libsvm", b"0 1:1", 1 << 20, 1, False),
        ("application/json", b"[[1]" + b",[1]" * 1000 + b"]", 1, 2400, False),
        ("application/json", b"[1,2,3]", 3, 2400, True),
        ("application/x-npy", b"\x93NUMPY" + bytes(4000), 1, 2400, False),
        ("text/csv", b"1", 1, 5000 * 40, False),
    ],
)  # fmt: skip
def test_what_costs_more_than_microseconds_is_not_done_on_the_event_loop(
    content_type: str, body: bytes, features: int, work: int, inline: bool
) -> None:
    model = Sums(features, {})
    model.work_per_row = work
    assert is_inline(body, content_type, model) == inline


def test_a_list_of_empty_rows_is_refused_before_the_rest_is_read() -> None:
    blocks = read_blocks(b"[" + b"[]," * 100_000 + b"[]]", "application/json", Sums(8, {}), Pace(Sums(8, {})))
    for _ in range(20):  # the check that it is UTF-8, in pieces
        try:
            assert next(blocks) is None
        except Refusal as refusal:
            assert refusal.message == "row 0 has 0 features; the model has 8"  # noqa: PT017 - it comes some time
            return
    pytest.fail("20 steps and no refusal")


def test_the_last_instances_count() -> None:
    for body in (
        b'{"instances": [[9]], "instances": [[1], [2]]}',
        b'{"instances": 7, "a": [[]], "instances": [[1],[2]]}',
    ):
        assert outcome_at_once(body, "application/json", "text/csv", Sums(1, {})) == b"1.0\n2.0"


def test_a_reply_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierfleet_server.payloads.reply.MAX_REPLY_BYTES", 1000)
    refused = outcome_in_blocks(b"1\n" * 1000, "text/csv", "text/csv", Sums(1, {}), 10)
    message = "the reply to 30 rows may take 1260 bytes, and it may have 1000; send smaller batches"
    assert refused == (413, message)


def test_a_batch_that_cannot_be_finished_in_time_is_refused_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "SURE_SECONDS", 0.0)
    with pytest.raises(Refusal, match=r"rows the rest needs some .* s of a processor and 0 s are left") as caught:
        run_through(prediction.predict(b"1\n" * 500_000, "text/csv", "text/csv", Sums(1, {}), end=0.0))
    assert caught.value.status == 413


@given(st.sampled_from([b"a", b"b"]), st.sampled_from([b"1", b'"x"', b"{}", b"[]"]))
@settings(max_examples=8, deadline=None)
def test_a_document_of_many_members_lets_others_go_first(name: bytes, value: bytes) -> None:
    members = b",".join([b'"%s":%s' % (name, value)] * 20_000)
    for body in (b"{%s}" % members, b"[{%s}]" % members, b'{"x":[{%s}]}' % members):
        pauses = 0
        try:
            for block in read_blocks(body, "application/json", Sums(2, {}), FixedPace(Sums(2, {}), 1)):
                pauses += block is None
        except Refusal:  # there are no rows in it
            pass
        assert pauses >= 20_000 // (4 * json_text.STEPS)


@pytest.mark.parametrize(
    ("body", "goes_on"),
    [(b"[[1, 2]]", False), (b'{"instances": [[1, 2]]}', False), (b"{%s}" % b",".join([b'"a":1'] * 1300), True),
     (b'{"x":[%s], "instances": [[1, 2]]}' % b",".join([b"1"] * 4000), True),
     (b"[%s]" % b",".join([b'"a"'] * 2000), True)],
)  # fmt: skip
def test_a_small_body_that_is_slow_to_read_leaves_the_event_loop(
    body: bytes, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Sums(2, {})
    assert is_inline(body, "application/json", model)
    steps = prediction.predict(body, "application/json", "text/csv", model, now=True)
    monkeypatch.setattr(invocations, "_INLINE_SECONDS", 0.0 if goes_on else 60.0)  # however fast the machine
    result = invocations._begin(steps)
    assert (result is None) == goes_on
    if not goes_on:
        assert result == run_alone(body, model)
    elif b"instances" in body:
        assert run_through(steps) == run_alone(b"[[1, 2]]", model)
    else:
        with pytest.raises(Refusal):
            run_through(steps)


def run_alone(body: bytes, model: Model) -> bytes | bytearray:
    return run_through(prediction.predict(body, "application/json", "text/csv", model))
