"""Every kind of model, asked in every form, scores as XGBoost itself does."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import xgboost
from encoded_rows import SENT, as_csv
from running_server import RunningServer
from tierfleet_server.model import native
from tierfleet_server.model.archive import unpack
from tierfleet_server.publishing.packaging import package_model
from trained_models import KINDS, Trained


def from_csv(body: bytes) -> np.ndarray:
    return np.array([[float(v) for v in line.split(",")] for line in body.decode().split("\n")])


def from_json(body: bytes) -> np.ndarray:
    return np.array([np.atleast_1d(item["score"]) for item in json.loads(body)["predictions"]])


def from_jsonlines(body: bytes) -> np.ndarray:
    return np.array([np.atleast_1d(json.loads(line)["score"]) for line in body.decode().split("\n")])


def from_npy(body: bytes) -> np.ndarray:
    return np.load(io.BytesIO(body), allow_pickle=False)


READ = {
    "text/csv": from_csv,
    "application/json": from_json,
    "application/jsonlines": from_jsonlines,
    "application/x-npy": from_npy,
}


@pytest.fixture(scope="module")
def loaded(server: RunningServer, artefacts: dict[str, Path]) -> RunningServer:
    for kind, directory in artefacts.items():
        answer = server.load(kind, directory)
        assert answer.status == 200, answer
    return server


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content_type", SENT)
def test_batches_score_as_xgboost_does(
    kind: str, content_type: str, loaded: RunningServer, trained: dict[str, Trained]
) -> None:
    model = trained[kind]
    for accept, read in READ.items():
        answer = loaded.invoke(kind, SENT[content_type](model.rows), content_type, accept)
        assert (answer.status, answer.content_type) == (200, accept), answer.body
        assert np.array_equal(read(answer.body).reshape(model.scores.shape), model.scores)


@pytest.mark.parametrize("kind", KINDS)
def test_single_rows_score_as_xgboost_does(kind: str, loaded: RunningServer, trained: dict[str, Trained]) -> None:
    model = trained[kind]
    for row, score in zip(model.rows[:40], model.scores[:40], strict=True):
        answer = loaded.invoke(kind, as_csv(row[None]))
        assert np.array_equal(from_csv(answer.body).ravel(), np.atleast_1d(score))


@pytest.mark.parametrize("kind", KINDS)
def test_a_packaged_model_scores_up_to_its_best_iteration(
    kind: str, server: RunningServer, trained: dict[str, Trained], tmp_path: Path
) -> None:
    model = trained[kind]
    packed, metadata = package_model(model.saved, rounds="best")
    (tmp_path / "model.tar.gz").write_bytes(packed)
    unpack(tmp_path / "model.tar.gz", tmp_path / "model")
    expected = model.scores
    if kind == "early-stopped":
        best = model.booster.best_iteration
        assert (metadata.best_iteration, metadata.rounds) == (best, best + 1)
        expected = model.booster.predict(xgboost.DMatrix(model.rows), iteration_range=(0, best + 1))
        assert not np.array_equal(expected, model.scores)
    assert server.load(f"packaged-{kind}", tmp_path / "model").status == 200
    answer = server.invoke(f"packaged-{kind}", as_csv(model.rows))
    assert np.array_equal(from_csv(answer.body).reshape(expected.shape), expected)


def test_in_place_prediction_forgets_the_weights_of_dart_in_xgboost_3_0(trained: dict[str, Trained]) -> None:
    """It does not in 3.4; once no server runs 3.0, the detour through a DMatrix can go."""
    model = trained["dart"]
    agrees = np.array_equal(model.booster.inplace_predict(model.rows), model.scores)
    assert agrees == (native.version() >= (3, 4, 0))
