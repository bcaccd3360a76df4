"""A flat forest gives XGBoost's margins and scores bit for bit, for every objective and kind of tree."""

from typing import Any

import numpy as np
import pytest
import xgboost
from exactness import compare, forests, same, slow, telling_rows, trained
from generated_models import OBJECTIVES, Description, descriptions
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_margins_and_scores_are_xgboosts(objective: str, data: Any) -> None:
    description = data.draw(descriptions(objective))
    try:
        booster, rows, model = trained(description)
    except xgboost.core.XGBoostError:
        reject()
    asked = telling_rows(model, rows, 300, description.seed)
    for forest in forests(model).values():
        compared = compare(booster, asked, slow(forest))
        assert (compared.margins, compared.scores) == (0, 0)
