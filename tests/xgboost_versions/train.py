"""Runs under any XGBoost from 1.0 on (Python 3.8+): `train.py FOLDER` trains every kind of model that this one knows.

Writes `<kind>.<ubj|json|bin>` as XGBoost itself saves it, and `kinds.json` with what each is. A kind that this version
does not know is left out.
"""

import json
import sys
from pathlib import Path

import numpy as np
import xgboost

VERSION = tuple(int(part) for part in xgboost.__version__.split(".")[:3])
FEATURES, ROWS = 6, 400


def data(label="real", classes=0):
    generator = np.random.default_rng(11)
    rows = np.round(generator.standard_normal((ROWS, FEATURES)), 2).astype(np.float32)
    signal = rows[:, 0] + 0.5 * rows[:, 1] * rows[:, 2] + 0.2 * generator.standard_normal(ROWS)
    rows[generator.random(rows.shape) < 0.08] = np.nan
    if label == "binary":
        values = signal > np.float32(0.4)
    elif label == "class":
        values = np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))
    elif label == "positive":
        values = np.exp(signal)
    elif label == "count":
        values = np.floor(np.exp(signal))
    elif label == "unit":
        values = 1 / (1 + np.exp(-signal))
    elif label == "relevance":
        values = np.clip(np.floor(signal + 2), 0, 4)
    elif label == "relevance01":
        values = signal > np.float32(0)
    else:
        values = 3 * signal + 1.25
    return rows, np.asarray(values, np.float32)


def matrix(rows, label, **more):
    return xgboost.DMatrix(rows, label=label, missing=np.nan, **more)


def train(parameters, label="real", rounds=7, classes=0, first=None, **more):
    rows, values = data(label, classes)
    table = matrix(rows, values, **more)
    if label.startswith("relevance"):
        table.set_group([40] * (ROWS // 40))
    if first:
        first(table, values)
    settings = dict({"nthread": 1, "seed": 3, "max_depth": 3, "verbosity": 0}, **parameters)
    settings = {name: value for name, value in settings.items() if value is not None}
    return xgboost.train(settings, table, rounds)


def bounds(found, values):
    found.set_float_info("label_lower_bound", values)
    found.set_float_info("label_upper_bound", np.where(np.arange(len(values)) % 5, values, np.inf).astype(np.float32))


def margins(found, values):
    found.set_base_margin(np.full(len(values), 0.75, np.float32))


def early_stopped(continue_rounds=0, parallel=1):
    rows, values = data()
    parameters = {"nthread": 1, "seed": 3, "max_depth": 5, "eta": 0.8, "num_parallel_tree": parallel, "verbosity": 0}
    if parallel > 1:
        parameters.update(subsample=0.8)
    train_rows, other = matrix(rows[:250], values[:250]), matrix(rows[250:], values[250:])
    booster = xgboost.train(
        parameters, train_rows, 60, evals=[(other, "valid")], early_stopping_rounds=4, verbose_eval=False
    )
    if continue_rounds:
        booster = xgboost.train(parameters, train_rows, continue_rounds, xgb_model=booster)
    return booster


def categorical(onehot, frame=False):
    rows, values = data()
    generator = np.random.default_rng(5)
    codes = generator.integers(0, 12, ROWS)
    rows[:, 2] = codes
    values = values + (codes % 3 == 0) * 4
    parameters = {"nthread": 1, "max_depth": 4, "tree_method": "hist", "verbosity": 0}
    if VERSION >= (1, 6, 0):
        parameters["max_cat_to_onehot"] = 100 if onehot else 1
    elif VERSION < (1, 5, 0):
        parameters["tree_method"] = "approx"
    types = ["c" if column == 2 else "float" for column in range(FEATURES)]
    return xgboost.train(parameters, matrix(rows, values, feature_types=types, enable_categorical=True), 7)


def several_targets(strategy):
    rows, values = data()
    label = np.stack([values, values * 0.5 + 2, np.nan_to_num(rows[:, 3])], 1)
    parameters = {"nthread": 1, "max_depth": 3, "verbosity": 0, "tree_method": "hist"}
    if strategy:
        parameters["multi_strategy"] = strategy
    return xgboost.train(parameters, matrix(rows, label), 5)


def named(parameters, label):
    return train(parameters, label, feature_names=["age", "income", "days", "a b", "größe", "x6"])


def own_objective():
    rows, values = data()
    table = matrix(rows, values)

    def squared(scores, train_data):
        return scores - train_data.get_label(), np.ones(len(scores), np.float32)

    return xgboost.train({"nthread": 1, "max_depth": 3, "verbosity": 0, "base_score": 0.25}, table, 7, obj=squared)


def pruned():
    return train({"max_depth": 6, "gamma": 3.0, "tree_method": "exact"})


KINDS = {
    "squarederror": lambda: train({"objective": "reg:squarederror"}),
    "squarederror-exact": lambda: train({"objective": "reg:squarederror", "tree_method": "exact"}),
    "squarederror-approx": lambda: train({"objective": "reg:squarederror", "tree_method": "approx"}),
    "squarederror-hist": lambda: train({"objective": "reg:squarederror", "tree_method": "hist", "max_depth": 6}),
    "squarederror-lossguide": lambda: train(
        {
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "grow_policy": "lossguide",
            "max_leaves": 9,
            "max_depth": 0,
        }
    ),
    "squarederror-base-score": lambda: train({"objective": "reg:squarederror", "base_score": -7.125}),
    "squarederror-base-score-1e-8": lambda: train({"objective": "reg:squarederror", "base_score": 1.1e-8}),
    "squarederror-base-margin": lambda: train({"objective": "reg:squarederror"}, first=margins),
    "squarederror-monotone": lambda: train({"objective": "reg:squarederror", "monotone_constraints": "(1,0,0,0,0,-1)"}),
    "squarederror-pruned": pruned,
    "squarederror-forest": lambda: train({"num_parallel_tree": 5, "subsample": 0.7, "eta": 1}, rounds=1),
    "squarederror-boosted-forest": lambda: train({"num_parallel_tree": 3, "subsample": 0.7}, rounds=4),
    "squarederror-stumps": lambda: train({"max_depth": 1}),
    "squarederror-leaves-only": lambda: train({"min_child_weight": 1e9}),
    "squaredlogerror": lambda: train({"objective": "reg:squaredlogerror"}, "positive"),
    "regression-logistic": lambda: train({"objective": "reg:logistic"}, "unit"),
    "regression-logistic-base-score": lambda: train({"objective": "reg:logistic", "base_score": 0.2}, "unit"),
    "pseudohubererror": lambda: train({"objective": "reg:pseudohubererror"}),
    "pseudohubererror-slope": lambda: train({"objective": "reg:pseudohubererror", "huber_slope": 2.5}),
    "absoluteerror": lambda: train({"objective": "reg:absoluteerror"}),
    "quantileerror": lambda: train({"objective": "reg:quantileerror", "quantile_alpha": 0.7}),
    "quantileerror-3": lambda: train({"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]}),
    "expectileerror": lambda: train({"objective": "reg:expectileerror", "expectile_alpha": 0.7}),
    "gamma": lambda: train({"objective": "reg:gamma"}, "positive"),
    "tweedie": lambda: train({"objective": "reg:tweedie"}, "positive"),
    "tweedie-1.9": lambda: train({"objective": "reg:tweedie", "tweedie_variance_power": 1.9}, "positive"),
    "poisson": lambda: train({"objective": "count:poisson"}, "count"),
    "poisson-delta": lambda: train({"objective": "count:poisson", "max_delta_step": 0.3}, "count"),
    "cox": lambda: train({"objective": "survival:cox"}, "positive"),
    "aft": lambda: train({"objective": "survival:aft"}, "positive", first=bounds),
    "aft-extreme": lambda: train(
        {"objective": "survival:aft", "aft_loss_distribution": "extreme", "aft_loss_distribution_scale": 1.3},
        "positive",
        first=bounds,
    ),
    "logistic": lambda: train({"objective": "binary:logistic"}, "binary"),
    "logistic-base-score": lambda: train({"objective": "binary:logistic", "base_score": 0.03}, "binary"),
    "logistic-scale-pos-weight": lambda: train({"objective": "binary:logistic", "scale_pos_weight": 6.5}, "binary"),
    "logistic-names": lambda: named({"objective": "binary:logistic"}, "binary"),
    "logistic-forest": lambda: train(
        {"objective": "binary:logistic", "num_parallel_tree": 5, "subsample": 0.6}, "binary", 1
    ),
    "logitraw": lambda: train({"objective": "binary:logitraw"}, "binary"),
    "logitraw-base-score": lambda: train({"objective": "binary:logitraw", "base_score": 0.2}, "binary"),
    "hinge": lambda: train({"objective": "binary:hinge"}, "binary"),
    "softmax": lambda: train({"objective": "multi:softmax", "num_class": 4}, "class", classes=4),
    "softprob": lambda: train({"objective": "multi:softprob", "num_class": 3}, "class", classes=3),
    "softprob-base-score": lambda: train(
        {"objective": "multi:softprob", "num_class": 3, "base_score": 0.9}, "class", classes=3
    ),
    "softprob-forest": lambda: train(
        {"objective": "multi:softprob", "num_class": 3, "num_parallel_tree": 2, "subsample": 0.6}, "class", 3, classes=3
    ),
    "rank-pairwise": lambda: train({"objective": "rank:pairwise"}, "relevance"),
    "rank-ndcg": lambda: train({"objective": "rank:ndcg"}, "relevance"),
    "rank-ndcg-mean": lambda: train(
        {"objective": "rank:ndcg", "lambdarank_pair_method": "mean", "lambdarank_num_pair_per_sample": 2}, "relevance"
    ),
    "rank-map": lambda: train({"objective": "rank:map", "eval_metric": "map"}, "relevance01"),
    "own-objective": own_objective,
    "dart": lambda: train(
        {"booster": "dart", "rate_drop": 0.4, "skip_drop": 0.1, "objective": "binary:logistic"}, "binary", 12
    ),
    "dart-forest": lambda: train(
        {"booster": "dart", "rate_drop": 0.4, "num_parallel_tree": 2, "subsample": 0.7}, rounds=8
    ),
    "dart-softprob": lambda: train(
        {"booster": "dart", "rate_drop": 0.4, "objective": "multi:softprob", "num_class": 3}, "class", 6, classes=3
    ),
    "dart-one-drop": lambda: train(
        {"booster": "dart", "one_drop": 1, "normalize_type": "forest", "base_score": 2.0}, rounds=9
    ),
    "linear": lambda: train({"booster": "gblinear", "max_depth": None}),
    "linear-logistic": lambda: train(
        {"booster": "gblinear", "objective": "binary:logistic", "max_depth": None}, "binary"
    ),
    "linear-softprob": lambda: train(
        {"booster": "gblinear", "objective": "multi:softprob", "num_class": 3, "max_depth": None}, "class", classes=3
    ),
    "early-stopped": early_stopped,
    "early-stopped-forest": lambda: early_stopped(parallel=3),
    "continued": lambda: early_stopped(continue_rounds=6),
    "continued-forest": lambda: early_stopped(continue_rounds=3, parallel=3),
    "categorical-onehot": lambda: categorical(True),
    "categorical-partition": lambda: categorical(False),
    "targets-3": lambda: several_targets(None),
    "targets-3-vector-leaves": lambda: several_targets("multi_output_tree"),
}


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {}
    for name, make in KINDS.items():
        try:
            booster = make()
            # What this version cannot score itself is nothing to compare with.
            booster.predict(matrix(data()[0][:2], None), validate_features=False)
        except Exception as error:  # a kind that this version does not know
            kinds[name] = {"why": (str(error).strip() or type(error).__name__).splitlines()[0][:160]}
            continue
        forms = []
        for form in ("json",) + (("ubj",) if VERSION >= (1, 6, 0) else ()) + (("bin",) if VERSION < (2, 1, 0) else ()):
            file = folder / f"{name}.{form}"
            try:
                booster.save_model(str(file))
                forms.append(form)
            except Exception as error:  # gblinear in 1.0, say
                kinds.setdefault(name, {})["no " + form] = str(error).strip().splitlines()[0][:160]
        kinds[name] = dict(kinds.get(name, {}), forms=forms)
    (folder / "kinds.json").write_text(json.dumps({"version": VERSION, "kinds": kinds}, indent=1))


main()
