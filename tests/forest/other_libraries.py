"""Flat forests against LightGBM and scikit-learn, bit for bit: `python -m tests.forest.other_libraries`.

Installs both into an environment below .build/ and runs itself there: generated models of every kind that is covered,
rows at their thresholds and the float32 next to them. Prints counts; exit code 1 if a margin or score differs in a bit.
`--fixtures FILE` writes a small model of each kind with its rows and scores, which the tests read.
"""

import argparse
import io
import json
import subprocess
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "container"))

import numpy as np
from tierfleet_forest import ConvertError, layout, lightgbm_model, loads, sklearn_model
from tierfleet_forest.tree_model import TreeModel
from tierfleet_forest.writer import write_forest

from benchmarks.model_server.processes import python_with

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["lightgbm==4.7.0", "scikit-learn==1.9.1", "numpy==2.4.6"]
LIGHTGBM = (
    "binary", "regression", "regression_l1", "huber", "fair", "quantile", "mape", "poisson", "gamma", "tweedie",
    "cross_entropy", "multiclass", "multiclassova", "lambdarank", "rank_xendcg",
)  # fmt: skip
SKLEARN = (
    "RandomForestClassifier", "ExtraTreesClassifier", "DecisionTreeClassifier", "GradientBoostingClassifier",
    "HistGradientBoostingClassifier", "RandomForestRegressor", "ExtraTreesRegressor", "DecisionTreeRegressor",
    "GradientBoostingRegressor", "HistGradientBoostingRegressor",
)  # fmt: skip
_ZERO = np.float32(layout.ZERO)
_EXTREMES = np.array(
    [0, -0.0, 1e-45, -1e-45, 3e38, -3e38, _ZERO, -_ZERO, np.nextafter(_ZERO, np.float32(1)),
     -np.nextafter(_ZERO, np.float32(1)), 1e9, -1, -0.5, 7.7],
    np.float32,
)  # fmt: skip


class Case:
    """A trained model: what is written, rows, and the library's margins and scores of them."""

    def __init__(self, model: TreeModel, source: dict[str, Any], rows: Any, predict: Callable[[Any], Any]) -> None:
        self.model = model
        self.source = source
        self.rows = rows
        margins, scores = predict(rows)
        self.margins = np.asarray(margins, np.float64).reshape(len(rows), -1)
        self.scores = np.asarray(scores, np.float64).reshape(len(rows), -1)


def features(random: Any, rows: int, *, missing: bool) -> tuple[Any, Any]:
    """Rows and a signal in them."""
    count = int(random.integers(1, 20))
    values = random.standard_normal((rows, count)) * random.choice([1, 1, 1e-3, 1e4, 1e-36])
    values = (np.round(2 * values) if random.random() < 0.4 else values).astype(np.float32)
    signal = np.nan_to_num(values.astype(float)) @ random.standard_normal(count)
    signal = (signal - signal.mean()) / (signal.std() + 1e-9) + 0.3 * random.standard_normal(rows)
    if missing:
        values[random.random(values.shape) < random.choice([0.1, 0.5])] = np.nan
    if random.random() < 0.2:
        values[random.random(values.shape) < 0.4] = 0
    return values, signal


def telling_rows(random: Any, model: TreeModel, trained_on: Any, count: int, *, missing: bool, infinite: bool) -> Any:
    """Rows at the model's thresholds and next to them."""
    rows = trained_on[random.integers(0, len(trained_on), count)].copy()
    splits, infinity = model.left >= 0, np.float32(np.inf)
    for feature in np.unique(model.feature[splits]):
        own = np.unique(model.threshold[splits & (model.feature == feature)])
        pool = np.concatenate([own, np.nextafter(own, infinity), np.nextafter(own, -infinity), _EXTREMES])
        pool = np.concatenate([pool, [infinity, -infinity]]) if infinite else pool[np.isfinite(pool)]
        here = random.random(count) < 0.5
        rows[here, feature] = random.choice(pool, int(here.sum()))
    if missing:
        rows[random.random(rows.shape) < 0.05] = np.nan
    return rows.astype(np.float32)


def lightgbm_case(seed: int, objective: str, count: int, *, small: bool) -> Case | None:
    """A LightGBM model; None if LightGBM refuses what was drawn."""
    import lightgbm

    random = np.random.default_rng(seed)
    rows, signal = features(random, 200 if small else int(random.integers(100, 1500)), missing=random.random() < 0.5)
    categorical = [c for c in range(rows.shape[1]) if random.random() < random.choice([0, 0.3])]
    for column in categorical:
        rows[:, column] = random.integers(0, int(random.integers(2, 70)), len(rows))
    positive = np.exp(np.clip(signal, -2, 2)) + 0.01
    classes, grades = np.clip(np.round(signal + 1.5), 0, 3), np.clip(np.round(signal + 2), 0, 4)
    label = {
        "binary": signal > 0, "poisson": random.poisson(positive), "gamma": positive, "tweedie": positive,
        "cross_entropy": 1 / (1 + np.exp(-signal)), "multiclass": classes, "multiclassova": classes,
        "lambdarank": grades, "rank_xendcg": grades,
    }.get(objective, signal).astype(float)  # fmt: skip
    parameters = {
        "objective": objective, "verbose": -1, "num_threads": 1, "seed": seed % 1000,
        "num_leaves": 5 if small else int(random.integers(2, 63)), "min_data_in_leaf": int(random.choice([1, 5, 20])),
        "learning_rate": float(random.choice([0.05, 0.3, 1])),
        "boosting": str(random.choice(["gbdt", "gbdt", "dart", "rf"])),
        "zero_as_missing": bool(random.random() < 0.25), "use_missing": bool(random.random() < 0.85),
        "max_cat_to_onehot": int(random.choice([1, 4, 100])), "cat_smooth": 1, "min_data_per_group": 5,
        "max_bin": int(random.choice([15, 255])), "sigmoid": float(random.choice([1, 0.7])),
        "extra_trees": bool(random.random() < 0.2), "bagging_freq": 1, "bagging_fraction": 0.7,
    }  # fmt: skip
    if objective.startswith("multi"):
        parameters["num_class"] = 4
    group = [len(rows)] if objective in ("lambdarank", "rank_xendcg") else None
    data = lightgbm.Dataset(rows, label, categorical_feature=categorical, group=group)
    try:
        booster = lightgbm.train(parameters, data, 3 if small else int(random.integers(1, 25)))
    except lightgbm.basic.LightGBMError:
        return None
    text = booster.model_to_string()
    model = lightgbm_model.tree_model(text.encode())
    asked = telling_rows(random, model, rows, count, missing=True, infinite=True)

    def predict(asked: Any) -> tuple[Any, Any]:
        # Its raw score of a random forest is the sum, and the average is what it transforms.
        return booster.predict(asked, raw_score=True) / model.divisor, booster.predict(asked)

    return Case(model, {"text": text}, asked, predict)


def sklearn_case(seed: int, name: str, count: int, *, small: bool) -> Case | None:
    """A scikit-learn estimator; None if it refuses what was drawn."""
    from sklearn import ensemble, tree

    random, missing = np.random.default_rng(seed), False
    boosting, histogram, classifier = "Boosting" in name, "Hist" in name, name.endswith("Classifier")
    missing = (histogram or not boosting) and bool(random.random() < 0.5)
    rows, signal = features(random, 100 if small else int(random.integers(60, 900)), missing=missing)
    classes = 2 if boosting or random.random() < 0.5 else 4
    label = np.digitize(signal, [-0.5, 0, 0.6]) % classes if classifier else signal
    settings: dict[str, Any] = {"random_state": seed % 1000}
    if boosting:
        settings["learning_rate"] = float(random.choice([0.1, 0.37, 1]))
        losses = ["squared_error", "absolute_error"] if histogram else sorted(("squared_error", "huber", "quantile"))
        if not classifier:
            settings["loss"] = str(random.choice(losses))
        elif not histogram:
            settings["loss"] = str(random.choice(["log_loss", "exponential"]))
    if histogram:
        settings.update(
            max_iter=3 if small else int(random.integers(1, 30)), max_leaf_nodes=int(random.integers(2, 40)),
            min_samples_leaf=int(random.choice([1, 20])), max_bins=int(random.choice([8, 255])),
        )  # fmt: skip
    else:
        settings["max_depth"] = 3 if small else int(random.integers(1, 12))
        if "Decision" not in name:
            settings["n_estimators"] = 3 if small else int(random.integers(1, 30))
        if boosting:
            settings["init"] = "zero" if random.random() < 0.3 else None
    try:
        estimator = getattr(ensemble, name, None) or getattr(tree, name)
        estimator = estimator(**settings).fit(rows, label)
        model = sklearn_model.tree_model(estimator)
        asked = telling_rows(random, model, rows, count, missing=missing, infinite=False)

        def predict(asked: Any) -> tuple[Any, Any]:
            if not classifier:
                return (estimator.predict(asked),) * 2
            scores = estimator.predict_proba(asked)
            return (estimator.decision_function(asked), scores[:, 1:]) if boosting else (scores, scores)

        return Case(model, {"estimator": estimator}, asked, predict)
    except ValueError:  # one class alone, or missing values that were not there in training
        return None


def compare(case: Case, counts: Counter[str]) -> None:
    """Count the rows that differ, in both forms."""
    counts["models"] += 1
    counts["rows"] += len(case.rows)
    for form in (layout.FORM_A, layout.FORM_B):
        try:
            forest = loads(write_forest(case.model, node_bytes=form))
        except ConvertError:  # form A has no room
            continue
        counts["forms"] += 1
        shape = (len(case.rows), -1)
        margins, scores = np.array(forest.margins(case.rows)), np.array(forest.predict(case.rows))
        counts["margins that differ"] += int((margins.reshape(shape) != case.margins).any(axis=1).sum())
        counts["scores that differ"] += int((scores.reshape(shape) != case.scores).any(axis=1).sum())


def cases(seed: int, models: int, rows: int, *, small: bool) -> Any:
    """So many models a kind, with the name of the kind."""
    for kind, make in [(name, lightgbm_case) for name in LIGHTGBM] + [(name, sklearn_case) for name in SKLEARN]:
        made = 0
        for number in range(3 * models):
            case = make(seed + 7919 * number, kind, rows, small=small)
            if case is not None:
                yield kind, case
                made += 1
                if made == models:
                    break


def fixtures(file: Path) -> None:
    """A small model of each kind, as the tests read it: text, or an estimator's own arrays."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:

        def write(name: str, data: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)

        for kind, case in cases(3, 1, 40, small=True):
            if "text" in case.source:
                text = case.source["text"].partition("\nparameters:")[0].encode()
                write(f"{kind}/model.txt", text)
            else:
                write(f"{kind}/estimator.json", json.dumps(_plain(case.source["estimator"])).encode())
            for name in ("rows", "margins", "scores"):
                out = io.BytesIO()
                np.save(out, getattr(case, name))
                write(f"{kind}/{name}.npy", out.getvalue())


def _plain(estimator: Any) -> dict[str, Any]:
    """What `sklearn_model` reads of an estimator."""
    document: dict[str, Any] = {"name": type(estimator).__name__, "n_features_in_": estimator.n_features_in_}
    if hasattr(estimator, "classes_"):
        document["classes_"] = estimator.classes_.tolist()
    if document["name"].startswith("Hist"):
        fields = ("is_leaf", "left", "right", "feature_idx", "num_threshold", "missing_go_to_left", "count", "value")
        return {
            **document, "loss": estimator.loss, "baseline": np.asarray(estimator._baseline_prediction).tolist(),
            "nodes": [{name: p.nodes[name].tolist() for name in fields} for (p,) in estimator._predictors],
        }  # fmt: skip
    trees = [estimator]
    if document["name"].startswith("Gradient"):
        start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))
        document.update(loss=estimator.loss, learning_rate=estimator.learning_rate, start=start.tolist())
        document["init"], trees = estimator.init, list(estimator.estimators_[:, 0])
    elif hasattr(estimator, "estimators_"):
        trees = estimator.estimators_
    names = (
        "children_left", "children_right", "feature", "threshold", "missing_go_to_left", "weighted_n_node_samples",
        "value",
    )  # fmt: skip
    return {**document, "trees": [{name: getattr(tree.tree_, name).tolist() for name in names} for tree in trees]}


def main() -> int:
    """Exit code 1 if a bit differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=12, help="of each kind")
    parser.add_argument("--rows", type=int, default=20_000, help="of each model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fixtures", type=Path, help="only write the models of the tests to this file")
    arguments = parser.parse_args()
    try:
        import lightgbm
        import sklearn
    except ImportError:
        python = python_with("other-libraries", PACKAGES)
        return subprocess.run(
            [str(python), "-m", "tests.forest.other_libraries", *sys.argv[1:]], cwd=ROOT, check=False
        ).returncode
    warnings.simplefilter("ignore")
    if arguments.fixtures:
        fixtures(arguments.fixtures)
        return 0
    by_kind: dict[str, Counter[str]] = {}
    for kind, case in cases(arguments.seed, arguments.models, arguments.rows, small=False):
        compare(case, by_kind.setdefault(kind, Counter()))
    names = ("models", "rows", "margins that differ", "scores that differ")
    by_kind["all"] = sum(by_kind.values(), Counter())
    print("\n".join(["| kind | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]))
    for kind, counts in by_kind.items():
        print(f"| {kind} | " + " | ".join(f"{counts[name]:,}" for name in names) + " |")
    print(f"LightGBM {lightgbm.__version__}, scikit-learn {sklearn.__version__}")
    return 1 if by_kind["all"]["margins that differ"] or by_kind["all"]["scores that differ"] else 0


if __name__ == "__main__":
    sys.exit(main())
