"""A flat forest gives XGBoost's margins and scores bit for bit, for every objective and kind of tree."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from tierfleet_forest import ConvertError
from tierfleet_forest.layout import EXP, EXP_F64, SIGMOID
from tierfleet_forest.xgboost_model import TRANSFORMS, tree_model

from tests.forest.compiled import needs_compiled
from tests.forest.exactness import compare, forests, reader, same, telling_rows, trained
from tests.forest.generated_models import OBJECTIVES, Description, descriptions

pytestmark = needs_compiled

_PLAIN = Description(
    objective="reg:squarederror", booster="gbtree", features=4, rows=200, depth=4, leaves=0, rounds=3, eta=0.3,
    tree_method="hist", max_bin=16, min_child_weight=1, parallel=1, categorical=0.0, categories=7, to_onehot=4,
    missing=0.1, scale=1.0, rounded=False, base_score=None, targets=1, vector_leaves=False, seed=3,
)  # fmt: skip


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_margins_and_scores_are_xgboosts(objective: str, data: Any) -> None:
    description = data.draw(descriptions(objective))
    try:
        booster, rows, model = trained(description)
    except xgboost.core.XGBoostError:
        reject()
    try:
        written = forests(model)
    except ConvertError:  # thousands of different sets of categories
        reject()
    asked = telling_rows(model, rows, 300, description.seed)
    for forest in written.values():
        compared = compare(booster, asked, reader(forest), model)
        assert (compared.margins, compared.scores) == (0, 0)


@cache
def _document(objective: str) -> Any:
    booster, _, _ = trained(replaced(objective=objective))
    return json.loads(bytes(booster.save_raw("json")))


def replaced(**changes: Any) -> Description:
    """A small model's description with changes."""
    return Description(**{**_PLAIN.__dict__, **changes})


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=15, deadline=None, database=None)
@given(st.data())
def test_the_base_is_xgboosts_margin_of_leaves_that_are_all_0(objective: str, data: Any) -> None:
    transform = TRANSFORMS[objective]
    floats = st.floats(-(2.0**100), 2.0**100, width=32)
    if transform == SIGMOID:
        floats = st.floats(2**-30, 1 - 2**-20, width=32)
    elif transform in (EXP, EXP_F64):
        floats = st.floats(2**-100, 2.0**100, width=32)
    score = np.float32(data.draw(floats))
    document = _document(objective)
    document["learner"]["learner_model_param"]["base_score"] = _text(score)
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        leaves = np.array(tree["left_children"]) == -1
        tree["split_conditions"] = np.where(leaves, 0, tree["split_conditions"]).tolist()
    booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(json.dumps(document).encode()))
    expected = booster.predict(xgboost.DMatrix(np.zeros((1, 4), np.float32), nthread=1), output_margin=True).ravel()
    base = tree_model(document).base + np.float32(0)  # -0.0 and a leaf of 0.0 make 0.0
    assert same(base, np.resize(expected, len(base))).all()


def _text(value: np.float32) -> str:
    mantissa, exponent = np.format_float_scientific(value, unique=True, trim="-").split("e")
    return f"{mantissa}E{int(exponent)}"


@pytest.mark.parametrize("sign", [1, -1])
def test_infinite_values_go_as_in_place_prediction_has_them(sign: int) -> None:
    for changes in ({}, {"categorical": 1.0, "to_onehot": 1}, {"categorical": 0.5, "to_onehot": 100}):
        booster, rows, model = trained(replaced(**changes))
        rows = rows.copy()
        rows[np.arange(len(rows)), np.arange(len(rows)) % 4] = sign * np.float32(np.inf)
        expected = booster.inplace_predict(rows, predict_type="margin", validate_features=False)
        for forest in forests(model).values():
            margins, _ = reader(forest)(rows)
            assert same(margins, expected.astype(np.float32)[:, None]).all()
