"""The artefact that is published: a served model with its metadata, as one tar.gz."""

import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

from ..model.archive import GZIP_LEVEL, pack
from ..model.artefact import FOREST, METADATA, MODEL_FILE, Metadata
from ..model.flat_forest import is_forest
from ..model.preprocessing import Preprocessing
from ..model.refusal import BadModel
from .rounds import Rounds
from .served_model import Forest, Served, served_model
from .versions import IMAGE_XGBOOST, Version, dotted

# A forest hardly compresses (to 84 %), and unpacking it then takes longer than fetching what that saves: docs/adr/0055.
FOREST_GZIP_LEVEL = 0


def package_model(
    model: bytes,
    *,
    reader: Version = IMAGE_XGBOOST,
    stock: bool = False,
    rounds: Rounds = "auto",
    missing: float | None = None,
    libsvm_base: int = 0,
    feature_names: list[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    gzip_level: int | None = None,
    forest: Forest = "none",
    contributions: bool = False,
) -> tuple[bytes, Metadata]:
    """The tar.gz of a saved model, and its metadata; raises BadModel if it must not be served.

    reader: the XGBoost of the image. stock: whether it is AWS's, which knows neither metadata nor preprocessing.
    missing: the number that meant a missing value in training. libsvm_base: 1 if callers count columns from 1.
    forest: put a flat forest `beside` the model or `alone` in its place, if it gives the same scores. contributions:
    the forest can explain its scores, which doubles it. gzip_level: by default the one of the shortest cold call.
    """
    served = served_model(model, reader=reader, stock=stock, rounds=rounds, forest=forest, contributions=contributions)
    if forest == "alone":
        served = forest_alone(served, stock=stock)
    metadata = metadata_of(
        served,
        stock=stock,
        missing=missing,
        libsvm_base=libsvm_base,
        feature_names=feature_names,
        preprocessing=preprocessing,
    )
    return pack_served(served, metadata, gzip_level=gzip_level), metadata


def pack_served(served: Served, metadata: Metadata, *, gzip_level: int | None = None) -> bytes:
    """The tar.gz of a model and its metadata, with its flat forest if it has one."""
    alone = is_forest(served.data)
    name = FOREST.name if alone else MODEL_FILE
    if gzip_level is None:
        gzip_level = FOREST_GZIP_LEVEL if alone else GZIP_LEVEL
    files = {name: served.data, str(METADATA): metadata.to_json().encode()}
    if served.forest:
        files[str(FOREST)] = served.forest
    return pack(files, gzip_level=gzip_level)


def forest_alone(served: Served, *, stock: bool) -> Served:
    """The same with the flat forest in place of the model that XGBoost reads, if it has one; BadModel for `stock`."""
    if stock:
        raise BadModel("AWS's image reads no flat forests; pack both (--forest beside), or none (--forest none)")
    return served._replace(data=served.forest, forest=b"") if served.forest else served


def metadata_of(
    served: Served,
    *,
    stock: bool = False,
    missing: float | None = None,
    libsvm_base: int = 0,
    feature_names: list[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> Metadata:
    """What is recorded with a model; raises BadModel for what the image would not apply."""
    facts, steps = served.facts, dict(preprocessing or {})
    given = {"missing": missing is not None, "libsvm_base": libsvm_base != 0, "preprocessing": bool(steps)}
    asked = [name for name, is_given in given.items() if is_given]
    if stock and asked:
        raise BadModel(
            f"{' and '.join(asked)} cannot be applied by the stock image, which knows no metadata; prepare the rows in "
            'the caller, or serve it with image = "tierfleet"'
        )
    names = list(facts.feature_names) if feature_names is None else feature_names
    if names and (len(names) != facts.features or len(set(names)) != len(names)):
        raise BadModel(
            f"{len(set(names))} different feature names for a model of {facts.features} features; name each one once"
        )
    metadata = Metadata(
        features=facts.features,
        feature_names=names,
        objective=facts.objective,
        booster=facts.booster,
        rounds=served.kept.rounds if facts.booster != "gblinear" else facts.rounds,
        best_iteration=facts.best_iteration,
        xgboost_version=dotted(served.source),
        size_bytes=len(served.data),
        crc32=zlib.crc32(served.data),
        sha256=hashlib.sha256(served.data).hexdigest(),
        preprocessing=steps,
        missing=missing,
        libsvm_base=libsvm_base,
    )
    Preprocessing.from_metadata(metadata.steps, facts.features, tuple(names))
    return metadata
