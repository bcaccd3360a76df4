"""XGBoost models of every kind that a flat forest covers, from a description, and rows that tell them apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost
from hypothesis import strategies as st
from tierfleet_forest.xgboost_model import TRANSFORMS

# 3.3 brought reg:expectileerror; the other one is squarederror's name until 0.83. Both are among the files of versions.
OBJECTIVES = sorted(set(TRANSFORMS) - {"reg:expectileerror", "reg:linear"})
CLASSES = 4
_SEVERAL_TARGETS = ("binary:logistic", "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror")


@dataclass(frozen=True)
class Description:
    """How a model is trained; `missing` is the share of missing values, `categorical` that of categorical features."""

    objective: str
    booster: str
    features: int
    rows: int
    depth: int
    leaves: int
    rounds: int
    eta: float
    tree_method: str
    max_bin: int
    min_child_weight: float
    parallel: int
    categorical: float
    categories: int
    to_onehot: int
    missing: float
    scale: float
    rounded: bool
    base_score: float | None
    targets: int
    vector_leaves: bool
    seed: int


@st.composite
def descriptions(draw: st.DrawFn, objective: str | None = None) -> Description:
    """Models of all kinds, small; of one objective if it is given."""
    chosen = objective or draw(st.sampled_from(OBJECTIVES))
    categorical = draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))
    targets = draw(st.sampled_from([1, 1, 3])) if chosen in _SEVERAL_TARGETS else 1
    several = targets > 1 or chosen.startswith("multi:")
    vector_leaves = several and chosen != "reg:absoluteerror" and draw(st.booleans())
    if vector_leaves:
        categorical = 0.0  # XGBoost 3.0 grows none
    methods = ["hist"] if vector_leaves else ["hist", "approx"] if categorical else ["hist", "approx", "exact"]
    method = draw(st.sampled_from(methods))
    lossguide = method != "exact" and not vector_leaves and draw(st.booleans())
    return Description(
        objective=chosen,
        booster="gbtree" if vector_leaves else draw(st.sampled_from(["gbtree", "gbtree", "dart"])),
        features=draw(st.integers(1, 40)),
        rows=draw(st.integers(60, 1500)),
        depth=0 if lossguide else draw(st.integers(1, 11)),
        leaves=draw(st.integers(2, 60)) if lossguide else 0,
        rounds=draw(st.integers(1, 30)),
        eta=draw(st.sampled_from([0.05, 0.3, 1.0])),
        tree_method=method,
        max_bin=draw(st.sampled_from([4, 16, 256, 1000])),
        min_child_weight=draw(st.sampled_from([0.0, 1.0])),
        parallel=draw(st.sampled_from([1, 1, 3])),
        categorical=categorical,
        categories=draw(st.sampled_from([2, 7, 31, 32, 33, 70])),
        to_onehot=draw(st.sampled_from([1, 4, 100])),
        missing=draw(st.sampled_from([0.0, 0.0, 0.1, 0.6])),
        scale=draw(st.sampled_from([1.0, 1.0, 1e-3, 1e4, 1e-38, 1e37])),
        rounded=draw(st.booleans()),
        base_score=draw(st.sampled_from([None, None, 0.5, 0.1, 0.731])),
        targets=targets,
        vector_leaves=vector_leaves,
        seed=draw(st.integers(0, 2**31 - 1)),
    )


def train(description: Description) -> tuple[xgboost.Booster, Any]:
    """The trained model and the rows it was trained on; XGBoostError for what XGBoost itself refuses."""
    d = description
    random = np.random.default_rng(d.seed)
    plain = random.standard_normal((d.rows, d.features))
    plain = np.round(2 * plain) if d.rounded else plain
    types = np.where(random.random(d.features) < d.categorical, "c", "q")
    codes = random.integers(0, d.categories, (d.rows, d.features))
    rows = np.where(types == "c", codes, plain * d.scale).astype(np.float32)
    signal = np.where(types == "c", codes % 3 - 1.0, plain) @ random.standard_normal(d.features)
    rows[random.random(rows.shape) < d.missing] = np.nan
    signal = (signal - signal.mean()) / (signal.std() + 1e-9) + 0.5 * random.standard_normal(d.rows)
    data = xgboost.DMatrix(rows, feature_types=types.tolist(), enable_categorical=True, nthread=1)
    parameters = _parameters(d)
    _label(data, d, signal, random)
    return xgboost.train(parameters, data, d.rounds), rows


def _parameters(d: Description) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "objective": d.objective, "booster": d.booster, "nthread": 1, "verbosity": 0, "seed": d.seed,
        "max_depth": d.depth, "eta": d.eta, "tree_method": d.tree_method, "min_child_weight": d.min_child_weight,
        "num_parallel_tree": d.parallel, "max_cat_to_onehot": d.to_onehot, "subsample": 0.9,
    }  # fmt: skip
    if d.tree_method != "exact":
        parameters["max_bin"] = d.max_bin
    if d.leaves:
        parameters.update(grow_policy="lossguide", max_leaves=d.leaves)
    if d.booster == "dart":
        parameters.update(rate_drop=0.3, one_drop=1)
    if d.objective.startswith("multi:"):
        parameters["num_class"] = CLASSES
    elif d.base_score is not None and d.objective != "reg:absoluteerror":
        parameters["base_score"] = d.base_score
    if d.objective == "reg:quantileerror":
        parameters["quantile_alpha"] = [0.2, 0.5, 0.9] if d.seed % 2 else 0.7
    if d.vector_leaves:
        parameters["multi_strategy"] = "multi_output_tree"
        parameters["subsample"] = 1.0
    return parameters


def _label(data: xgboost.DMatrix, d: Description, signal: Any, random: Any) -> None:
    positive = np.exp(np.clip(signal, -2, 2)) + 0.01
    if d.objective == "survival:aft":
        data.set_float_info("label_lower_bound", positive.astype(np.float32))
        upper = np.where(np.arange(d.rows) % 5, positive, np.inf)
        data.set_float_info("label_upper_bound", upper.astype(np.float32))
        return
    if d.objective.startswith("binary:") or d.objective == "rank:map":
        label = signal > 0
    elif d.objective.startswith("multi:"):
        label = np.clip(np.round(signal + 1.5), 0, CLASSES - 1)
    elif d.objective in ("rank:ndcg", "rank:pairwise"):
        label = np.clip(np.round(signal + 2), 0, 4)
    elif d.objective == "count:poisson":
        label = random.poisson(positive)
    elif d.objective == "reg:logistic":
        label = 1 / (1 + np.exp(-signal))
    elif d.objective in ("reg:gamma", "reg:tweedie", "survival:cox", "reg:squaredlogerror"):
        label = positive
    else:
        label = signal
    if d.targets > 1:
        label = np.stack([label, label[::-1], label], 1)
    data.set_label(np.asarray(label, np.float32))
    if d.objective.startswith("rank:"):
        data.set_group([d.rows])


def telling_rows(model: Any, trained_on: Any, count: int, seed: int) -> Any:
    """`count` rows for a TreeModel: its thresholds and their neighbours, missing values, extremes, odd categories."""
    random = np.random.default_rng(seed)
    rows = trained_on[random.integers(0, len(trained_on), count)].copy()
    splits = model.left >= 0
    by_category = np.zeros(len(splits), bool) if model.category_set is None else model.category_set >= 0
    for feature in np.unique(model.feature[splits]):
        own = splits & (model.feature == feature)
        pool = [_EXTREMES]
        values = np.unique(model.threshold[own & ~by_category])
        pool += [values, np.nextafter(values, -_INFINITY), np.nextafter(values, _INFINITY)]
        if (own & by_category).any():
            sets = {int(number) for number in np.unique(model.category_set[own & by_category])}
            codes = np.array(sorted({code for number in sets for code in model.sets[number].categories}), np.float32)
            pool += [codes, codes + np.float32(0.7), codes + np.float32(1), _CODES]
        values = np.concatenate(pool)
        values = values[np.isfinite(values)]
        here = random.random(count) < 0.6
        rows[here, feature] = random.choice(values, int(here.sum()))
    rows[random.random(rows.shape) < 0.04] = np.nan
    rows[0] = np.nan
    return np.ascontiguousarray(rows, np.float32)


_INFINITY = np.float32(np.inf)
_EXTREMES = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-38, 3.4028235e38, -3.4028235e38, 1.0, -1.0], np.float32)
_CODES = np.array([-0.5, -1, -3e9, 16777215, 16777216, 3e9, 1e6, 200, 0.999], np.float32)
