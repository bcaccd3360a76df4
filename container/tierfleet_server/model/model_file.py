"""The facts of a model file and whether it may be served: format, version, trees that end."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from .categories import check_categories
from .forest import Paths, check_trees, numbers, read_tree
from .parameters import (
    MAX_OUTPUTS,
    OBJECTIVE_PARAMETERS,
    attribute_number,
    check_base_score,
    check_parameters,
    floats_of,
    known,
    whole,
)
from .refusal import BadModel, shown
from .ubj import Bytes, TypedArray, UbjError, outline

_JSON_VERSION = re.compile(rb'(?<!\\)"version"\s*:\s*\[\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\]')
_JSON_BASE_SCORE = re.compile(rb'(?<!\\)"base_score"\s*:\s*"([^"]*)"')
Version = tuple[int, int, int]
# What one row may cost. XGBoost's own default is a depth of 6; a forest of 10,000 trees of depth 100 is within it.
MAX_DEPTH = 1 << 13
MAX_PATH_LENGTH = 1 << 20
MAX_NAME_LENGTH = 1 << 12
_LEARNER_NEEDED = ("gradient_booster", "learner_model_param", "objective")
_LEARNER = (*_LEARNER_NEEDED, "attributes", "feature_names", "feature_types")
_FOREST_NEEDED = ("gbtree_model_param", "tree_info", "trees")
_FOREST = (*_FOREST_NEEDED, "cats", "iteration_indptr", "weight_drop")
_OBJECTIVE = {"name", "ti+", "tj-"} | OBJECTIVE_PARAMETERS
_FEATURE_TYPES = {"int", "float", "i", "q", "c"}


@dataclass(frozen=True)
class ModelFacts:
    """What a model file says of itself: `outputs` is values per row before the objective's transform.

    `depth` is that of the deepest tree, `path_length` the nodes that one row visits at worst: the sum of the trees'
    depths, each at least 1. Both are 0 for gblinear. `nodes` and `shap` are those of `forest.Paths`; `names_bytes` is
    what the names take as JSON.
    """

    booster: str
    objective: str
    features: int
    feature_names: tuple[str, ...]
    outputs: int
    trees: int
    rounds: int
    best_iteration: int | None
    version: Version
    depth: int
    path_length: int
    nodes: int
    shap: int
    names_bytes: int


def file_format(data: bytes) -> str:
    """`ubj` or `json`; BadModel for everything else, such as files that execute code when loaded."""
    if data[:1] == b"{":
        return "json" if data[1:65].lstrip()[:1] == b'"' else "ubj"
    if is_pickle(data):
        raise BadModel(
            "the model is a pickle, which runs code when it is loaded; save it with Booster.save_model('model.ubj')"
        )
    if data[:4] == b"binf" or not data:
        what = "in XGBoost's old binary format" if data else "empty"
        raise BadModel(f"the model file is {what}; save it with Booster.save_model('model.ubj')")
    raise BadModel(
        f"the model file begins with {data[:8]!r}, which is neither UBJ nor JSON; "
        "save it with Booster.save_model('model.ubj')"
    )


def is_pickle(head: bytes) -> bool:
    """Whether a file with these first bytes is a pickle, of any protocol."""
    return head[:1] == b"\x80" or head[:2] in (b"(d", b"(l", b"cc", b"c_", b"cx", b"cn")


def refuse_newer(version: Version, server: Version) -> None:
    """Raise BadModel if XGBoost `server` would silently misread a model saved by `version`.

    From 3.1 base_score is written as an array, which 3.0 and older read as 0.5.
    """
    if version >= (3, 1, 0) and version[:2] > server[:2]:
        raise BadModel(
            f"the model was saved by XGBoost {_dotted(version)} and this server has {_dotted(server)}, which "
            "would score it wrongly without an error; "
            f"save it with XGBoost {server[0]}.{server[1]} or older, "
            f"or use a server with {version[0]}.{version[1]}"
        )


def json_version(data: Bytes) -> Version:
    """The XGBoost version that saved a JSON model; BadModel if it does not say, or says it twice."""
    last = max(0, len(data) - 4096)
    versions = list(islice(_JSON_VERSION.finditer(data, last), 2)) or list(islice(_JSON_VERSION.finditer(data), 2))
    if len(versions) != 1:
        many = "more than one XGBoost version" if versions else "no XGBoost version"
        raise BadModel(f"the JSON model names {many}; save it with Booster.save_model")
    major, minor, patch = (int(part) for part in versions[0].groups())
    return major, minor, patch


def check_json_base_score(data: Bytes, version: Version) -> None:
    """BadModel for a base_score of a JSON model that XGBoost would read as 0.5, which its UBJ form hides."""
    for match in _JSON_BASE_SCORE.finditer(data):
        try:
            check_base_score(match[1].decode(errors="replace"), version)
        except UbjError as error:
            raise BadModel(f"the JSON model is damaged: {error}; publish it again") from None


def check_ubj(data: Bytes) -> ModelFacts:
    """Walk a UBJ model: its facts, or BadModel if a length, a tree or a parameter would lead XGBoost astray."""
    try:
        return _check(data, outline(data, read_tree))
    except UbjError as error:
        raise BadModel(f"the UBJ model is damaged: {error}; publish it again") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise BadModel(f"the UBJ model is not one that XGBoost saved ({type(error).__name__}: {error})") from None


def _check(data: Bytes, document: dict[str, Any]) -> ModelFacts:
    known("top", document, ("learner", "version"), ("learner", "version"))
    version = _version(data, document["version"])
    learner = known("learner", document["learner"], _LEARNER, _LEARNER_NEEDED)
    parameters = check_parameters("learner_model_param", learner["learner_model_param"])
    check_base_score(parameters["base_score"], version)
    features = int(parameters["num_feature"])
    if features < 1:
        raise UbjError("its number of features is 0")
    outputs = max(1, int(parameters["num_class"])) * max(1, int(parameters.get("num_target", "1")))
    if outputs > MAX_OUTPUTS:
        raise BadModel(f"the model makes {outputs} scores a row; this server takes at most {MAX_OUTPUTS}")
    if len(floats_of(parameters["base_score"])) not in (1, outputs):
        raise UbjError(f"its base_score does not fit {outputs} outputs")
    names = _names(learner, features)
    attributes = learner.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise UbjError("its attributes are not texts by name")
    objective = _check_objective(learner["objective"], parameters, outputs)
    kind, trees, rounds, paths = _check_booster(data, learner["gradient_booster"], features, outputs)
    return ModelFacts(
        booster=kind,
        objective=objective,
        features=features,
        feature_names=names,
        outputs=outputs,
        trees=trees,
        rounds=rounds,
        best_iteration=attribute_number(attributes.get("best_iteration")),
        version=version,
        depth=paths.depth,
        path_length=paths.length,
        nodes=paths.nodes,
        shap=paths.shap,
        names_bytes=json_bytes(names),
    )


def json_bytes(names: Iterable[str]) -> int:
    """What names take as the items of a JSON list."""
    return sum(len(json.dumps(name)) + len(", ") for name in names)


def _version(data: Bytes, value: object) -> Version:
    parts = numbers(data, value).tolist()
    if len(parts) != 3 or not all(0 <= part < 1000 for part in parts) or parts[0] < 1:
        raise UbjError("its version is not three numbers")
    return parts[0], parts[1], parts[2]


def _names(learner: dict[str, Any], features: int) -> tuple[str, ...]:
    names, types = learner.get("feature_names", []), learner.get("feature_types", [])
    for place, texts in (("feature_names", names), ("feature_types", types)):
        if not isinstance(texts, list) or not all(isinstance(name, str) for name in texts):
            raise UbjError(f"its {place} are not texts")
        if len(texts) not in (0, features):
            raise UbjError(f"it has {len(texts)} {place} for {features} features")
    if len(longest := max(names, key=len, default="")) > MAX_NAME_LENGTH:
        raise BadModel(f"a feature's name has {len(longest)} characters; this server takes at most {MAX_NAME_LENGTH}")
    if odd := set(types) - _FEATURE_TYPES:
        raise UbjError(f"its feature_types hold {shown(min(odd))}, which XGBoost does not know")
    return tuple(names)


def _check_objective(value: object, parameters: dict[str, str], outputs: int) -> str:
    objective = known("objective", value, _OBJECTIVE, ("name",))
    if not isinstance(objective["name"], str) or not 1 <= len(objective["name"]) <= 64:
        raise UbjError(f"its objective is {shown(objective['name'])}")
    for place, value in objective.items():
        if place in OBJECTIVE_PARAMETERS:
            of_objective = check_parameters(place, value)
            if place == "softmax_multiclass_param" and of_objective["num_class"] != parameters["num_class"]:
                raise UbjError("its objective has another number of classes than the model")
            for name in ("quantile_alpha", "expectile_alpha"):
                if name in of_objective and len(floats_of(of_objective[name])) != outputs:
                    raise UbjError(f"its {name} does not fit {outputs} outputs")
        elif place != "name":
            _floats(place, value)
    return objective["name"]


def _check_booster(data: Bytes, value: object, features: int, outputs: int) -> tuple[str, int, int, Paths]:
    booster = known("gradient_booster", value, ("gbtree", "model", "name", "weight_drop"), ("name",))
    kind = booster["name"]
    if kind == "gblinear":
        model = known("model", booster["model"], ("boosted_rounds", "param", "weights"), ("weights",))
        weights = _floats("weights", model["weights"])
        if weights != (features + 1) * outputs:
            raise UbjError(f"it has {weights} weights for {features} features")
        return kind, 0, whole("boosted_rounds", model.get("boosted_rounds", 0), 0, 2**31 - 1), Paths(0, 0, 0, 0)
    if kind not in ("gbtree", "dart"):
        raise UbjError(f"its booster is {shown(kind)}")
    inner = booster
    if kind == "dart" and "gbtree" in booster:
        inner = known("gbtree", booster["gbtree"], ("model", "name"), ("model",))
    model = known("model", inner["model"], _FOREST, _FOREST_NEEDED)
    trees, rounds, paths = _check_forest(data, model, features, outputs)
    # Up to 3.3 DART's weights are next to its trees; 3.4 calls it gbtree and stores them in the trees' own object.
    dropped = booster.get("weight_drop", model.get("weight_drop"))
    if dropped is not None:
        kind = "dart"
        if _floats("weight_drop", dropped) != trees:
            raise UbjError("its weight_drop does not match its trees")
    elif kind == "dart":
        raise UbjError("it lacks weight_drop")
    return kind, trees, rounds, paths


def _check_forest(data: Bytes, model: dict[str, Any], features: int, outputs: int) -> tuple[int, int, Paths]:
    trees, parameters = model["trees"], check_parameters("gbtree_model_param", model["gbtree_model_param"])
    groups = numbers(data, model["tree_info"])
    if not isinstance(trees, list) or int(parameters["num_trees"]) != len(trees) or len(groups) != len(trees):
        raise UbjError("its counts of trees differ")
    if not trees and (outputs > 1 or "iteration_indptr" not in model):  # XGBoost 3 cannot score a model without rounds
        raise BadModel(
            f"the model was trained for no rounds: it has no trees for its {outputs} outputs and would score "
            "every row alike; train it for at least one round"
        )
    if len(trees) and not (groups.min() >= 0 and groups.max() < outputs):
        raise UbjError(f"its trees do not make {outputs} outputs")
    if "cats" in model:
        check_categories(data, model["cats"], features)
    paths = check_trees(data, trees, features)
    if outputs > max(1, len(trees)):
        raise UbjError(f"its trees do not make {outputs} outputs")
    if paths.depth > MAX_DEPTH or paths.length > MAX_PATH_LENGTH:
        raise BadModel(
            f"one row would visit {paths.length} nodes of the model's trees, and the deepest one has {paths.depth} "
            f"levels; this server takes at most {MAX_PATH_LENGTH} nodes and {MAX_DEPTH} levels; "
            "train it with a smaller max_depth or fewer rounds"
        )
    per_round = outputs * max(1, int(parameters.get("num_parallel_tree", "1")))
    rounds = len(trees) // per_round
    if "iteration_indptr" in model:
        starts = numbers(data, model["iteration_indptr"])
        if not len(starts) or starts[0] != 0 or starts[-1] != len(trees) or np.any(np.diff(starts) < 0):
            raise UbjError("its rounds do not add up to its trees")
        rounds = len(starts) - 1
    return len(trees), rounds, paths


def _floats(place: str, value: object) -> int:
    """How many numbers an array of them holds; XGBoost writes it typed, or as a list."""
    if isinstance(value, TypedArray) and value.kind in (b"d", b"D"):
        return value.length
    if isinstance(value, list) and all(isinstance(item, float) for item in value):
        return len(value)
    raise UbjError(f"its {place} is {shown(value)}; it must be an array of numbers")


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
