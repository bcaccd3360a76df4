"""One artefact in another form: a flat forest in place of what XGBoost reads, or back, with the same scores."""

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierfleet.models.package import Package
from tierfleet.runtime.names import SOURCES_PREFIX

if TYPE_CHECKING:
    from tierfleet_server.publishing.served_model import Forest, Served

    from tierfleet.models.target import Target


_ADDED = r"-(booster|(both|forest)(-contribs)?)$"


class StaysError(Exception):
    """The version is to stay as it is; the message says why."""


class UnchangedError(Exception):
    """The version has the form that was asked for."""


@dataclass(frozen=True)
class Form:
    """What to convert to: as `models package` takes it; contributions: with what explains scores."""

    forest: "Forest" = "alone"
    contributions: bool = False

    def version(self, before: str) -> str:
        """The converted version's name: `2027-09-14` -> `2027-09-14-forest`, and back `2027-09-14-booster`."""
        added = {"none": "-booster", "beside": "-both", "alone": "-forest"}[self.forest]
        return re.sub(_ADDED, "", before) + added + ("-contribs" if self.contributions else "")


def convert_artefact(archive: bytes, source_of: Callable[[str], bytes | None], target: "Target", form: Form) -> Package:
    """An artefact in another form, with the same scores and preprocessing; `source_of` reads a source by its checksum.

    Raises ValueError with one sentence for an artefact that cannot be converted.
    """
    import tierfleet_forest
    from tierfleet_server.model.archive import unpack
    from tierfleet_server.model.artefact import FOREST, METADATA, Metadata, model_path
    from tierfleet_server.model.flat_forest import is_forest
    from tierfleet_server.model.refusal import BadModel, Refusal
    from tierfleet_server.publishing.packaging import forest_alone, metadata_of, pack_served

    with tempfile.TemporaryDirectory(prefix="tierfleet-convert-") as folder:
        packed, directory = Path(folder) / "packed", Path(folder) / "unpacked"
        packed.write_bytes(archive)
        try:
            unpack(packed, directory)
            content = model_path(directory).read_bytes()
            recorded = directory / METADATA
            metadata = Metadata.from_json(recorded.read_bytes()) if recorded.exists() else None
            carried = (directory / FOREST).read_bytes() if (directory / FOREST).exists() else b""
            old = content if is_forest(content) else carried
            forest = tierfleet_forest.loads(old) if old else None
            _refuse_same(form, content, carried, forest)
            served = _served(content, forest, source_of, target, form)
            if form.forest == "alone":
                served = forest_alone(served, stock=target.stock)
            if form.forest != "none" and not (served.forest or is_forest(served.data)):
                raise StaysError("; ".join((*served.warnings, *served.notes)) or "it has no flat forest")
            steps = {} if metadata is None else metadata.preprocessing
            packaged = metadata_of(
                served,
                stock=target.stock,
                missing=metadata.missing if metadata else None,
                libsvm_base=metadata.libsvm_base if metadata else 0,
                feature_names=metadata.feature_names if metadata else None,
                preprocessing=steps,
            )
        except (BadModel, Refusal, tierfleet_forest.ForestError) as error:
            raise ValueError(str(error)) from error
        source = content if is_forest(served.data) and not is_forest(content) else b""
        return Package(pack_served(served, packaged), tuple(served.notes), tuple(served.warnings), source)


def _refuse_same(form: Form, content: bytes, carried: bytes, forest: Any) -> None:
    from tierfleet_server.model.flat_forest import is_forest

    has: Forest = "alone" if is_forest(content) else "beside" if carried else "none"
    explains = forest is not None and not forest.no_contributions
    if has == form.forest and (form.forest == "none" or explains >= form.contributions):
        raise UnchangedError("it has this form")


def _served(
    content: bytes, forest: Any, source_of: Callable[[str], bytes | None], target: "Target", form: Form
) -> "Served":
    """The model in its new form, from the artefact's own file, or from the source of the forest that it holds alone."""
    from tierfleet_server.model.flat_forest import is_forest
    from tierfleet_server.publishing.served_model import served_model

    def served(data: bytes, rounds: Any) -> "Served":
        return served_model(
            data,
            reader=target.reader,
            stock=target.stock,
            rounds=rounds,
            forest=form.forest,
            contributions=form.contributions,
        )

    if not is_forest(content):
        return served(content, "all")  # packaging cut it already
    sha256 = _source_sha256(forest.metadata)
    source = source_of(sha256)
    if source is None:
        raise ValueError(
            f"its flat forest was made from a file with the checksum {sha256}, which is not in the bucket under "
            f"{SOURCES_PREFIX}; publish the file that training wrote"
        )
    # The artefact says what it scores, the file does not say which of its rounds were kept.
    for rounds in ("auto", "all", "best"):
        made = served(source, rounds)
        if _same_scores(forest, made, source):
            return made
    raise ValueError("its source gives other scores than the version; publish the file that training wrote")


def _source_sha256(metadata: bytes) -> str:
    """The checksum of the file that a forest was made from, by its metadata; ValueError if XGBoost reads no such."""
    try:
        source = json.loads(metadata)["source"]
        library, sha256 = source.get("library", "xgboost"), source.get("sha256")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        library, sha256 = "xgboost", None
    if library in ("lightgbm", "scikit-learn"):
        raise ValueError(f"its flat forest was made from a model of {library}, which has no other form")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(
            "its flat forest does not say which file it was made from; publish the file that training wrote"
        )
    return sha256


def _same_scores(forest: Any, made: "Served", source: bytes) -> bool:
    import numpy as np
    import tierfleet_forest
    from tierfleet_forest.convert import convert_document
    from tierfleet_server.publishing.document import read_document
    from tierfleet_server.publishing.sample_rows import sample_rows
    from tierfleet_server.publishing.versions import IMAGE_XGBOOST

    if made.facts.features != forest.features:
        return False
    rows = sample_rows(read_document(source))
    other = made.forest or convert_document(read_document(made.ubj), source, reader=IMAGE_XGBOOST)
    one, two = forest.margins(rows), tierfleet_forest.loads(other).margins(rows)
    return np.array_equal(np.array(one), np.array(two), equal_nan=True)
