"""Reads fitted scikit-learn estimators: forests, single trees and gradient boosting. All of them sum in double.

It takes the estimator itself, because unpickling a file would run the code inside it, and does not import scikit-learn.
A float32 value goes left at a threshold `t` if `x <= t` in double. That is `x < t'` for the next float32 above `t`.
"""

from typing import Any

import numpy as np

from . import layout
from .tree_model import NUMERIC, CategorySet, ConvertError, Numbers, TreeModel, float32_above, joined

_FORESTS = ("RandomForestClassifier", "ExtraTreesClassifier", "RandomForestRegressor", "ExtraTreesRegressor")
_TREES = ("DecisionTreeClassifier", "ExtraTreeClassifier", "DecisionTreeRegressor", "ExtraTreeRegressor")
_BOOSTING = ("GradientBoostingClassifier", "GradientBoostingRegressor")
_HISTOGRAM = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
# Losses that predict the sums themselves. Others use NumPy's exponential, which differs from the C library's.
_PLAIN = ("squared_error", "absolute_error", "huber", "quantile")


def is_sklearn(model: object) -> bool:
    """Whether the model is one of scikit-learn's own estimators."""
    return type(model).__module__.startswith("sklearn.")


def tree_model(estimator: Any) -> TreeModel:
    """The trees of a fitted estimator. Raises ConvertError if it is not fitted or not supported.

    The scores are those of `predict_proba` for a classifier (with gradient boosting, the second class only) and of
    `predict` for a regressor, with `n_jobs=1`. With more jobs a forest adds its trees in the order its threads finish.
    """
    try:
        return _tree_model(estimator)
    except AttributeError as error:
        raise ConvertError(f"the estimator is not fitted, or was fitted by scikit-learn before 1.3 ({error})") from None


def _tree_model(estimator: Any) -> TreeModel:
    name = type(estimator).__name__
    if name in _FORESTS or name in _TREES:
        return _forest(estimator, estimator.estimators_ if name in _FORESTS else [estimator])
    if name in _BOOSTING:
        return _boosting(estimator)
    if name in _HISTOGRAM:
        return _histogram(estimator)
    covered = ", ".join((*_FORESTS, *_TREES, *_BOOSTING, *_HISTOGRAM))
    raise ConvertError(f"the estimator {name} is not covered; covered are {covered}")


def _forest(estimator: Any, trees: list[Any]) -> TreeModel:
    if estimator.n_outputs_ != 1:
        raise ConvertError(f"the estimator predicts {estimator.n_outputs_} outputs; fit one for each")
    classes = len(getattr(estimator, "classes_", ()))
    arrays = []
    for tree in trees:
        values = np.asarray(tree.tree_.value, np.float64)[:, 0, :]
        if classes and not np.allclose(values.sum(axis=1), 1):
            raise ConvertError("scikit-learn before 1.3 fitted the estimator; fit it with 1.3 or newer")
        arrays.append(_arrays(tree.tree_, values if classes else values[:, 0]))
    return TreeModel(
        features=int(estimator.n_features_in_),
        base=np.zeros(classes or 1, np.float64),
        output=np.zeros(len(trees), np.uint16),
        divisor=len(trees),
        metadata=_metadata(estimator),
        **_model_arrays(arrays),
    )


def _boosting(estimator: Any) -> TreeModel:
    kind = type(estimator).__name__
    if estimator.estimators_.shape[1] != 1:
        raise ConvertError(f"{kind} of more than two classes takes NumPy's exponential, which is not covered")
    if estimator.init not in (None, "zero"):
        raise ConvertError(
            f"{kind} starts from {estimator.init!r:.80}, which is not covered; leave init at its default"
        )
    transform, parameter = layout.IDENTITY, 1.0
    if hasattr(estimator, "classes_"):
        transform, parameter = layout.SIGMOID, 2.0 if estimator.loss == "exponential" else 1.0
    elif estimator.loss not in _PLAIN:
        raise ConvertError(f"{kind} with the loss {estimator.loss!r} is not covered; covered are {', '.join(_PLAIN)}")
    start = estimator._raw_predict_init(np.zeros((1, int(estimator.n_features_in_)), np.float32))
    rate = np.float64(estimator.learning_rate)
    trees = [tree.tree_ for tree in estimator.estimators_[:, 0]]
    return TreeModel(
        features=int(estimator.n_features_in_),
        base=np.asarray(start, np.float64).reshape(-1),
        output=np.zeros(len(trees), np.uint16),
        transform=transform,
        transform_parameter=parameter,
        metadata=_metadata(estimator),
        **_model_arrays([_arrays(tree, rate * np.asarray(tree.value, np.float64)[:, 0, 0]) for tree in trees]),
    )


def _arrays(tree: Any, values: Numbers) -> dict[str, Numbers]:
    leaf = np.asarray(tree.children_left) < 0
    return {
        "left": np.asarray(tree.children_left, np.int64),
        "right": np.asarray(tree.children_right, np.int64),
        "feature": np.where(leaf, 0, tree.feature),
        "double_threshold": np.asarray(tree.threshold, np.float64),
        "missing_left": np.asarray(tree.missing_go_to_left, np.bool_),
        "cover": np.asarray(tree.weighted_n_node_samples, np.float32),
        "values": values,
    }


def _histogram(estimator: Any) -> TreeModel:
    kind = type(estimator).__name__
    if estimator.is_categorical_ is not None and np.any(estimator.is_categorical_):
        raise ConvertError(f"{kind} with categorical features encodes them first, which is not covered")
    if estimator.n_trees_per_iteration_ != 1:
        raise ConvertError(f"{kind} of more than two classes takes NumPy's exponential, which is not covered")
    transform = layout.SIGMOID if hasattr(estimator, "classes_") else layout.IDENTITY
    if transform == layout.IDENTITY and estimator.loss not in _PLAIN:
        raise ConvertError(f"{kind} with the loss {estimator.loss!r} is not covered; covered are {', '.join(_PLAIN)}")
    trees = []
    for (predictor,) in estimator._predictors:
        nodes = predictor.nodes
        leaf = nodes["is_leaf"].astype(np.bool_)
        trees.append({
            "left": np.where(leaf, -1, nodes["left"].astype(np.int64)),
            "right": np.where(leaf, -1, nodes["right"].astype(np.int64)),
            "feature": np.where(leaf, 0, nodes["feature_idx"].astype(np.int64)),
            "double_threshold": nodes["num_threshold"].astype(np.float64),
            "missing_left": nodes["missing_go_to_left"].astype(np.bool_),
            "cover": nodes["count"].astype(np.float32),
            "values": nodes["value"].astype(np.float64),
        })  # fmt: skip
    return TreeModel(
        features=int(estimator.n_features_in_),
        base=np.asarray(estimator._baseline_prediction, np.float64).reshape(-1),
        output=np.zeros(len(trees), np.uint16),
        transform=transform,
        metadata=_metadata(estimator),
        **_model_arrays(trees),
    )


def _model_arrays(trees: list[dict[str, Numbers]]) -> dict[str, Any]:
    arrays: dict[str, Any] = joined(trees)
    threshold, splits = arrays.pop("double_threshold"), arrays["left"] >= 0
    if np.isnan(threshold[splits]).any():
        raise ConvertError("a tree compares with NaN; fit the estimator again")
    # `x <= inf` is true for every value, also for infinity. An empty category set sends every value left too.
    every = splits & (threshold == np.inf)
    category_set = np.where(every, 0, NUMERIC) if every.any() else None
    above = np.where(splits & ~every, float32_above(threshold), np.float32(0)).astype(np.float32)
    return {**arrays, "threshold": above, "category_set": category_set, "sets": [CategorySet(())]}


def _metadata(estimator: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "objective": type(estimator).__name__,
        "source": {"library": "scikit-learn", "version": estimator.__getstate__().get("_sklearn_version", "")},
        "feature_names": [str(name) for name in getattr(estimator, "feature_names_in_", ())],
    }
    if hasattr(estimator, "classes_"):
        metadata["classes"] = [_label(label) for label in estimator.classes_]
    return metadata


def _label(label: Any) -> str | int | float | bool:
    """A class as JSON can hold it: dates and other objects as text."""
    plain = label.item() if hasattr(label, "item") else label
    return plain if isinstance(plain, str | int | float | bool) else str(plain)
