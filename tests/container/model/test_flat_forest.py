"""Flat forests in the server: the Booster's replies byte for byte, all of their memory counted, no checker asked."""

import hashlib
import json
import os
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tierfleet_forest
from encoded_rows import SENT
from running_server import RunningServer
from tierfleet_forest.layout import FORM_A, Parts, assemble
from tierfleet_forest.model_document import read_document
from tierfleet_forest.writer import write_forest
from tierfleet_forest.xgboost_model import tree_model
from tierfleet_server.model import loading
from tierfleet_server.model.artefact import FOREST, METADATA, Metadata
from tierfleet_server.model.booster import BoosterModel, Rows
from tierfleet_server.model.flat_forest import ForestModel
from tierfleet_server.model.load_limits import Admitted
from tierfleet_server.model.prepared import Prepared
from tierfleet_server.model.refusal import BadModel, Refusal
from tierfleet_server.publishing.packaging import package_model
from trained_models import KINDS, Trained

COVERED = tuple(kind for kind in KINDS if kind != "linear")


def artefact(directory: Path, forest: bytes, metadata: Metadata | None = None, beside: bytes | None = None) -> Path:
    """An extracted artefact whose model file is a forest, or which has one next to its model file."""
    (directory / METADATA.parent).mkdir(parents=True)
    if metadata is not None:
        (directory / METADATA).write_text(metadata.to_json())
    if beside is not None:
        (directory / "xgboost-model").write_bytes(beside)
    (directory / ("model.forest" if beside is None else FOREST)).write_bytes(forest)
    return directory


def never_asked(url: str, admitted: Admitted) -> Prepared:
    raise AssertionError(f"{url} was sent to the checker")


def load(directory: Path) -> Any:
    return loading.load_model(str(directory), prepare=never_asked)


@pytest.mark.parametrize("kind", COVERED)
def test_every_reply_is_the_boosters(
    kind: str, trained: dict[str, Trained], artefacts: dict[str, Path], server: RunningServer, tmp_path: Path
) -> None:
    forest = tierfleet_forest.convert(trained[kind].saved)
    assert server.load(f"booster-{kind}", artefacts[kind]).status == 200
    assert server.load(f"forest-{kind}", artefact(tmp_path / "model", forest)).status == 200
    assert server.ask("GET", f"/models/forest-{kind}").json["form"] in ("forest-a", "forest-b")
    assert server.ask("GET", f"/models/booster-{kind}").json["form"] == "booster"
    rows = trained[kind].rows
    for content_type, encode in SENT.items():
        for accept in ("text/csv", "application/json", "application/jsonlines", "application/x-npy"):
            for body in (encode(rows[:1]), encode(np.nan_to_num(rows[:1])), encode(rows)):
                answer, expected = (
                    server.invoke(f"{name}-{kind}", body, content_type, accept) for name in ("forest", "booster")
                )
                assert answer == expected
                assert answer.status == 200
    for wrong in (b"1,2", b"1,2,3,4,5,6,7,inf", b"1,2,3,4,5,6,7,x", b"1,2,3,4,5,6,7,1e39", b"1_0,2,3,4,5,6,7,8"):
        answer, expected = (server.invoke(f"{name}-{kind}", wrong) for name in ("forest", "booster"))
        assert answer == expected
        assert answer.status == 400 or rows.shape[1] != 8


@pytest.mark.parametrize("kind", COVERED)
def test_contributions_are_the_boosters_byte_for_byte(
    kind: str, trained: dict[str, Trained], artefacts: dict[str, Path], server: RunningServer, tmp_path: Path
) -> None:
    assert server.load(f"booster-c-{kind}", artefacts[kind]).status == 200
    for name, kept in (("with", True), ("without", False)):
        forest = tierfleet_forest.convert(trained[kind].saved, contributions=kept)
        assert server.load(f"{name}-{kind}", artefact(tmp_path / name, forest)).status == 200
    body = SENT["text/csv"](trained[kind].rows)
    by_forest, expected = (
        server.invoke(f"{name}-{kind}", body, accept="application/json; contribs=true")
        for name in ("with", "booster-c")
    )
    assert by_forest == expected
    assert by_forest.status == 200
    assert server.ask("GET", f"/models/with-{kind}").json["contribs"]["available"]
    refused = server.invoke(f"without-{kind}", body, accept="application/json; contribs=true")
    assert refused.status == 406
    assert "no covers" in refused.json["message"]
    assert server.ask("GET", f"/models/without-{kind}").json["contribs"]["why"] == refused.json["message"]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"feature_names": [f"ü {n}" for n in range(8)]}, [f"ü {n}" for n in range(8)]),
        ({"feature_names": ["a"]}, [f"f{n}" for n in range(8)]),
        ({"feature_names": [*range(8)]}, [f"f{n}" for n in range(8)]),
        ({"feature_names": [f"{n}" * 40_000 for n in range(8)]}, [f"f{n}" for n in range(8)]),
        ({}, [f"f{n}" for n in range(8)]),
    ],
)
def test_a_forest_s_own_names_are_used_where_they_can_be(
    own: dict[str, Any], expected: list[str], trained: dict[str, Trained], tmp_path: Path
) -> None:
    model = replace(tree_model(read_document(trained["binary"].saved)), metadata=own)
    forest = load(artefact(tmp_path / "m", write_forest(model, contributions=True)))
    assert json.loads(b"[" + forest.names_json() + b"]") == expected
    assert len(forest.names_json()) <= forest.explaining.names_bytes


def test_both_forms_are_counted_in_full_and_given_back(trained: dict[str, Trained], start: Any, tmp_path: Path) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    model = tree_model(read_document(trained["binary"].saved))
    before = server.metric("memory_used_bytes")
    padding = {"padding": "x" * 600_000}
    sizes = {}
    for form in (4, 8):
        data = write_forest(replace(model, metadata=padding), node_bytes=form)
        sizes[form] = len(data)
        assert server.load(f"m{form}", artefact(tmp_path / str(form), data)).status == 200
    described = [server.ask("GET", f"/models/m{form}").json for form in sizes]
    assert [each["form"] for each in described] == ["forest-a", "forest-b"]
    assert [each["sizeBytes"] for each in described] == list(sizes.values())
    assert server.metric('models_by_form{form="forest-a"}') == 1
    assert server.metric('models_bytes{form="forest-b"}') == sizes[8]
    assert server.metric("models") == 2
    grown = server.metric("memory_used_bytes") - before
    assert sum(sizes.values()) <= grown < sum(sizes.values()) + 200_000
    logged = [line for line in server.log_lines() if line.get("message") == "loaded"]
    assert [line["form"] for line in logged] == ["forest-a", "forest-b"]
    for form in sizes:
        assert server.unload(f"m{form}").status == 200
    assert server.metric("memory_used_bytes") - before < 200_000


def test_a_forest_above_the_budget_is_a_507(trained: dict[str, Trained], start: Any, tmp_path: Path) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_MEMORY_BUDGET_MIB="16")
    model = tree_model(read_document(trained["binary"].saved))
    url = artefact(tmp_path / "m", write_forest(replace(model, metadata={"padding": "x" * (3 << 20)})))
    answers = [server.load(f"m{number}", url).status for number in range(8)]
    assert set(answers) == {200, 507}
    assert answers == sorted(answers)
    assert 4 <= answers.count(200) <= 5
    assert server.metric("models") == answers.count(200)
    assert server.invoke("m0", b"1,2,3,4,5,6,7,8").status == 200


def test_a_dedicated_endpoint_serves_a_forest(trained: dict[str, Trained], start: Any, tmp_path: Path) -> None:
    url = artefact(tmp_path / "m", tierfleet_forest.convert(trained["binary"].saved))
    server = start(TIERFLEET_MODEL_DIRECTORY=str(url))
    deadline = time.monotonic() + 120
    while server.ask("GET", "/ping").status != 200 and time.monotonic() < deadline:
        time.sleep(0.01)
    rows = np.nan_to_num(trained["binary"].rows[:1])
    body = ",".join(map(repr, rows[0].tolist())).encode()
    reply = server.ask("POST", "/invocations", body, {"Content-Type": "text/csv"})
    expected = trained["binary"].booster.inplace_predict(rows)[0]
    assert (reply.status, np.float32(float(reply.body))) == (200, expected)


def packaged(trained: Trained, **options: Any) -> tuple[bytes, Metadata]:
    _, metadata = package_model(trained.saved, **options)
    return trained.saved, metadata


def test_a_forest_next_to_the_model_file_is_taken(trained: dict[str, Trained], tmp_path: Path) -> None:
    saved, metadata = packaged(trained["binary"])
    url = artefact(tmp_path / "m", tierfleet_forest.convert(saved), metadata, beside=saved)
    assert isinstance(load(url), ForestModel)
    (url / FOREST).unlink()
    assert isinstance(loading.load_model(str(url)), BoosterModel)


def test_a_forest_of_another_model_is_refused(trained: dict[str, Trained], tmp_path: Path) -> None:
    saved, metadata = packaged(trained["binary"])
    other = tierfleet_forest.convert(trained["poisson"].saved)
    with pytest.raises(BadModel, match="another model file"):
        load(artefact(tmp_path / "m", other, metadata, beside=saved))
    without = write_forest(replace(tree_model(read_document(saved)), metadata={"source": ["sha256"]}))
    with pytest.raises(BadModel, match="another model file"):
        load(artefact(tmp_path / "n", without, metadata, beside=saved))
    with pytest.raises(BadModel, match="may be of another model than the file next to it"):
        load(artefact(tmp_path / "w", other, beside=saved))
    alone = tierfleet_forest.convert(saved)
    with pytest.raises(BadModel, match=f"it has {len(alone)} bytes"):
        load(artefact(tmp_path / "o", alone, metadata))
    wider = replace(metadata, features=9, size_bytes=len(alone))
    with pytest.raises(BadModel, match="describes another model"):
        load(artefact(tmp_path / "p", alone, wider))


@pytest.mark.parametrize("beside", [False, True])
def test_long_metadata_is_neither_copied_nor_searched(
    beside: bool, trained: dict[str, Trained], tmp_path: Path
) -> None:
    # Both hold the interpreter's lock: 200 MB of metadata stopped every tenant's replies for 2 seconds.
    saved, metadata = packaged(trained["binary"])
    model = replace(tree_model(read_document(saved)), metadata={"padding": "x" * (16 << 20)})
    forest = write_forest(model, contributions=True)
    own = metadata if beside else replace(metadata, size_bytes=len(forest))
    url = artefact(tmp_path / "m", forest, own, beside=saved if beside else None)
    tracemalloc.start()
    try:
        if beside:
            with pytest.raises(BadModel, match="bytes of metadata; next to a model file at most 4194304 are read"):
                load(url)
        else:
            assert b'"f0"' in load(url).names_json()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_rows_are_preprocessed_as_for_a_booster(
    trained: dict[str, Trained], server: RunningServer, tmp_path: Path
) -> None:
    names = list("abcdefgh")
    steps = {"categories": {"a": {"low": 0, "high": 1}}, "fill": {"b": 2.0}, "scale": {"c": {"center": 1, "width": 2}}}
    saved, metadata = packaged(trained["binary"], feature_names=names, preprocessing=steps, missing=-999.0)
    forest = tierfleet_forest.convert(saved)
    own = replace(metadata, size_bytes=len(forest), sha256=hashlib.sha256(forest).hexdigest())
    assert server.load("steps-forest", artefact(tmp_path / "f", forest, own)).status == 200
    both = artefact(tmp_path / "b", forest, metadata, beside=saved)
    (both / FOREST).unlink()
    assert server.load("steps-booster", both).status == 200
    for body in (
        b"high,1,2,3,4,5,6,7",
        b"low,,3,-999,1,1,1,1",
        b"other,1,1,1,1,1,1,1",
        b"high,1,2,3,4,5,6,7\nlow,,,,,,,",
    ):
        answer, expected = (server.invoke(f"steps-{name}", body) for name in ("forest", "booster"))
        assert answer == expected
    assert server.invoke("steps-forest", b"high,1,2,3,4,5,6,7").status == 200


def _chain(nodes: int) -> bytes:
    """A tree whose longest path visits so many nodes."""
    words = np.zeros(2 * nodes, "<u4")
    words[1:-2:2] = 1 << 17 | 1 << 18
    words[-3] = 1 << 18
    return assemble(
        Parts(
            node_bytes=FORM_A, features=1, outputs=1, base=bytes(4), roots=np.array([1 << 17], "<u4").tobytes(),
            first=bytes(4), words=words.tobytes(),
        )
    )  # fmt: skip


def _one_leaf(**parts: Any) -> bytes:
    plain = {"node_bytes": FORM_A, "features": 1, "outputs": 1, "base": bytes(4), "roots": bytes(4), "first": bytes(4)}
    return assemble(Parts(**{**plain, "words": bytes(8), **parts}))


def test_forests_that_cost_too_much_are_refused(tmp_path: Path) -> None:
    assert load(artefact(tmp_path / "a", _chain((1 << 20) - 2))).work_per_row == (1 << 19) + 1
    with pytest.raises(BadModel, match="1048577 steps for one row; at most 1048576"):
        load(artefact(tmp_path / "b", _chain((1 << 20) - 1)))
    vectors = {"outputs": 4096, "base": bytes(4 * 4096), "vector_leaves": True, "leaf_table": bytes(4 * 4096)}
    trees = {"roots": bytes(4 * 256), "first": np.arange(0, 512, 2).astype("<u4").tobytes(), "words": bytes(4 * 512)}
    with pytest.raises(BadModel, match="1052928 steps for one row"):
        load(artefact(tmp_path / "e", _one_leaf(**vectors, **trees)))
    with pytest.raises(BadModel, match="features; at most"):
        load(artefact(tmp_path / "c", _one_leaf(features=(1 << 20) + 1)))
    with pytest.raises(BadModel, match="outputs; at most"):
        load(artefact(tmp_path / "d", _one_leaf(outputs=4097, base=bytes(4 * 4097), tree_outputs=bytes(2))))


def test_damaged_forests_are_refused_with_a_sentence(
    trained: dict[str, Trained], server: RunningServer, tmp_path: Path
) -> None:
    data = tierfleet_forest.convert(trained["binary"].saved)
    before = server.metric("models")
    for number, (wrong, says) in enumerate(
        (
            (data[:-64], "bytes"),
            (data[:500] + bytes([data[500] ^ 1]) + data[501:], "CRC-32"),
            (data[:8] + b"\2" + data[9:], "version 2"),
            (b"FLATFRST", "8 bytes"),
        )
    ):
        answer = server.load("damaged", artefact(tmp_path / str(number), wrong))
        assert answer.status == 400
        assert answer.json["message"].startswith("the file is not a sound flat forest: ")
        assert says in answer.json["message"]
    assert server.metric("models") == before
    assert server.ask("GET", "/ping").status == 200


def test_only_a_regular_file_is_read(trained: dict[str, Trained], tmp_path: Path) -> None:
    saved, metadata = packaged(trained["binary"])
    forest = tierfleet_forest.convert(saved)
    url = artefact(tmp_path / "m", forest, metadata, beside=saved)
    (url / FOREST).rename(tmp_path / "elsewhere")
    (url / FOREST).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refusal, match="cannot open"):
        load(url)
    (url / FOREST).unlink()
    os.mkfifo(url / FOREST)
    with pytest.raises(BadModel, match="not a regular file"):
        load(url)


def test_a_file_that_changes_while_it_is_loaded_is_refused(trained: dict[str, Trained], tmp_path: Path) -> None:
    url = artefact(tmp_path / "m", tierfleet_forest.convert(trained["binary"].saved))
    admitted = loading.size_on_disk(str(url))
    (url / "model.forest").write_bytes(tierfleet_forest.convert(trained["multi-class"].saved))
    with pytest.raises(BadModel, match=f"from {admitted.size_bytes} to"):
        loading.load_model(str(url), admitted, never_asked)


def test_where_the_reader_was_not_built_boosters_serve(
    trained: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, metadata = packaged(trained["binary"])
    forest = tierfleet_forest.convert(saved)
    monkeypatch.setattr(tierfleet_forest, "available", False)
    monkeypatch.setattr(tierfleet_forest, "unavailable_reason", "no compiler")
    both = artefact(tmp_path / "m", forest, metadata, beside=saved)
    assert isinstance(loading.load_model(str(both)), BoosterModel)
    with pytest.raises(BadModel, match="reads no flat forests: no compiler; or publish the model as UBJ"):
        load(artefact(tmp_path / "n", forest))


def test_a_batch_is_the_same_in_blocks(trained: dict[str, Trained], tmp_path: Path) -> None:
    model = load(artefact(tmp_path / "m", tierfleet_forest.convert(trained["multi-class"].saved)))
    rows = np.ascontiguousarray(np.tile(trained["multi-class"].rows, (20, 1)))
    scores = model.predict(Rows(rows.ctypes.data, len(rows), rows.shape[1], rows))
    expected = np.tile(trained["multi-class"].scores.ravel(), 20)
    assert np.array_equal(np.float32(scores), expected)
    assert model.predict_now(Rows(rows.ctypes.data, len(rows), rows.shape[1], rows)) == scores


def test_the_log_says_that_forests_cannot_be_read(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    (tmp_path / "path").mkdir()
    hide = "import sys\nsys.modules['tierfleet_forest._forest'] = None\n"
    (tmp_path / "path" / "sitecustomize.py").write_text(hide)
    container = str(Path(loading.__file__).parents[2])
    server = start(SAGEMAKER_MULTI_MODEL="true", PYTHONPATH=os.pathsep.join([str(tmp_path / "path"), container]))
    assert server.ask("GET", "/ping").status == 200

    def warnings() -> list[str]:
        messages = [line.get("message", "") for line in server.log_lines()]
        return [message for message in messages if "XGBoost serves every model" in message]

    deadline = time.monotonic() + 10  # another thread writes the log
    while not warnings() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(warnings()) == 1
