"""Recognises files that are not models of `Booster.save_model`, and says what to do instead."""

import json
import re
from typing import Any

from tierfleet_forest.layout import MAGIC
from tierfleet_forest.model_document import is_json

from ..model.model_file import is_pickle
from ..model.ubj import Bytes
from . import legacy_binary

_SAVE = "save it with Booster.save_model('model.ubj')"
_LIGHTGBM = "is a LightGBM model; make a flat forest of it with tierfleet_forest.convert (docs/forest-models.md)"
_FOREST = "is a flat forest already; pack it alone, as model.forest, into <tenant>/<version>.tar.gz and publish that"
_STARTS = (
    (MAGIC, _FOREST),
    (b"bs64", f"is XGBoost's base64 format, older than 1.0; load it in the version that saved it and {_SAVE}"),
    (b"CONFIG-offset:", f"is the inside of a pickled Booster; unpickle it where it was trained and {_SAVE}"),
    (b"\x1f\x8b", "is compressed with gzip; name it .tar.gz if it is an artefact, else unpack it"),
    (b"PK\x03\x04", f"is a zip file, such as NumPy, skops or PyTorch write; {_SAVE}"),
    (b"x\x9c", f"is compressed with zlib, as joblib does with pickles; load it where it was trained and {_SAVE}"),
    (b"\x89HDF", "is an HDF5 file, such as Keras writes; only XGBoost models are served"),
    (b"CBM1", "is a CatBoost model; only XGBoost models are served"),
    (b"tree\nversion=", _LIGHTGBM),
    (b"PAR1", "is a Parquet file, not a model"),
)
_ONNX = re.compile(rb"\x08[\x01-\x20]\x12.{0,40}?(onnx|ONNX|Onnx|skl2|pytorch|tf2)", re.DOTALL)
_DUMP = re.compile(rb"booster\[\d+\]:")
_JSON_DUMP = re.compile(rb'[\[\s]*\{\s*"(nodeid|leaf)"')


def foreign_format(head: bytes) -> str | None:
    """The kind of a file by its first 4 KiB and what to do, as the rest of a sentence; None if it may be a model."""
    if not head.strip():
        return "is empty; " + _SAVE
    if is_pickle(head):
        return f"is a pickle, which runs code when it is loaded; {_SAVE}"
    for start, sentence in _STARTS:
        if head.startswith(start):
            return sentence
    if _ONNX.match(head):
        return "is an ONNX model; only XGBoost models are served"
    text = head.lstrip()
    if text.startswith(b"<"):
        return "is XML, such as PMML; only XGBoost models are served"
    if _DUMP.match(text):
        return f"is a text dump (dump_model), which rounds its numbers and cannot be loaded again; {_SAVE}"
    if _JSON_DUMP.match(text):
        return f"is a JSON dump (dump_model), which cannot be loaded again; {_SAVE}"
    return None


def model_format(head: bytes) -> str | None:
    """`ubj`, `json` or `binary` by the first bytes of a file; None if it is none of XGBoost's formats."""
    if head[:4] == b"binf" or legacy_binary.is_headerless(head):
        return "binary"
    if head[:1] == b"{":
        return "json" if is_json(head) else "ubj"
    return None


def foreign_document(document: dict[str, Any]) -> str | None:
    """The kind of a JSON or UBJ document that is not a model, as the rest of a sentence; None if it may be a model."""
    learner = document.get("learner")
    if isinstance(learner, dict):
        booster = learner.get("gradient_booster")
        if isinstance(booster, dict) and "learner_model_param" in learner:
            known = booster.get("name") in ("gbtree", "dart", "gblinear")
            inner = booster.get("gbtree", booster)
            if known and isinstance(inner, dict) and isinstance(inner.get("model"), dict):
                return None
            if "generic_param" not in learner and "learner_train_param" not in learner:
                return f"is not a whole model: it lacks the trees; {_SAVE}"
        if "generic_param" in learner or "learner_train_param" in learner:
            return f"is a configuration (save_config), which holds no trees; {_SAVE}"
        return f"is not a whole model; {_SAVE}"
    if "Model" in document and "Config" in document:
        return f"is the inside of a pickled Booster; unpickle it where it was trained and {_SAVE}"
    if "oblivious_trees" in document:
        return "is a CatBoost model; only XGBoost models are served"
    if "tree_info" in document and "num_tree_per_iteration" in document:
        return _LIGHTGBM
    names = json.dumps(sorted(map(str, document))[:4])
    return f"is JSON or UBJ but no XGBoost model (it holds {names[:120]}); {_SAVE}"


def describe_bytes(data: Bytes) -> str:
    """What a file is that XGBoost did not save, or its first bytes, for a message."""
    return f"begins with {data[:8]!r}, which is no format of XGBoost's; {_SAVE}"
