"""Every parameter that XGBoost reads from a model file: names and allowed values.

XGBoost writes these numbers as text and trusts what it reads: a `size_leaf_vector` of -1 makes it allocate without end.
The names are those of XGBoost 1.6 (the first with UBJ) to 3.4, the ranges the ones that it declares.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from .refusal import shown
from .ubj import UbjError

MAX_FEATURES = 1 << 20
MAX_TREES = 1 << 17
MAX_OUTPUTS = 1 << 12
_INT = 2**31 - 1
_WHOLE = re.compile(r"(0|-?[1-9][0-9]{0,9})\Z", re.ASCII)
_FLOAT = re.compile(r"[+-]?[0-9]{1,32}(\.[0-9]{1,32})?([eE][+-]?[0-9]{1,3})?\Z", re.ASCII)
# What XGBoost reads base_score with takes at most nine digits and no plus sign; for the rest it silently keeps 0.5.
_BASE_SCORE = re.compile(r"-?(?=[0-9.]{1,10}(?:[eE]|\Z))[0-9]{1,9}(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,3})?\Z", re.ASCII)
_MAX_FLOAT = 3.4028235e38
_Rule = tuple[Callable[[str], bool], str]


def _whole(low: int, high: int = _INT) -> _Rule:
    return lambda text: bool(_WHOLE.match(text)) and low <= int(text) <= high, f"a whole number from {low} to {high}"


def _is_float(text: str, low: float, high: float) -> bool:
    return bool(_FLOAT.match(text)) and low <= float(text) <= high


def _float(low: float = -_MAX_FLOAT, high: float = _MAX_FLOAT) -> _Rule:
    what = "a number of float32" if low == -_MAX_FLOAT else f"a number from {low:g} to {high:g}"
    return lambda text: _is_float(text, low, high), what


def _word(*words: str) -> _Rule:
    return lambda text: text in words, " or ".join(words)


def floats_of(text: str) -> list[str]:
    """The items of `[1E0,2E0]`, which 3.1 and newer write for several numbers; a bare number is one item."""
    return text[1:-1].split(",") if text[:1] == "[" and text[-1:] == "]" else [text]


def _floats(low: float = -_MAX_FLOAT, high: float = _MAX_FLOAT) -> _Rule:
    def sound(text: str) -> bool:
        items = floats_of(text) if len(text) <= 64 * MAX_OUTPUTS else []
        return 0 < len(items) <= MAX_OUTPUTS and all(_is_float(item, low, high) for item in items)

    return sound, f"one number or up to {MAX_OUTPUTS} in brackets, from {low:g} to {high:g}"


def _base_score() -> _Rule:
    sound, what = _floats()
    return lambda text: sound(text) and all(map(_BASE_SCORE.match, floats_of(text))), f"{what}, of at most 9 digits"


def check_base_score(text: str, version: tuple[int, int, int]) -> None:
    """UbjError for a text that XGBoost would not read as that number, and would score with 0.5 instead."""
    sound, allowed = _TABLES["learner_model_param"]["base_score"]
    if not sound(text):
        raise UbjError(f"its learner_model_param.base_score is {shown(text)}; it must be {allowed}, as text")
    if text[:1] == "[" and version < (3, 1, 0):
        dotted = ".".join(map(str, version))
        raise UbjError(f"its base_score is {shown(text)}, which XGBoost {dotted} does not write, and reads as 0.5")


_BOOL = _word("0", "1")
_TABLES: Mapping[str, Mapping[str, _Rule]] = {
    "learner_model_param": {
        "base_score": _base_score(), "boost_from_average": _BOOL, "num_class": _whole(0, MAX_OUTPUTS),
        "num_feature": _whole(0, MAX_FEATURES), "num_target": _whole(0, MAX_OUTPUTS),
    },
    "gbtree_model_param": {
        "num_trees": _whole(0, MAX_TREES), "num_parallel_tree": _whole(0, MAX_TREES), "size_leaf_vector": _BOOL,
    },
    "tree_param": {
        "num_deleted": _whole(0), "num_feature": _whole(0, MAX_FEATURES), "num_nodes": _whole(1),
        "size_leaf_vector": _whole(0, MAX_OUTPUTS),
    },
    "reg_loss_param": {"scale_pos_weight": _float(0)},
    "softmax_multiclass_param": {"num_class": _whole(1, MAX_OUTPUTS)},
    "poisson_regression_param": {"max_delta_step": _float(0)},
    "tweedie_regression_param": {"tweedie_variance_power": _float(1, 2)},
    "pseudo_huber_param": {"huber_slope": _float()},
    "pseduo_huber_param": {"huber_slope": _float()},  # 1.6's spelling
    "quantile_loss_param": {"quantile_alpha": _floats(0, 1)},
    "expectile_loss_param": {"expectile_alpha": _floats(0, 1)},
    "aft_loss_param": {
        "aft_loss_distribution": _word("normal", "logistic", "extreme"), "aft_loss_distribution_scale": _float(0),
    },
    "lambda_rank_param": {"num_pairsample": _whole(1), "fix_list_weight": _float(0)},
    "lambdarank_param": {
        "lambdarank_pair_method": _word("mean", "topk"), "lambdarank_num_pair_per_sample": _whole(1, 2**32 - 1),
        "lambdarank_unbiased": _BOOL, "lambdarank_bias_norm": _float(0), "lambdarank_normalization": _BOOL,
        "lambdarank_score_normalization": _BOOL, "ndcg_exp_gain": _BOOL,
    },
}  # fmt: skip
_NEEDED: Mapping[str, Collection[str]] = {
    "learner_model_param": ("base_score", "num_class", "num_feature"),
    "gbtree_model_param": ("num_trees",),
    "tree_param": ("num_deleted", "num_feature", "num_nodes", "size_leaf_vector"),
    "softmax_multiclass_param": ("num_class",),
}
OBJECTIVE_PARAMETERS = frozenset(_TABLES) - {"learner_model_param", "gbtree_model_param", "tree_param"}


def check_parameters(place: str, value: object) -> dict[str, str]:
    """The parameters of one place, for example `tree_param`; UbjError for a name or value that XGBoost never writes."""
    rules = _TABLES[place]
    parameters: dict[str, str] = known(place, value, rules, _NEEDED.get(place, ()))
    for name, value in parameters.items():
        sound, allowed = rules[name]
        if not isinstance(value, str) or not sound(value):
            raise UbjError(f"its {place}.{name} is {shown(value)}; it must be {allowed}, as text")
    return parameters


def known(place: str, value: object, names: Collection[str], needed: Collection[str] = ()) -> dict[str, Any]:
    """An object of the document; UbjError if it is none, holds a name XGBoost does not write or lacks a needed one."""
    if not isinstance(value, dict):
        raise UbjError(f"its {place} is {shown(value)}; it must be an object")
    for name in value:
        if name not in names:
            raise UbjError(f"its {place} holds {shown(name)}, which XGBoost 1.6 to 3.4 do not write")
    for name in needed:
        if name not in value:
            raise UbjError(f"its {place} lacks {name!r}")
    return value


def whole(place: str, value: object, low: int, high: int) -> int:
    """A whole number of the document; UbjError if it is anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UbjError(f"its {place} is {shown(value)}; it must be a whole number from {low} to {high}")
    return value


def attribute_number(text: object) -> int | None:
    """`best_iteration` and its like, which users may set to anything: the number, or None if it is not one from 0."""
    return int(text) if isinstance(text, str) and _WHOLE.match(text) and 0 <= int(text) <= _INT else None
