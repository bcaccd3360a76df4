"""Contributions have XGBoost's bits; a model without them says why; predictions do not wait for explanations."""

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from running_server import ROOT, RunningServer
from steps import run_through
from tierfleet_server import cost, explanation, prediction
from tierfleet_server.explanation import explain
from tierfleet_server.model import explaining
from tierfleet_server.model.archive import unpack
from tierfleet_server.model.booster import BoosterModel, open_model
from tierfleet_server.model.preprocessing import Preprocessing
from tierfleet_server.model.refusal import Refusal
from tierfleet_server.payloads import reply
from tierfleet_server.publishing.packaging import package_model
from trained_models import KINDS, Matrix, Trained

sys.path.append(str(ROOT / "benchmarks"))
from benchmarks.chain_model import chain_model

CONTRIBS = "application/json; contribs=true"
STEPS = {"fill": {"1": 0.5}, "clip": {"0": [-1, 1]}, "scale": {"2": {"center": 1, "width": 2}}}
Start = Callable[..., RunningServer]


def as_csv(rows: Matrix) -> bytes:
    """`nan` for a missing value: an empty last line would be none."""
    return "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode()


def as_json(rows: Matrix) -> bytes:
    return json.dumps([[None if v != v else v for v in row] for row in rows.tolist()]).encode()


def contributions_of(booster: xgboost.Booster, rows: Matrix) -> Matrix:
    """XGBoost's own: (rows, outputs, features + 1)."""
    types = booster.feature_types
    data = xgboost.DMatrix(rows, feature_types=types, enable_categorical=types is not None)
    values: Matrix = booster.predict(data, pred_contribs=True, strict_shape=True, validate_features=False)
    return values


def margins_of(booster: xgboost.Booster, rows: Matrix) -> Matrix:
    types = booster.feature_types
    data = xgboost.DMatrix(rows, feature_types=types, enable_categorical=types is not None)
    values: Matrix = booster.predict(data, output_margin=True, strict_shape=True, validate_features=False)
    return values


def read(body: bytes | bytearray) -> tuple[list[str], Matrix, Matrix]:
    """Names, contributions in XGBoost's order, and scores of a reply."""
    document = json.loads(body)
    rows = document["predictions"]
    contributions = [np.column_stack([np.atleast_2d(row["contributions"]), np.atleast_1d(row["bias"])]) for row in rows]
    scores = [np.atleast_1d(row["score"]) for row in rows]
    return document["feature_names"], np.array(contributions, np.float32), np.array(scores, np.float32)


@pytest.fixture(scope="module")
def loaded(server: RunningServer, artefacts: dict[str, Path]) -> RunningServer:
    for kind, directory in artefacts.items():
        assert server.load(kind, directory).status == 200
    return server


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_explained_as_xgboost_does(kind: str, loaded: RunningServer, trained: dict[str, Trained]) -> None:
    model = trained[kind]
    expected, margins = contributions_of(model.booster, model.rows), margins_of(model.booster, model.rows)
    answer = loaded.invoke(kind, as_csv(model.rows), accept=CONTRIBS)
    assert (answer.status, answer.content_type) == (200, "application/json"), answer.body[:300]
    names, contributions, scores = read(answer.body)
    assert names == [f"f{column}" for column in range(model.rows.shape[1])]
    assert np.array_equal(contributions, expected)
    assert np.array_equal(scores.reshape(model.scores.shape), model.scores)
    assert np.allclose(contributions.astype(np.float64).sum(axis=2), margins, rtol=1e-5, atol=1e-5)
    described = loaded.ask("GET", f"/models/{kind}").json
    assert described["contribs"]["available"]
    assert 0 < described["contribs"]["secondsPerRow"] < 0.01
    assert described["outputs"] == expected.shape[1]


def test_one_row_has_the_same_form(loaded: RunningServer, trained: dict[str, Trained]) -> None:
    row = trained["binary"].rows[:1]
    one = loaded.invoke("binary", as_csv(row), accept=CONTRIBS).json
    (prediction_,) = one["predictions"]
    assert list(prediction_) == ["score", "bias", "contributions"]
    assert (type(prediction_["bias"]), len(prediction_["contributions"])) == (float, 8)
    several = loaded.invoke("multi-class", as_csv(row), accept=CONTRIBS).json["predictions"][0]
    assert (len(several["score"]), len(several["bias"]), len(several["contributions"])) == (3, 3, 3)
    label = loaded.invoke("multi-class-label", as_csv(row), accept=CONTRIBS).json["predictions"][0]
    assert (type(label["score"]), len(label["bias"])) == (float, 3)


def train_any(seed: int, objective: str, booster: str, depth: int, features: int, names: bool) -> tuple[Any, Matrix]:
    random = np.random.default_rng(seed)
    rows = random.standard_normal((60, features)).astype(np.float32)
    rows[random.random(rows.shape) < 0.15] = np.nan
    label = random.integers(0, 3, 60) if objective.startswith("multi") else random.integers(0, 2, 60)
    types = None
    if seed % 3 == 0 and booster == "gbtree":
        rows[:, 0] = random.integers(0, 9, 60)
        types = ["c"] + ["q"] * (features - 1)
    parameters = {"objective": objective, "booster": booster, "max_depth": depth, "nthread": 1, "seed": seed % 1000}
    if objective.startswith("multi"):
        parameters["num_class"] = 3
    if booster == "dart":
        parameters["rate_drop"] = 0.5
    if booster == "gblinear":
        del parameters["max_depth"]
    called = [f"ü {column}" for column in range(features)] if names else None
    data = xgboost.DMatrix(rows, label, feature_types=types, enable_categorical=types is not None, feature_names=called)
    return xgboost.train({**parameters, "verbosity": 0}, data, 1 + seed % 9), rows


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    objective=st.sampled_from(
        ("binary:logistic", "reg:squarederror", "count:poisson", "multi:softprob", "multi:softmax", "binary:hinge")
    ),
    booster=st.sampled_from(("gbtree", "dart", "gblinear")),
    depth=st.integers(1, 7), features=st.integers(1, 12), names=st.booleans(), block=st.sampled_from((1, 7, 64)),
    piece=st.sampled_from((1, 3, 512)),
)  # fmt: skip
def test_any_model_in_any_blocks_sums_to_its_margin_and_equals_xgboost(
    seed: int, objective: str, booster: str, depth: int, features: int, names: bool, block: int, piece: int
) -> None:
    in_training, rows = train_any(seed, objective, booster, depth, features, names)
    saved = bytes(in_training.save_raw("ubj"))
    trained = xgboost.Booster({"nthread": 1}, model_file=bytearray(saved))
    handle, facts = open_model(saved)
    model = BoosterModel(handle, facts, Preprocessing())
    for body, content_type in ((as_csv(rows), "text/csv"), (as_json(rows), "application/json")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(explanation, "_PIECE_NUMBERS", piece)
            patch.setattr(explanation, "_PIECE_CHARACTERS", 20 * piece)
            patch.setattr(cost.Pace, "_rows", lambda _pace, _seconds: block)
            answer = run_through(explain(body, content_type, model))
        called, contributions, _ = read(answer)
        assert called == [f"ü {column}" if names else f"f{column}" for column in range(features)]
        assert np.array_equal(contributions, contributions_of(trained, rows))
        margins = margins_of(trained, rows)
        assert np.allclose(contributions.astype(np.float64).sum(axis=2), margins, rtol=1e-4, atol=1e-4)
        counted = model.explaining
        assert counted.numbers_a_row >= contributions[0].size
        assert len(answer) <= counted.names_bytes + len(rows) * counted.reply_bytes_a_row + 64


def test_what_preprocessing_made_of_a_row_is_explained_with_the_metadata_s_names(
    server: RunningServer, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """They go through the process that checks; where the model has names of its own, those of the metadata count."""
    model = trained["binary"]
    names = ["a", 'quote " and ü', *(f"column {n}" for n in range(2, 8))]
    archive, _ = package_model(model.saved, feature_names=names, preprocessing={**STEPS, "categories": {"7": {"x": 1}}})
    (tmp_path / "a.tar.gz").write_bytes(archive)
    unpack(tmp_path / "a.tar.gz", tmp_path / "a")
    assert server.load("steps", tmp_path / "a").status == 200
    answer = server.invoke("steps", b"7,,3,4,5,6,7,x\n-7,1,5,4,5,6,7,", accept=CONTRIBS)
    rows = np.array([[1, 0.5, 1, 4, 5, 6, 7, 1], [-1, 1, 2, 4, 5, 6, 7, np.nan]], np.float32)
    found_names, contributions, _ = read(answer.body)
    assert found_names == names
    assert np.array_equal(contributions, contributions_of(model.booster, rows))


def test_names_survive_the_process_that_checks(tmp_path: Path, trained: dict[str, Trained]) -> None:
    names = tuple(f"name {number}" for number in range(1500))
    pieces = list(Preprocessing(feature_names=names).pieces())
    assert Preprocessing.from_pieces(pieces).feature_names == names
    assert max(map(len, pieces)) < 16 * 1024
    assert Preprocessing(feature_names=names).object_bytes > 1500 * 45  # a text is 8 bytes smaller from Python 3.12 on
    assert not Preprocessing(feature_names=names)  # it does nothing to a row


def with_hessians(model: Trained, change: Callable[[int, float], float]) -> bytes:
    document = json.loads(model.booster.save_raw("json"))
    booster = document["learner"]["gradient_booster"]
    for tree in booster.get("gbtree", booster)["model"]["trees"]:
        tree["sum_hessian"] = [change(at, value) for at, value in enumerate(tree["sum_hessian"])]
    return bytes(xgboost.Booster(model_file=bytearray(json.dumps(document).encode())).save_raw("ubj"))


@pytest.mark.parametrize("kind", ["binary", "dart", "multi-class", "categorical"])
@pytest.mark.parametrize("change", [lambda _at, _v: 0.0, lambda at, v: v if at % 2 else 0.0, lambda _at, _v: 3e38,
                                    lambda at, v: v if at else 0.0])  # fmt: skip
def test_a_model_without_sums_of_hessians_scores_and_is_not_explained(
    kind: str, change: Callable[[int, float], float], server: RunningServer, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """XGBoost itself answers NaN, or throws, by where the zeros are."""
    (tmp_path / "xgboost-model").write_bytes(with_hessians(trained[kind], change))
    assert server.load("bare", tmp_path).status == 200
    try:
        row = as_csv(trained[kind].rows[:3])
        assert server.invoke("bare", row).status == 200
        answer = server.invoke("bare", row, accept=CONTRIBS)
        if answer.status == 200:
            _, contributions, _ = read(answer.body)
            assert np.isfinite(contributions).all()
        else:
            assert answer.status == 406
            assert "sums of Hessians that training stores" in answer.json["message"]
            assert "Stack" not in answer.json["message"]
    finally:
        server.unload("bare")


def facts_of(saved: bytes, **changes: Any) -> Any:
    _, facts = open_model(saved)
    return type(facts)(**{**vars(facts), **changes})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"depth": 1025}, "the deepest tree of this model has 1025 levels; contributions are computed for at most"),
        ({"shap": 10**9}, r"the contributions of one row of this model take some 2\.0 s of a processor, and may"),
        ({"trees": 131_072, "features": 1 << 20}, r"take some .* s of a processor"),
        ({"trees": 1000, "depth": 1000}, r"take some .* s of a processor"),
        ({"outputs": 4096, "features": 1000}, r"may take 106\d+ bytes, and a reply may have 67108864"),
        ({}, ""),
    ],
)  # fmt: skip
def test_what_costs_too_much_is_refused_whatever_makes_it_so(
    changes: dict[str, Any], why: str, trained: dict[str, Trained]
) -> None:
    refusal = explaining.explaining(facts_of(trained["binary"].saved, **changes), 100).refusal
    if not why:
        assert refusal == ""
        return
    assert re.search(why, refusal)
    assert "; train it with" in refusal


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory, trained: dict[str, Trained]) -> dict[str, Path]:
    """Models whose explanation takes long, and a small one, by name."""
    random = np.random.default_rng(5)
    rows, label = random.random((2000, 8)).astype(np.float32), random.integers(0, 2, 2000)
    noise = {"max_depth": 9, "min_child_weight": 0, "lambda": 0, "nthread": 1, "objective": "binary:logistic"}
    models = {
        "forest": bytes(xgboost.train(noise, xgboost.DMatrix(rows, label), 120).save_raw("ubj")),
        "chains": chain_model(depth=1500, trees=1),
        "small": trained["binary"].saved,
    }
    directory = tmp_path_factory.mktemp("slow")
    for name, saved in models.items():
        (directory / name).mkdir()
        (directory / name / "xgboost-model").write_bytes(saved)
    return {name: directory / name for name in models}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, slow: dict[str, Path]) -> Iterator[RunningServer]:
    environment = {"SAGEMAKER_MULTI_MODEL": "true", "TIERFLEET_PREDICT_THREADS": "2"}
    server = RunningServer(environment, tmp_path_factory.mktemp("busy") / "log")
    for name, path in slow.items():
        assert server.load(name, path).status == 200
    yield server
    server.close()


ROW = b"1,2,3,4,5,6,7,8"


def ask(stack: ExitStack, server: RunningServer, rows: int) -> None:
    """Ask for an explanation that takes long, and do not wait for it; the client goes at the end of the stack."""
    body = b"\n".join([ROW] * rows)
    connection = stack.enter_context(closing(server.socket()))
    head = "POST /models/forest/invoke HTTP/1.1\r\nhost: x\r\naccept: %s\r\ncontent-type: text/csv\r\n"
    connection.sendall((head % CONTRIBS).encode() + b"content-length: %d\r\n\r\n" % len(body) + body)


def wait_until(server: RunningServer, metric: str, value: float) -> None:
    deadline = time.monotonic() + 60
    while server.metric(metric) != value:
        assert time.monotonic() < deadline, metric
        time.sleep(0.01)


def test_predictions_never_wait_for_a_thread_that_explains(busy: RunningServer) -> None:
    """Four explanations of many seconds each are under way; batches that need a thread are done before any of them."""
    with ExitStack() as stack:
        for _ in range(4):
            ask(stack, busy, 5_000)
        wait_until(busy, "explanations_waiting", 4)
        assert busy.ask("GET", "/ping").status == 200
        assert busy.invoke("small", ROW).status == 200
        assert busy.invoke("small", b"\n".join([ROW] * 20_000)).status == 200
        assert busy.invoke("forest", b"\n".join([ROW] * 2_000)).status == 200
        assert busy.metric("explanations_waiting") == 4
        assert busy.metric("invocations_waiting") == 4
    wait_until(busy, "invocations_waiting", 0)


def test_a_model_s_explanation_does_not_wait_for_another_s(busy: RunningServer) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            ask(stack, busy, 5_000)
        wait_until(busy, "explanations_waiting", 3)
        assert busy.invoke("small", ROW, accept=CONTRIBS).status == 200
        assert busy.metric("explanations_waiting") == 3
    wait_until(busy, "explanations_waiting", 0)


def test_explanations_are_counted(busy: RunningServer) -> None:
    before = {status: _metric(busy, f'explanations_total{{status="{status}"}}') for status in (200, 400, 406)}
    seconds = busy.metric("explanation_seconds_total")
    invocations = _metric(busy, 'invocations_total{status="406"}')
    assert busy.invoke("small", ROW, accept=CONTRIBS).status == 200
    assert busy.invoke("small", b"1,2", accept=CONTRIBS).status == 400
    refused = busy.invoke("chains", b"1", accept=CONTRIBS)
    assert (refused.status, refused.json["type"]) == (406, "NotAcceptable")
    assert "contributions are computed for at most 1024" in refused.json["message"]
    assert busy.ask("GET", "/models/chains").json["contribs"] == {"available": False, "why": refused.json["message"]}
    for status, count in before.items():
        assert _metric(busy, f'explanations_total{{status="{status}"}}') == count + 1
    assert busy.metric("explanation_seconds_total") > seconds
    assert _metric(busy, 'invocations_total{status="406"}') == invocations + 1


def _metric(server: RunningServer, name: str) -> float:
    try:
        return server.metric(name)
    except AssertionError:
        return 0.0


def test_an_explanation_that_cannot_be_in_time_is_refused(start: Start, slow: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_INVOCATION_TIMEOUT_SECONDS="1")
    assert server.load("forest", slow["forest"]).status == 200
    answer = server.invoke("forest", b"\n".join([ROW] * 20_000), accept=CONTRIBS)
    assert answer.status in (413, 503)
    assert "send smaller batches" in answer.json["message"]
    wait_until(server, "explanations_waiting", 0)
    assert server.invoke("forest", ROW, accept=CONTRIBS).status == 200


def test_a_client_that_goes_ends_its_explanation(busy: RunningServer) -> None:
    before = busy.metric("invocations_cancelled_total")
    with ExitStack() as stack:
        ask(stack, busy, 5_000)
        wait_until(busy, "explanations_waiting", 1)
    wait_until(busy, "explanations_waiting", 0)
    assert busy.metric("invocations_cancelled_total") == before + 1


def test_a_reply_that_may_be_too_big_is_refused_before_any_row_is_explained(
    busy: RunningServer, monkeypatch: pytest.MonkeyPatch, trained: dict[str, Trained]
) -> None:
    rows = 400_000
    answer = busy.invoke("small", b"1,,,,,,,\n" * rows, accept=CONTRIBS)
    assert answer.status == 413
    message = rf"the reply to {rows} rows may take 1\d{{8}} bytes, and it may have 67108864; send smaller batches"
    assert re.fullmatch(message, answer.json["message"])
    handle, facts = open_model(trained["multi-class"].saved)
    model = BoosterModel(handle, facts, Preprocessing())
    monkeypatch.setattr(BoosterModel, "predict", None)
    monkeypatch.setattr(BoosterModel, "contributions", None)
    monkeypatch.setattr(reply, "MAX_REPLY_BYTES", 100_000)
    for body, content_type in ((b"1,,,,,,,\n" * 200, "text/csv"), (b"0:1\n" * 200, "text/libsvm")):
        with pytest.raises(Refusal, match="the reply to 200 rows may take") as caught:
            run_through(explain(body, content_type, model))
        assert caught.value.status == 413


@pytest.mark.parametrize(
    ("content_type", "body", "blocks"),
    [("text/csv", b"1,,,,,,,\n" * 4000, 1), ("text/libsvm", b"0:1\n\n" * 4000, 1),
     ("application/json", b"[" + b"[1,2,3,4,5,6,7,8]," * 3999 + b"[1,2,3,4,5,6,7,8]]", 60)],
)  # fmt: skip
def test_a_prediction_s_reply_that_is_too_big_is_refused_after_one_block(
    content_type: str, body: bytes, blocks: int, trained: dict[str, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A JSON body does not say how many rows it has: there the rows that were read count."""
    handle, facts = open_model(trained["multi-class"].saved)
    model = BoosterModel(handle, facts, Preprocessing())
    calls = 0

    def counted(steps: prediction.Steps) -> None:
        nonlocal calls
        result = None
        while True:
            call = steps.send(result)
            calls += call is not None
            result = call() if call is not None else None

    monkeypatch.setattr(reply, "MAX_REPLY_BYTES", 200_000)
    for accept in ("text/csv", "application/json", "application/jsonlines"):
        calls = 0
        with pytest.raises(Refusal, match=r"the reply to \d+ rows may take \d+ bytes") as caught:
            counted(prediction.predict(body, content_type, accept, model))
        assert caught.value.status == 413
        assert calls <= blocks


def test_softmax_s_one_label_a_row_is_not_mistaken_for_a_score_a_class(
    trained: dict[str, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, facts = open_model(trained["multi-class-label"].saved)
    assert facts.outputs == 3
    monkeypatch.setattr(reply, "MAX_REPLY_BYTES", 400 * (reply.BYTES_A_NUMBER + reply.BYTES_A_ROW))
    steps = prediction.predict(
        b"1,,,,,,,\n" * 400, "text/csv", "text/csv", BoosterModel(handle, facts, Preprocessing())
    )
    assert len(run_through(steps).split(b"\n")) == 400


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@settings(max_examples=300, deadline=None)
def test_no_number_takes_more_than_is_counted(value: float) -> None:
    assert len(repr(value)) + len(", ") <= reply.BYTES_A_NUMBER
    assert math.isfinite(value)
