"""From a model file to a flat forest."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .model_document import Document, read_document
from .writer import write_forest
from .xgboost_model import tree_model


def convert(model_file: bytes | str | os.PathLike[str], *, metadata: Mapping[str, Any] | None = None) -> bytes:
    """The flat forest of an XGBoost model in UBJ or JSON, given as its bytes or its path.

    All rounds are kept, as `Booster.predict` scores them. `metadata` is added to what the file says of itself. Raises
    ConvertError for a model that is not covered, and OSError if the file cannot be read.
    """
    data = model_file if isinstance(model_file, bytes) else Path(model_file).read_bytes()
    return convert_document(read_document(data), data, metadata=metadata)


def convert_document(document: Document, data: bytes, *, metadata: Mapping[str, Any] | None = None) -> bytes:
    """The same for a model that was read already, or changed since; `data` is the file that it came from."""
    model = tree_model(document)
    source = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "format": "binary" if data[:1] != b"{" else "json" if data[1:65].lstrip()[:1] in (b'"', b"}") else "ubj",
        "library": "xgboost",
        "version": ".".join(str(int(part)) for part in document["version"]),
    }
    return write_forest(replace(model, metadata={**model.metadata, "source": source, **(metadata or {})}))


def write_file(path: str | os.PathLike[str], forest: bytes) -> None:
    """Write a file whole or not at all: a reader finds the old one until the new one is complete. Raises OSError."""
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
