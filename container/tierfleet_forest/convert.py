"""Converts a model file or a fitted estimator to a flat forest."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import lightgbm_model, sklearn_model, xgboost_model
from .model_document import Document, is_json, read_document
from .writer import write_forest


def convert(
    model: bytes | bytearray | memoryview | str | os.PathLike[str] | Any,
    *,
    contributions: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """The bytes of the flat forest of a model.

    model: the bytes or the path of a file, which is XGBoost's UBJ or JSON or LightGBM's text, or a fitted scikit-learn
    estimator. All rounds in a file are kept, because `Booster.predict` scores them all.
    contributions: also store the covers that `Forest.contributions` needs. A large file then doubles. Only XGBoost's
    models have covers.
    metadata: added to the model's own.

    Raises ConvertError for a model that is not supported, OSError if the file cannot be read, and TypeError for
    anything else, such as a Booster.
    """
    if sklearn_model.is_sklearn(model):
        trees = sklearn_model.tree_model(model)
        trees = replace(trees, metadata={**trees.metadata, **(metadata or {})})
        return write_forest(trees, contributions=contributions)
    data = _bytes_of(model)
    if not lightgbm_model.is_lightgbm(data):
        return convert_document(read_document(data), data, contributions=contributions, metadata=metadata)
    trees = lightgbm_model.tree_model(data)
    version = data[data.index(b"=") + 1 : 64].split(maxsplit=1)[0].decode()
    source = _source(data, "text", "lightgbm", version)
    trees = replace(trees, metadata={**trees.metadata, "source": source, **(metadata or {})})
    return write_forest(trees, contributions=contributions)


def _bytes_of(model: object) -> bytes:
    if isinstance(model, bytes | bytearray | memoryview):
        return bytes(model)
    if isinstance(model, str | os.PathLike):
        return Path(model).read_bytes()
    raise TypeError(
        "convert takes the path or the bytes of a model file, or a fitted scikit-learn estimator; got "
        f"{type(model).__name__}; give it Booster.save_raw('ubj') of XGBoost or Booster.model_to_string().encode() of "
        "LightGBM"
    )


def convert_document(
    document: Document,
    data: bytes,
    *,
    reader: xgboost_model.Version | None = None,
    contributions: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """The same for an XGBoost document that was read before, and perhaps changed. `data` is the original file.

    reader: the version of XGBoost whose reading of the document counts, by default the one that saved it.
    """
    model = xgboost_model.tree_model(document, reader)
    form = "binary" if data[:1] != b"{" else "json" if is_json(data) else "ubj"
    source = _source(data, form, "xgboost", ".".join(str(int(part)) for part in document["version"]))
    model = replace(model, metadata={**model.metadata, "source": source, **(metadata or {})})
    return write_forest(model, contributions=contributions)


def _source(data: bytes, form: str, library: str, version: str) -> dict[str, str | int]:
    sha256 = hashlib.sha256(data).hexdigest()
    return {"sha256": sha256, "size_bytes": len(data), "format": form, "library": library, "version": version}


def write_file(path: str | os.PathLike[str], forest: bytes) -> None:
    """Write a file atomically: a reader sees the old file until the new one is complete. Raises OSError."""
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(forest)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
