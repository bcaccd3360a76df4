"""Small XGBoost models of every kind, with rows and XGBoost's own scores of them."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

Matrix = npt.NDArray[np.float32]
KINDS = (
    "binary", "categorical", "dart", "dart-multi-class", "early-stopped", "forest", "json", "linear",
    "multi-class", "multi-class-label", "multi-target", "old-json", "poisson", "pruned", "ranking",
    "regression",
)  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A saved model, rows with missing values, and what `Booster.predict(DMatrix)` makes of them."""

    saved: bytes
    rows: Matrix
    scores: Matrix
    booster: xgboost.Booster


def train_every_kind() -> dict[str, Trained]:
    """Models by kind; the kinds that are served and the ways to save them."""
    random = np.random.default_rng(7)
    rows = random.standard_normal((600, 8)).astype(np.float32)
    rows[random.random(rows.shape) < 0.1] = np.nan
    signal = np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 1]) * np.nan_to_num(rows[:, 2])
    label = (signal + random.standard_normal(600) * 0.3 > 0).astype(np.float32)
    thirds = np.digitize(signal, [-0.5, 0.5]).astype(np.float32)

    def train(target: Matrix, parameters: dict[str, Any], rounds: int = 15, form: str = "ubj") -> Trained:
        data = xgboost.DMatrix(rows, target)
        if parameters.get("objective") == "rank:ndcg":
            data.set_group([20] * 30)
        booster = xgboost.train({"max_depth": 4, "nthread": 1, "verbosity": 0, "seed": 7, **parameters}, data, rounds)
        return _trained(booster, rows, form)

    logistic = {"objective": "binary:logistic"}
    models = {
        "binary": train(label, logistic),
        "json": train(label, logistic, form="json"),
        "old-json": _as_old_json(train(label, logistic, form="json")),
        "regression": train(signal, {"objective": "reg:squarederror"}),
        "poisson": train(label, {"objective": "count:poisson"}),
        "multi-class": train(thirds, {"objective": "multi:softprob", "num_class": 3}),
        "multi-class-label": train(thirds, {"objective": "multi:softmax", "num_class": 3}),
        "ranking": train(thirds, {"objective": "rank:ndcg"}),
        "dart": train(label, {**logistic, "booster": "dart", "rate_drop": 0.5, "one_drop": 1}),
        "dart-multi-class": train(
            thirds, {"objective": "multi:softprob", "num_class": 3, "booster": "dart", "rate_drop": 0.5}
        ),
        "linear": train(signal, {"booster": "gblinear", "objective": "reg:squarederror"}),
        "forest": train(label, {**logistic, "num_parallel_tree": 4, "subsample": 0.7, "eta": 1.0}, rounds=2),
        "pruned": train(label, {**logistic, "tree_method": "exact", "gamma": 2.0, "max_depth": 8}),
        "multi-target": _multi_target(rows, signal),
        "categorical": _categorical(random),
        "early-stopped": _early_stopped(rows, label),
    }
    assert tuple(sorted(models)) == KINDS
    return models


def _trained(booster: xgboost.Booster, rows: Matrix, form: str = "ubj") -> Trained:
    scores = booster.predict(xgboost.DMatrix(rows)).astype(np.float32)
    return Trained(bytes(booster.save_raw(form)), rows, scores, booster)


def _as_old_json(model: Trained) -> Trained:
    """As XGBoost 1.7 wrote it: no round boundaries, no categories of its own, and base_score one number."""
    document = json.loads(model.saved)
    learner, document["version"] = document["learner"], [1, 7, 6]
    forest = learner["gradient_booster"]["model"]
    for newer in ("iteration_indptr", "cats"):
        forest.pop(newer, None)
    parameters = learner["learner_model_param"]
    parameters["base_score"] = parameters["base_score"].strip("[]")
    return Trained(json.dumps(document).encode(), model.rows, model.scores, model.booster)


def _multi_target(rows: Matrix, signal: Matrix) -> Trained:
    data = xgboost.DMatrix(rows, np.stack([signal, -signal, signal**2], axis=1))
    parameters = {"objective": "reg:squarederror", "max_depth": 3, "nthread": 1, "verbosity": 0}
    return _trained(xgboost.train(parameters, data, 8), rows)


def _categorical(random: np.random.Generator) -> Trained:
    codes = random.integers(0, 12, 600)
    other = random.standard_normal(600)
    rows = np.stack([codes, other], axis=1).astype(np.float32)
    label = (np.isin(codes, (1, 4, 7, 11)) ^ (other > 0.8)).astype(np.float32)
    data = xgboost.DMatrix(rows, label, feature_types=["c", "q"], enable_categorical=True)
    parameters = {
        "objective": "binary:logistic",
        "max_cat_to_onehot": 1,
        "max_depth": 4,
        "nthread": 1,
        "verbosity": 0,
    }
    booster = xgboost.train(parameters, data, 12)
    scored = xgboost.DMatrix(rows, feature_types=["c", "q"], enable_categorical=True)
    return Trained(bytes(booster.save_raw("ubj")), rows, booster.predict(scored), booster)


def _early_stopped(rows: Matrix, label: Matrix) -> Trained:
    train = xgboost.DMatrix(rows[:300], label[:300])
    valid = xgboost.DMatrix(rows[300:], label[300:])
    parameters = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.8, "nthread": 1, "verbosity": 0}
    booster = xgboost.train(
        parameters, train, 60, evals=[(valid, "valid")], early_stopping_rounds=8, verbose_eval=False
    )
    assert booster.best_iteration + 1 < booster.num_boosted_rounds()
    return _trained(booster, rows)
