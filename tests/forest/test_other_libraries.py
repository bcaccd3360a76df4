"""LightGBM's text models and scikit-learn's estimators keep their margins and scores, bit for bit.

The fixtures were trained and scored by LightGBM 4.7.0 and scikit-learn 1.9.1 (`other_libraries.py --fixtures`), which
are not needed here; `other_libraries.py` compares many more.
"""

import contextlib
import io
import json
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tierfleet_forest import ConvertError, convert, lightgbm_model, loads, sklearn_model

from tests.forest.compiled import needs_compiled
from tests.forest.exactness import forests, near, same

pytestmark = needs_compiled

with zipfile.ZipFile(Path(__file__).with_name("other_libraries.zip")) as _archive:
    _FILES = {name: _archive.read(name) for name in _archive.namelist()}
_TEXTS = sorted(name.split("/")[0] for name in _FILES if name.endswith("model.txt"))
_ESTIMATORS = sorted(name.split("/")[0] for name in _FILES if name.endswith("estimator.json"))


def estimator(kind: str, **changes: Any) -> Any:
    """What scikit-learn fitted, with the attributes that the writer reads and nothing else."""
    stored = {**json.loads(_FILES[f"{kind}/estimator.json"]), **changes}
    model = type(stored["name"], (), {"__module__": "sklearn.ensemble", "__getstate__": lambda _: {}})()
    model.n_features_in_, model.n_outputs_ = stored["n_features_in_"], stored.get("n_outputs_", 1)
    if "classes_" in stored:
        model.classes_ = np.array(stored["classes_"])
    if "nodes" in stored:
        model.is_categorical_, model.n_trees_per_iteration_ = stored.get("is_categorical_"), 1
        model.loss, model._baseline_prediction = stored["loss"], np.array(stored["baseline"])
        names = list(stored["nodes"][0])
        model._predictors = []
        for tree in stored["nodes"]:
            dtypes = [(name, np.array(tree[name]).dtype) for name in names]
            rows = np.array(list(zip(*(tree[name] for name in names), strict=True)), dtypes)
            model._predictors.append([SimpleNamespace(nodes=rows)])
        return model
    trees = [
        SimpleNamespace(tree_=SimpleNamespace(**{name: np.array(values) for name, values in tree.items()}))
        for tree in stored["trees"]
    ]
    model.estimators_ = trees
    if "start" in stored:
        model.loss, model.learning_rate, model.init = stored["loss"], stored["learning_rate"], stored["init"]
        model.estimators_ = np.array([[tree] for tree in trees], object)
        model._raw_predict_init = lambda _: np.array(stored["start"])
    elif stored["name"].startswith("Decision"):
        model.tree_ = trees[0].tree_
    return model


def check(kind: str, model: Any) -> None:
    rows, margins, scores = (
        np.load(io.BytesIO(_FILES[f"{kind}/{name}.npy"])) for name in ("rows", "margins", "scores")
    )
    for data in forests(model).values():
        forest = loads(data)
        assert same(np.array(forest.margins(rows)).reshape(margins.shape), margins).all()
        assert near(np.array(forest.predict(rows)).reshape(scores.shape), scores).all()


@pytest.mark.parametrize("kind", _TEXTS)
def test_lightgbms_scores(kind: str) -> None:
    check(kind, lightgbm_model.tree_model(_FILES[f"{kind}/model.txt"]))


@pytest.mark.parametrize("kind", _ESTIMATORS)
def test_scikit_learns_scores(kind: str) -> None:
    check(kind, sklearn_model.tree_model(estimator(kind)))


def test_the_source_is_said() -> None:
    metadata = json.loads(loads(convert(_FILES["binary/model.txt"])).metadata)
    assert (metadata["source"]["library"], metadata["source"]["version"]) == ("lightgbm", "v4")
    metadata = json.loads(loads(convert(estimator("RandomForestClassifier"), metadata={"a": 1})).metadata)
    assert (metadata["source"]["library"], metadata["a"]) == ("scikit-learn", 1)
    assert metadata["classes"] == [0, 1]


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (b"objective=regression", b"objective=regression sqrt", "sqrt"),
        (b"objective=regression", b"objective=cross_entropy_lambda", "cross_entropy_lambda"),
        (b"objective=regression", b"objective=binary", "no sigmoid above 0"),
        (b"objective=regression", b"objective=binary sigmoid:nan", "no sigmoid above 0"),
        (b"objective=regression", b"objective=binary sigmoid:inf", "no sigmoid above 0"),
        (b"objective=regression", b"objective=multiclassova sigmoid:-1", "no sigmoid above 0"),
        (b"version=v4", b"version=v9", "v9"),
        (b"is_linear=0", b"is_linear=1", "linear_tree"),
        (b"end of trees", b"", "too early"),
        (b"num_leaves=5", b"num_leaves=6", "threshold|split_feature|left_child|decision_type"),
        (b"tree_sizes=", b"tree_sizes=1", "sizes of the LightGBM"),
        (b"max_feature_idx=", b"max_feature_idx=0_", "count in the model"),
        (b"\nleaf_value=", b"\nleaf_value=_", "sizes of the LightGBM"),
    ],
)
def test_what_is_not_covered_of_lightgbm_is_named(before: bytes, after: bytes, why: str) -> None:
    text = _FILES["regression/model.txt"]
    assert before in text
    with pytest.raises(ConvertError, match=why):
        convert(text.replace(before, after))


@pytest.mark.parametrize(
    ("pattern", "after", "why"),
    [
        (rb"\nleaf_value=(.)\.(.)", rb"\nleaf_value=\1_\2", "no numbers"),
        (rb"\nnum_cat=[1-9]", b"\nnum_cat=9", "category splits"),
    ],
)
def test_damage_of_the_same_length_is_named(pattern: bytes, after: bytes, why: str) -> None:
    texts = [_FILES[f"{kind}/model.txt"] for kind in _TEXTS]
    changed = [new for text in texts if (new := re.sub(pattern, after, text)) != text]
    assert changed
    for text in changed:
        with pytest.raises(ConvertError, match=why):
            convert(text)


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("GradientBoostingRegressor", {"loss": "poisson"}, "poisson"),
        ("GradientBoostingClassifier", {"init": "mine"}, "mine"),
        ("HistGradientBoostingRegressor", {"loss": "gamma"}, "gamma"),
        ("HistGradientBoostingRegressor", {"is_categorical_": [True]}, "categorical"),
        ("RandomForestRegressor", {"n_outputs_": 2}, "2 outputs"),
        ("RandomForestRegressor", {"name": "IsolationForest"}, "IsolationForest"),
    ],
)
def test_what_is_not_covered_of_scikit_learn_is_named(kind: str, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConvertError, match=why):
        convert(estimator(kind, **changes))


def test_classes_that_json_does_not_know_are_kept_as_text() -> None:
    dates = np.array(["2026-11-30", "2026-12-01"], "datetime64[D]")
    for labels, kept in ((dates, ["2026-11-30", "2026-12-01"]), (np.array([b"no", b"yes"]), ["b'no'", "b'yes'"])):
        classifier = estimator("RandomForestClassifier")
        classifier.classes_ = labels
        assert json.loads(loads(convert(classifier)).metadata)["classes"] == kept


def test_an_estimator_that_is_not_fitted_is_refused() -> None:
    bare = type("RandomForestClassifier", (), {"__module__": "sklearn.ensemble"})()
    with pytest.raises(ConvertError, match="not fitted"):
        convert(bare)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_TEXTS), st.data())
def test_a_damaged_text_is_converted_or_refused_with_its_reason(kind: str, data: Any) -> None:
    text = bytearray(_FILES[f"{kind}/model.txt"])
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from(b"0179-. =\nexn"))
    with contextlib.suppress(ConvertError):  # any other exception is a fault
        convert(bytes(text))
