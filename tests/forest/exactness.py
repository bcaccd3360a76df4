"""Flat forests against XGBoost, bit for bit: how one model is compared."""

import platform
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tierfleet_forest
import xgboost
from tierfleet_forest.layout import FORM_A, FORM_B
from tierfleet_forest.model_document import read_document
from tierfleet_forest.tree_model import ConvertError, TreeModel
from tierfleet_forest.tree_walk import margins as numpy_margins
from tierfleet_forest.writer import write_forest
from tierfleet_forest.xgboost_model import tree_model

from tests.forest.generated_models import Description, telling_rows, train

# XGBoost's wheel for aarch64 is compiled with fused multiply-adds: DART's margins and all contributions end otherwise
# there than on x86-64, whose bits forests give on every machine.
XGBOOST_FUSES = platform.machine() in ("aarch64", "arm64")

Predict = Callable[[Any], tuple[Any, Any]]  # float32 rows to margins and scores, both (rows, anything)


class Compared(NamedTuple):
    """What was compared: how many rows, and in how many a margin or a score differs in a bit."""

    rows: int
    margins: int
    scores: int


def reader(data: bytes) -> Predict:
    """The compiled reader, which works the file's probes out itself."""
    forest = tierfleet_forest.loads(data)

    def predict(rows: Any) -> tuple[Any, Any]:
        shape = (len(rows), -1)
        margins, scores = (np.array(values, np.float32) for values in (forest.margins(rows), forest.predict(rows)))
        return margins.reshape(shape), scores.reshape(shape)

    return predict


def forests(model: TreeModel) -> dict[int, bytes]:
    """The model in each form that has room for it, at least one; by bytes of a node."""
    files_of_forms = {}
    for form in (FORM_A, FORM_B):
        try:
            files_of_forms[form] = write_forest(model, node_bytes=form)
        except ConvertError:
            continue
    if not files_of_forms:
        write_forest(model)  # says why
    return files_of_forms


def same(one: Any, other: Any) -> Any:
    """Whether each row has the same bits; NaN equals NaN, and 0.0 is not -0.0."""
    bits = one.view(np.uint32 if one.dtype.itemsize == 4 else np.uint64)
    equal = (bits == other.view(bits.dtype)) | (np.isnan(one) & np.isnan(other))
    return equal.reshape(len(one), -1).all(axis=1)


def near(one: Any, other: Any) -> Any:
    """Whether scores that another machine worked out are at most 4 floats away, as the reader allows: its C library's
    exponential may end otherwise.
    """
    with np.errstate(invalid="ignore"):
        return (np.abs(one - other) <= 4 * np.spacing(np.abs(other))).reshape(len(one), -1).all(axis=1)


def trained(description: Description) -> tuple[xgboost.Booster, Any, TreeModel]:
    """The model in XGBoost, the rows it was trained on, and the model as it is written."""
    booster, rows = train(description)
    booster.feature_types = None
    return booster, rows, tree_model(read_document(bytes(booster.save_raw("ubj"))))


def explained(booster: xgboost.Booster, rows: Any) -> Any:
    """XGBoost's contributions: float32 of (rows, outputs, features + 1)."""
    data = xgboost.DMatrix(rows, nthread=1)
    return booster.predict(data, pred_contribs=True, strict_shape=True, validate_features=False).astype(np.float32)


def same_contributions(own: Any, expected: Any) -> bool:
    """Whether contributions are XGBoost's bits, or where it fuses within 1e-6 of a row's sum of absolute values."""
    own, expected = own.reshape(len(own), -1), expected.reshape(len(expected), -1)
    if not XGBOOST_FUSES:
        return bool(same(own, expected).all())
    return bool((np.abs(own - expected) <= 1e-6 * np.abs(expected).sum(axis=1, keepdims=True)).all())


def compare(booster: xgboost.Booster, rows: Any, predict: Predict, model: TreeModel) -> Compared:
    """Margins and scores of `Booster.predict`, and those of a forest.

    Where XGBoost fuses, margins of DART are compared with NumPy's, and its scores are not compared.
    """
    data = xgboost.DMatrix(rows, nthread=1)
    shape = (len(rows), -1)
    expected = booster.predict(data, output_margin=True, validate_features=False).reshape(shape)
    scores = booster.predict(data, validate_features=False).reshape(shape)
    margins, own_scores = predict(rows)
    if XGBOOST_FUSES and model.weights is not None:
        expected, scores = numpy_margins(model, rows), own_scores
    differ = ~same(margins, expected.astype(np.float32)), ~same(own_scores, scores.astype(np.float32))
    return Compared(len(rows), int(differ[0].sum()), int(differ[1].sum()))


__all__ = [
    "XGBOOST_FUSES", "Compared", "compare", "explained", "forests", "near", "reader", "same", "same_contributions",
    "telling_rows", "trained",
]  # fmt: skip
