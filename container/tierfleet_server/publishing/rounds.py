"""A model's boosting rounds, its best iteration of early stopping, and the model cut there."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from ..model.refusal import BadModel
from .document import Document
from .tree_scores import booster_of, learner_of, outputs_of

Rounds = Literal["auto", "all", "best"]


@dataclass(frozen=True)
class RoundsKept:
    """The kept part of a model: `trees` of its trees in `rounds` rounds; `note` says so if it is not all."""

    trees: int
    rounds: int
    note: str = ""
    cut: bool = False


def starts_of_rounds(document: Document) -> list[int] | None:
    """The number of the first tree of each round, and of the end; None if the file does not tell (1.3 and older)."""
    _, model, _ = booster_of(document)
    trees = len(model["trees"])
    if "iteration_indptr" in model:
        return [int(start) for start in model["iteration_indptr"]]
    parallel = _parallel(document, model)
    if parallel is None:
        return None
    per_round = parallel * outputs_of(document)
    return list(range(0, trees + 1, per_round)) if trees % per_round == 0 else None


def kept_rounds(document: Document, rounds: Rounds) -> RoundsKept:
    """The rounds of an artefact; raises BadModel for a requested cut that cannot be made.

    `Booster.predict` scores all rounds, so all are kept; scikit-learn's wrapper stops at the best iteration, so its
    files are cut there. `best_iteration` of a native file does not tell whether it was trained on after an early stop:
    XGBoost never clears it, and the two files can be the same byte for byte.
    """
    kind, model, _ = booster_of(document)
    if kind == "gblinear":
        return RoundsKept(0, int(model.get("boosted_rounds", 0)))
    trees, starts = len(model["trees"]), starts_of_rounds(document)
    best = _best_iteration(document)
    count = len(starts) - 1 if starts else trees
    if best is None or (starts and best + 1 >= count):
        return RoundsKept(trees, count)
    if starts is None:
        if rounds == "best":
            raise BadModel(
                "it does not say how many trees make a round, so it cannot be cut after its best iteration; "
                "save it with XGBoost 1.6 or newer, or cut it before saving: booster[: booster.best_iteration + 1]"
            )
        return RoundsKept(trees, count)
    wrapper = _scikit_learn(document)
    if rounds == "best" or (rounds == "auto" and wrapper is not None and not _trained_further(wrapper, best, count)):
        why = (
            "asked for by --rounds best"
            if rounds == "best"
            else "scikit-learn's predict stops at the best iteration; --rounds all keeps all"
        )
        return RoundsKept(starts[best + 1], best + 1, f"{count} rounds, kept {best + 1} ({why})", cut=True)
    note = (
        f"best_iteration is {best}; kept all {count} rounds, as Booster.predict scores them. If it was stopped early "
        f"and not trained further, --rounds best keeps {best + 1}"
    )
    return RoundsKept(trees, count, "" if rounds == "all" else note)


def first_trees(document: Document, kept: RoundsKept) -> Document:
    """A model of the first rounds of this one; what it does not change is shared with it."""
    learner = learner_of(document)
    kind, model, weights = booster_of(document)
    less = {
        **model,
        "gbtree_model_param": {**model["gbtree_model_param"], "num_trees": str(kept.trees)},
        "tree_info": model["tree_info"][: kept.trees],
        "trees": model["trees"][: kept.trees],
    }
    if "iteration_indptr" in model:
        less["iteration_indptr"] = model["iteration_indptr"][: kept.rounds + 1]
    booster: dict[str, Any] = {"model": less, "name": learner["gradient_booster"]["name"]}
    if kind == "dart" and weights is not None:
        if "gbtree" in learner["gradient_booster"]:
            booster = {"gbtree": {"model": less, "name": "gbtree"}, "name": "dart"}
        if "weight_drop" in model:
            less["weight_drop"] = weights[: kept.trees]
        else:
            booster["weight_drop"] = weights[: kept.trees]
    return {**document, "learner": {**learner, "gradient_booster": booster}}


def without_best_iteration(document: Document) -> Document:
    """The model without the attributes at which the stock images of 1.5 and 1.7 would stop."""
    learner = learner_of(document)
    attributes = {
        name: value
        for name, value in learner.get("attributes", {}).items()
        if name not in ("best_iteration", "best_ntree_limit")
    }
    return {**document, "learner": {**learner, "attributes": attributes}}


def stock_image_stops(document: Document, reader: tuple[int, int, int]) -> bool:
    """Whether the stock image of XGBoost `reader` would score fewer trees than the file has.

    Those of 1.4 to 1.7 predict with `ntree_limit=booster.best_ntree_limit` where the file has that attribute.
    """
    limit = str(learner_of(document).get("attributes", {}).get("best_ntree_limit", ""))
    if not (1, 4, 0) <= reader < (2, 0, 0) or not limit.isdigit() or int(limit) == 0:
        return False
    kind, model, _ = booster_of(document)
    return kind != "gblinear" and int(limit) * outputs_of(document) < len(model["trees"])


def _parallel(document: Document, model: dict[str, Any]) -> int | None:
    stored = str(model["gbtree_model_param"].get("num_parallel_tree", ""))
    if stored.isdigit() and int(stored) > 0:
        return int(stored)
    attributes = learner_of(document).get("attributes", {})
    limit, best = (str(attributes.get(name, "")) for name in ("best_ntree_limit", "best_iteration"))
    if limit.isdigit() and best.isdigit() and int(limit) and int(limit) % (int(best) + 1) == 0:
        return int(limit) // (int(best) + 1)
    groups = [int(group) for group in model["tree_info"]]
    if outputs_of(document) > 1 and 1 in groups:
        return groups.index(1)
    return None


def _best_iteration(document: Document) -> int | None:
    best = str(learner_of(document).get("attributes", {}).get("best_iteration", ""))
    return int(best) if best.isascii() and best.isdigit() else None


def _scikit_learn(document: Document) -> dict[str, Any] | None:
    text = learner_of(document).get("attributes", {}).get("scikit_learn")
    if not isinstance(text, str):
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _trained_further(wrapper: dict[str, Any], best: int, count: int) -> bool:
    # Until 2.0 the wrapper's own settings are in the file: the rounds after the best one must be those it waited for.
    waited = wrapper.get("early_stopping_rounds")
    if type(waited) is not int:
        return False
    after = count - best - 1
    return after != waited and not (after < waited and count == wrapper.get("n_estimators"))
