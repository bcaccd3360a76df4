"""What a model file is and whether it may be served: the format, the version, and trees that end."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from .forest import Paths, check_trees, numbers, read_tree
from .refusal import BadModel
from .ubj import Bytes, TypedArray, UbjError, outline

_JSON_VERSION = re.compile(rb'(?<!\\)"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]')
Version = tuple[int, int, int]


@dataclass(frozen=True)
class ModelFacts:
    """What a model file says of itself: `outputs` is values per row before the objective's transform.

    `depth` is that of the deepest tree, `path_length` the nodes that one row visits at worst: the sum of the trees'
    depths, each at least 1. Both are 0 for gblinear.
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


def file_format(data: bytes) -> str:
    """`ubj` or `json`; BadModel for everything else, above all for what would execute code when loaded."""
    if data[:1] == b"{":
        return "json" if data[1:65].lstrip()[:1] == b'"' else "ubj"
    if data[:1] == b"\x80" or data[:2] in (b"(d", b"(l", b"cc", b"c_", b"cx", b"cn"):
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


def refuse_newer(version: Version, server: Version) -> None:
    """BadModel if XGBoost `server` would read a model saved by `version` wrongly, and without an error.

    From 3.1 base_score is written as an array, which 3.0 and older read as 0.5.
    """
    if version >= (3, 1, 0) and version[:2] > server[:2]:
        raise BadModel(
            f"the model was saved by XGBoost {_dotted(version)} and this server has {_dotted(server)}, which "
            "would score it wrongly without an error; "
            f"save it with XGBoost {server[0]}.{server[1]} or older, "
            f"or use a server with {version[0]}.{version[1]}"
        )


def json_version(data: bytes) -> Version:
    """The XGBoost version that saved a JSON model; BadModel if it does not say."""
    found = _JSON_VERSION.findall(data, max(0, len(data) - 4096)) or _JSON_VERSION.findall(data)
    if len(found) != 1:
        raise BadModel(f"the JSON model names {len(found)} XGBoost versions; save it with Booster.save_model")
    return int(found[0][0]), int(found[0][1]), int(found[0][2])


def check_ubj(data: Bytes) -> ModelFacts:
    """Walk a UBJ model: its facts, or BadModel if a length, a tree or a count would lead XGBoost astray."""
    try:
        document = outline(data, read_tree)
        return _check(data, document)
    except UbjError as error:
        raise BadModel(f"the UBJ model is damaged: {error}; publish it again") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadModel(f"the UBJ model is not one that XGBoost saved ({type(error).__name__}: {error})") from None


def _check(data: Bytes, document: dict[str, Any]) -> ModelFacts:
    version = document["version"]
    if len(version) != 3 or not all(isinstance(part, int) for part in version):
        raise UbjError("its version is not three numbers")
    learner = document["learner"]
    parameters = learner["learner_model_param"]
    features = int(parameters["num_feature"])
    outputs = max(1, int(parameters["num_class"])) * max(1, int(parameters.get("num_target", "1")))
    booster = learner["gradient_booster"]
    kind = booster["name"]
    best = learner.get("attributes", {}).get("best_iteration")
    if not 1 <= features <= 2**24:
        raise UbjError(f"its number of features is {features}")
    if kind == "gblinear":
        trees, paths, rounds = 0, Paths(0, 0), _check_linear(booster["model"], features, outputs)
    elif kind in ("gbtree", "dart"):
        model = (booster["gbtree"] if kind == "dart" else booster)["model"]
        trees, rounds, paths = _check_forest(data, model, features, outputs)
        if kind == "dart" and _count(booster["weight_drop"]) != trees:
            raise UbjError("its weight_drop does not match its trees")
    else:
        raise UbjError(f"its booster is {kind!r}")
    return ModelFacts(
        booster=kind,
        objective=str(learner["objective"]["name"]),
        features=features,
        feature_names=tuple(str(name) for name in learner.get("feature_names", [])),
        outputs=outputs,
        trees=trees,
        rounds=rounds,
        best_iteration=int(best) if best is not None and str(best).isdigit() else None,
        version=(version[0], version[1], version[2]),
        depth=paths.depth,
        path_length=paths.length,
    )


def _check_linear(model: dict[str, Any], features: int, outputs: int) -> int:
    if _count(model["weights"]) != (features + 1) * outputs:
        raise UbjError(f"it has {_count(model['weights'])} weights for {features} features")
    return int(model.get("boosted_rounds", 0))


def _check_forest(data: Bytes, model: dict[str, Any], features: int, outputs: int) -> tuple[int, int, Paths]:
    trees = model["trees"]
    groups = numbers(data, model["tree_info"])
    if int(model["gbtree_model_param"]["num_trees"]) != len(trees) or len(groups) != len(trees):
        raise UbjError("its counts of trees differ")
    if outputs > max(1, len(trees)) or (len(groups) and not (groups.min() >= 0 and groups.max() < outputs)):
        raise UbjError(f"its trees do not make {outputs} outputs")
    per_round = outputs * max(1, int(model["gbtree_model_param"].get("num_parallel_tree", "1")))
    rounds = len(trees) // per_round
    if "iteration_indptr" in model:
        starts = numbers(data, model["iteration_indptr"])
        if starts[0] != 0 or starts[-1] != len(trees) or np.any(np.diff(starts) < 0):
            raise UbjError("its rounds do not add up to its trees")
        rounds = len(starts) - 1
    return len(trees), rounds, check_trees(data, trees, features)


def _count(array: TypedArray | list[Any]) -> int:
    return array.length if isinstance(array, TypedArray) else len(array)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
