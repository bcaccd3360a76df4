"""From a trained model to the artefact that is published: checked, cut to its best iteration, described."""

import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

from .archive import GZIP_LEVEL, pack
from .artefact import METADATA, MODEL_FILE, Metadata
from .booster import open_model
from .model_file import check_ubj
from .preprocessing import Preprocessing
from .refusal import BadModel


def package_model(
    model: bytes,
    *,
    feature_names: list[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    gzip_level: int = GZIP_LEVEL,
) -> tuple[bytes, Metadata]:
    """The tar.gz of a model saved as UBJ or JSON, and its metadata; raises BadModel if it must not be served.

    An early-stopped model is cut after its best iteration: no server then has to remember to stop there.
    """
    handle, facts = open_model(model)
    if facts.best_iteration is not None and facts.booster != "gblinear" and facts.best_iteration + 1 < facts.rounds:
        handle = handle.first_rounds(facts.best_iteration + 1)
        handle.set_attribute("best_iteration", str(facts.best_iteration))
    ubj = handle.to_ubj()
    served = check_ubj(ubj)
    names = list(facts.feature_names) if feature_names is None else feature_names
    if names and (len(names) != facts.features or len(set(names)) != len(names)):
        raise BadModel(
            f"{len(set(names))} different feature names for a model of {facts.features} features; name each one once"
        )
    steps = dict(preprocessing or {})
    Preprocessing.from_metadata(steps, facts.features, tuple(names))
    metadata = Metadata(
        features=facts.features,
        feature_names=names,
        objective=facts.objective,
        booster=facts.booster,
        rounds=served.rounds,
        best_iteration=facts.best_iteration,
        xgboost_version=".".join(map(str, facts.version)),
        size_bytes=len(ubj),
        crc32=zlib.crc32(ubj),
        sha256=hashlib.sha256(ubj).hexdigest(),
        preprocessing=steps,
    )
    files = {MODEL_FILE: ubj, str(METADATA): metadata.to_json().encode()}
    return pack(files, gzip_level=gzip_level), metadata
