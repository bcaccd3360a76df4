"""What one version of XGBoost reads of another version's model: not at all, otherwise, or exactly.

The rules depend on the version in the file and the version of the reader, never on the installed XGBoost. They come
from loading every kind of model of ten versions in eleven (`make test-xgboost-versions`; docs/models.md has the table).
"""

from typing import Any

import numpy as np

from ..model.refusal import BadModel
from .document import Document
from .tree_scores import adds_base_last, base_margins, booster_of, learner_of, outputs_of, sorts_quantiles
from .versions import Version, dotted

FIRST_WITH_UBJ: Version = (1, 6, 0)
LAST_WITH_BINARY: Version = (3, 0, 99)
NEWEST_KNOWN: Version = (3, 4, 99)
_FIRST_WITH_CATEGORIES: Version = (1, 5, 0)
_FIRST_WITH_VECTOR_BASE: Version = (3, 1, 0)
_FIRST_WITH_TARGETS: Version = (1, 6, 0)
_FIRST_WITH_FLOAT_AFT: Version = (2, 1, 0)
# The first version with an objective, for objectives that 1.0 did not have.
_FIRST = {
    "reg:pseudohubererror": (1, 1, 0), "survival:aft": (1, 1, 0), "reg:absoluteerror": (1, 7, 0),
    "reg:quantileerror": (2, 0, 0), "reg:expectileerror": (3, 3, 0),
}  # fmt: skip
_SLOPE, _SCALE = {"huber_slope": "1"}, {"scale_pos_weight": "1"}
# Parameters that a reader requires although scores do not depend on them.
PARAMETERS: dict[str, dict[str, dict[str, str]]] = {
    **{name: {"reg_loss_param": _SCALE} for name in (
        "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:logistic", "binary:logistic",
        "binary:logitraw", "reg:gamma",
    )},
    "reg:pseudohubererror": {"reg_loss_param": _SCALE, "pseudo_huber_param": _SLOPE},
    "count:poisson": {"poisson_regression_param": {"max_delta_step": "0.7"}},
    "reg:tweedie": {"tweedie_regression_param": {"tweedie_variance_power": "1.5"}},
    "survival:aft": {"aft_loss_param": {"aft_loss_distribution": "normal", "aft_loss_distribution_scale": "1"}},
    "multi:softmax": {"softmax_multiclass_param": {}},
    "multi:softprob": {"softmax_multiclass_param": {}},
    "reg:quantileerror": {"quantile_loss_param": {}},
    "reg:expectileerror": {"expectile_loss_param": {}},
    "survival:cox": {},
    "binary:hinge": {},
    "reg:absoluteerror": {},
}  # fmt: skip
RANKING = ("rank:pairwise", "rank:ndcg", "rank:map")
# What a reader without its parameters refuses: (objective, first reader, first that does without).
_INSISTS = (
    ("reg:gamma", (2, 0, 0), (3, 1, 0)),
    ("reg:squaredlogerror", (1, 0, 0), (3, 0, 0)),
    ("reg:pseudohubererror", (1, 0, 0), (1, 6, 0)),
)


def version_of(document: Document) -> Version:
    """The version of XGBoost that saved it; raises BadModel if the document does not say."""
    version = document.get("version")
    if not isinstance(version, list) or len(version) != 3 or not all(type(part) is int for part in version):
        raise BadModel("the model does not say which XGBoost saved it; save it with Booster.save_model")
    return version[0], version[1], version[2]


def refuse_unreadable(document: Document, source: Version, reader: Version) -> None:
    """Raise BadModel if no file gives XGBoost `reader` the scores that this model has in `source`."""
    learner = learner_of(document)
    objective = str(learner["objective"]["name"])
    if objective not in PARAMETERS and objective not in RANKING:
        raise BadModel(f"its objective {objective!r} is not known here; train with one of {', '.join(PARAMETERS)}")
    first = _FIRST.get(objective, (1, 0, 0))
    if reader < first:
        raise BadModel(
            f"its objective {objective} came with XGBoost {first[0]}.{first[1]} and the image has "
            f"{reader[0]}.{reader[1]}; choose an image with {first[0]}.{first[1]} or later, or another objective"
        )
    if source > NEWEST_KNOWN:
        raise BadModel(
            f"it was saved by XGBoost {dotted(source)}, newer than the newest that was compared here "
            f"({NEWEST_KNOWN[0]}.{NEWEST_KNOWN[1]}); train with {NEWEST_KNOWN[0]}.{NEWEST_KNOWN[1]} or older. Loading "
            "it in an older XGBoost and saving it again does not help: that changes its scores"
        )
    if sorts_quantiles(document, source) != sorts_quantiles(document, reader):
        raise BadModel(
            "it predicts several quantiles, which XGBoost 3.4 and newer sort in each row and older ones do not: it was "
            f"saved by {dotted(source)} and would be scored by {dotted(reader)}; train one model per quantile, or "
            "train with the image's version"
        )
    if objective == "survival:aft" and (source < _FIRST_WITH_FLOAT_AFT) != (reader < _FIRST_WITH_FLOAT_AFT):
        raise BadModel(
            "its objective survival:aft is computed in double precision until XGBoost 2.0 and in single since 2.1, so "
            f"scores differ in their last digit between {dotted(source)}, which saved it, and the image's "
            f"{dotted(reader)}; train with a version on the image's side of 2.1"
        )
    kind, model, _ = booster_of(document)
    if kind != "gblinear" and reader < _FIRST_WITH_CATEGORIES and _has_categories(model):
        raise BadModel(
            f"it splits on categories, which XGBoost {reader[0]}.{reader[1]} does not; choose an image with 1.5 or "
            "later, or encode the categories as numbers before training"
        )
    if kind != "gblinear" and source[:2] == (1, 6) != reader[:2] and _has_categories(model):
        raise BadModel(
            f"it splits on categories and was saved by {dotted(source)}: XGBoost 1.6 sends a category that training "
            f"did not have another way than {dotted(reader)} does, so such rows would be scored otherwise; train it "
            "with 1.7 or newer, or encode the categories as numbers before training"
        )
    if kind != "gblinear" and reader < (1, 1, 0) and _is_pruned(model):
        raise BadModel("its trees were pruned, and XGBoost 1.0 does not load pruned trees; choose a newer image")
    if outputs_of(document) > 1 and _targets(learner) > 1 and reader < _FIRST_WITH_TARGETS:
        raise BadModel(f"it has several targets, which XGBoost {reader[0]}.{reader[1]} does not; choose 1.6 or later")


def differences(document: Document, form: str, source: Version, reader: Version) -> list[str]:
    """Why XGBoost `reader` would not load the file as it is, or score it otherwise; empty if it reads it exactly."""
    objective = learner_of(document)["objective"]
    kind, model, weights = booster_of(document)
    reasons = []
    if form == "ubj" and reader < FIRST_WITH_UBJ:
        reasons.append(f"XGBoost {reader[0]}.{reader[1]} reads no UBJ")
    if form == "binary" and reader > LAST_WITH_BINARY:
        reasons.append(f"XGBoost {reader[0]}.{reader[1]} no longer reads the old binary format")
    if form == "binary" and reader < source and source[:2] != reader[:2]:
        reasons.append(f"the old binary format of {source[0]}.{source[1]} was not written for {reader[0]}.{reader[1]}")
    if form == "json" and reader < FIRST_WITH_UBJ <= source:
        reasons.append("1.6 and newer write default_left as numbers")
    if reader < (1, 3, 0) and reader[:2] != source[:2]:
        reasons.append("1.0 to 1.2 read only their own files")
    if "[" in str(learner_of(document)["learner_model_param"]["base_score"]) and reader < _FIRST_WITH_VECTOR_BASE:
        reasons.append("3.1 and newer write base_score as an array, which older ones read as 0.5")
    if weights is not None and _dart_layout(document) != _dart_layout_of(reader) and reader < (3, 3, 0):
        reasons.append("3.3 and newer keep DART's weights in another place, where older ones do not see them")
    if kind == "gblinear" and reader >= _FIRST_WITH_VECTOR_BASE and not model.get("boosted_rounds"):
        reasons.append("3.1 and newer read base_score otherwise if gblinear does not say its rounds")
    if not any(text.startswith("3.1") for text in reasons) and not same_bits(
        base_margins(document, source), base_margins(document, reader)
    ):
        reasons.append("1.3 changed what base_score means for binary:logitraw")
    if kind != "gblinear" and order_matters(document, kind, source, reader):
        reasons.append("XGBoost added base_score after the trees until 1.2 (DART's until 1.3), and before them since")
    name = str(objective["name"])
    if name in RANKING:
        if reader < (2, 0, 0) and "lambda_rank_param" not in objective:
            reasons.append("2.0 and newer do not write the ranking parameters that older ones ask for")
    else:
        reasons += [
            f"XGBoost {reader[0]}.{reader[1]} asks for parameters of {name} that {source[0]}.{source[1]} does not write"
            for which, first, end in _INSISTS
            if name == which and first <= reader < end and "reg_loss_param" not in objective
        ]
    return reasons


def same_bits(one: Any, other: Any) -> bool:
    """Whether two arrays are equal, NaN included."""
    return bool(np.array_equal(one, other, equal_nan=True))


def order_matters(document: Document, kind: str, source: Version, reader: Version) -> bool:
    """Whether the two versions add a base_score other than 0 at different ends of the sum."""
    last = adds_base_last(kind, source), adds_base_last(kind, reader)
    return last[0] != last[1] and bool(np.any(base_margins(document, source) != 0))


def _targets(learner: dict[str, Any]) -> int:
    return int(learner["learner_model_param"].get("num_target", "1"))


def _is_pruned(model: dict[str, Any]) -> bool:
    return any(int(tree["tree_param"].get("num_deleted", 0)) for tree in model["trees"])


def _has_categories(model: dict[str, Any]) -> bool:
    return any(len(tree.get("categories_nodes", ())) for tree in model["trees"])


def _dart_layout(document: Document) -> str:
    booster = learner_of(document)["gradient_booster"]
    return "around" if "gbtree" in booster else "next to" if "weight_drop" in booster else "inside"


def _dart_layout_of(version: Version) -> str:
    return "around" if version < (3, 3, 0) else "next to" if version < (3, 4, 0) else "inside"
