"""A trained model in the form that its image reads, with exactly the scores of its file."""

from typing import Any, Literal, NamedTuple

import numpy as np

from ..model import native
from ..model.model_file import ModelFacts, check_ubj
from ..model.refusal import BadModel
from .conversion import converted
from .document import Document, read_document, to_json, to_ubj
from .foreign import describe_bytes, foreign_document, foreign_format, model_format
from .packaged_forest import packaged_forest
from .reading_rules import FIRST_WITH_UBJ, differences, refuse_unreadable, version_of
from .rounds import Rounds, RoundsKept, first_trees, kept_rounds, stock_image_stops, without_best_iteration
from .sample_rows import sample_rows
from .tree_scores import Floats, booster_of, learner_of, margins
from .versions import IMAGE_XGBOOST, Version, dotted

Forest = Literal["none", "beside", "alone"]
# Objectives whose base_score XGBoost estimates from the labels.
_ESTIMATED = ("reg:squarederror", "binary:logistic", "reg:logistic", "binary:logitraw", "reg:absoluteerror")
_FORMS = {"ubj": "UBJ", "json": "JSON", "binary": "old binary"}


class Served(NamedTuple):
    """A model as an image will read it. `ubj` and `facts` are those of the dense server's form of it.

    `notes` and `warnings` are what was done to it and what to know, each a sentence without a subject. `forest` is the
    same model as a flat forest, empty where none was asked for or none is exact.
    """

    data: bytes
    ubj: bytes
    facts: ModelFacts
    source: Version
    kept: RoundsKept
    notes: list[str]
    warnings: list[str]
    forest: bytes = b""


def served_model(
    model: bytes,
    *,
    reader: Version = IMAGE_XGBOOST,
    stock: bool = False,
    rounds: Rounds = "auto",
    verify: bool = True,
    forest: Forest = "none",
    contributions: bool = False,
) -> Served:
    """The bytes that an image with XGBoost `reader` is to be given; raises BadModel if none give it the file's scores.

    verify: compare at least 1,024 rows with the file's own scores. forest: make a flat forest too, which is compared
    always; the notes say why there is none. One that is to be `alone` names the file itself as its source, one `beside`
    the model the bytes of that.
    """
    form = _form(model)
    document = read_document(model)
    other = foreign_document(document)
    if other is not None:
        raise BadModel(f"the file {other}")
    try:
        served = _served(model, form, document, reader=reader, stock=stock, rounds=rounds)
        if not verify and forest == "none":
            return served
        rows, trees = sample_rows(document), served.kept.trees if served.kept.cut else None
        expected = margins(document, rows, served.source, trees)
        if verify:
            _compare(served, rows, expected, reader)
        if forest == "none":
            return served
        source = model if forest == "alone" else served.data
        made = packaged_forest(served.ubj, source, rows, expected, contributions=contributions)
        return served._replace(
            forest=made.data,
            notes=[*served.notes, *filter(None, [made.note])],
            warnings=[*served.warnings, *filter(None, [made.warning])],
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        why = f"{type(error).__name__}: {str(error)[:80]}"
        raise BadModel(f"the {_FORMS[form]} model is not one that XGBoost saved ({why}); save it again") from None


def converted_model(model: bytes, form: str, *, reader: Version, rounds: Rounds = "auto") -> Served:
    """A model in the form `ubj` or `json` for XGBoost `reader`, with the file's own scores; raises BadModel."""
    if form == "ubj" and reader < FIRST_WITH_UBJ:
        raise BadModel(f"XGBoost {dotted(reader)} reads no UBJ; write .json")
    served = served_model(model, reader=reader, stock=True, rounds=rounds)
    if model_format(served.data[:4096]) == form:
        return served
    document = read_document(served.data)
    written = converted(document, version_of(document), reader)
    return served._replace(data=to_ubj(written) if form == "ubj" else to_json(written))


def _form(model: bytes) -> str:
    foreign = foreign_format(model[:4096])
    if foreign is not None:
        raise BadModel(f"the model {foreign}" if "pickle" in foreign else f"the file {foreign}")
    form = model_format(model[:4096])
    if form is None:
        raise BadModel(f"the model file {describe_bytes(model)}")
    return form


def _served(model: bytes, form: str, document: Document, *, reader: Version, stock: bool, rounds: Rounds) -> Served:
    source = version_of(document)
    kind, inner, _ = booster_of(document)
    _refuse_unserved(kind, inner)
    refuse_unreadable(document, source, reader)
    # The trees are walked below, so they are checked first, in the form that the dense server checks too.
    check_ubj(to_ubj(converted(document, source, IMAGE_XGBOOST)))
    kept = kept_rounds(document, rounds)
    used = first_trees(document, kept) if kept.cut else document
    notes = [kept.note] if kept.note else []
    if stock and stock_image_stops(used, reader):
        used = without_best_iteration(used)
        notes.append(
            f"left out the attribute best_ntree_limit, at which the stock image of XGBoost {reader[0]}.{reader[1]} "
            "would stop"
        )
    if kind != "gblinear" and any(len(tree.get("categories_nodes", ())) for tree in inner["trees"]):
        notes.append(
            "it splits on categories: rows carry their codes, or names that the metadata's preprocessing.categories "
            "maps to codes (docs/container.md, Preprocessing)"
        )
    reasons = differences(used, form, source, reader)
    if not stock and form == "json":
        reasons.append("UBJ loads in a tenth of JSON's time")
    if not stock and form == "binary":
        reasons.append("the dense server reads no old binary format")
    if reasons:
        notes.append(f"converted from XGBoost {dotted(source)} for {dotted(reader)}: {'; '.join(reasons)}")
    if reasons or used is not document:
        written = converted(used, source, reader) if reasons or form != "ubj" else used
        data = to_ubj(written) if reader >= FIRST_WITH_UBJ else to_json(written)
    else:
        data = model
    ubj = data if not stock and data[:1] == b"{" else to_ubj(converted(used, source, IMAGE_XGBOOST))
    facts = check_ubj(ubj)
    if data is model and form == "ubj":
        check_ubj(model)
    return Served(data, ubj, facts, source, kept, notes, _warnings(document, source, inner, kind))


def _refuse_unserved(kind: str, model: dict[str, Any]) -> None:
    if kind == "gblinear":
        return
    trees = model["trees"]
    if not trees:
        raise BadModel(
            "it has no boosting rounds, so every row would get the same score; train it for at least one round "
            "(num_boost_round)"
        )
    if any(str(tree["tree_param"].get("size_leaf_vector", "1")) not in ("0", "1") for tree in trees):
        raise BadModel(
            "its leaves hold vectors (multi_strategy='multi_output_tree'), which are not served; train it with "
            "multi_strategy='one_output_per_tree'"
        )


def _compare(served: Served, rows: Floats, expected: Floats, reader: Version) -> None:
    """Raise BadModel unless the rows have these margins, those of the file, in every form that is served."""
    opinions = [("", margins(read_document(served.data), rows, reader))]
    if native.version()[:2] >= IMAGE_XGBOOST[:2]:
        # Whatever is installed reads the form of the dense server: a second opinion, by XGBoost itself.
        handle = native.Handle(served.ubj)
        shape = (len(rows), -1)
        by_xgboost = handle.margins(rows.ctypes.data, *rows.shape)
        opinions.append((f" by XGBoost {dotted(native.version())}", np.array(by_xgboost, np.float32).reshape(shape)))
    for who, scores in opinions:
        differ = ~((scores == expected) | (np.isnan(scores) & np.isnan(expected))).all(axis=1)
        if differ.any():
            row = int(np.flatnonzero(differ)[0])
            raise BadModel(
                f"{int(differ.sum())} of {len(rows)} compared rows would be scored otherwise{who} (row {row}: "
                f"{expected[row][:3].tolist()} in the file, {scores[row][:3].tolist()} packaged); it is not packaged. "
                "Please report it with the file"
            )


def _warnings(document: Document, source: Version, model: dict[str, Any], kind: str) -> list[str]:
    learner = learner_of(document)
    objective, parameters = str(learner["objective"]["name"]), learner["learner_model_param"]
    problems = []
    if objective == "binary:logitraw" and source < (1, 3, 0):
        problems.append(
            f"XGBoost 1.3 changed the meaning of base_score for binary:logitraw: this model gives the scores of "
            f"{dotted(source)}, and the file itself gives others in 1.3 and newer (base_score is "
            f"{parameters['base_score']})"
        )
    if kind != "gblinear" and _looks_saved_again(objective, parameters, source, model["trees"][0]):
        problems.append(
            "base_score is exactly 0.5, and the first tree looks trained from another: unless the training labels "
            "average 0.5, XGBoost 3.1 or newer saved it, an older one loaded and saved it again, and every score is "
            "wrong; publish the file that training wrote"
        )
    return problems


def _looks_saved_again(objective: str, parameters: dict[str, Any], source: Version, tree: dict[str, Any]) -> bool:
    # From 2.0 on the base is the labels' mean unless it is set; the first tree's root then has next to nothing to add.
    estimated = objective in _ESTIMATED and parameters.get("boost_from_average") == "1"
    if not (2, 0, 0) <= source < (3, 1, 0) or not estimated:
        return False
    weights = np.abs(np.asarray(tree["base_weights"], np.float32))
    return str(parameters["base_score"]) == "5E-1" and len(weights) > 1 and bool(weights[0] < 1e-4 * weights.max())
