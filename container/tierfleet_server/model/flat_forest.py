"""A model that is a flat forest (docs/flat-forest.md): read and checked here, since no byte of it can do harm."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import tierfleet_forest
from tierfleet_forest import ForestError
from tierfleet_forest.layout import MAGIC

from . import artefact
from .booster import Rows, names_json, names_json_bytes
from .explaining import explaining_forest
from .load_limits import Admitted
from .model_file import MAX_PATH_LENGTH
from .parameters import MAX_FEATURES, MAX_OUTPUTS
from .preprocessing import Preprocessing
from .refusal import BadModel, Refusal

# Longer metadata in a forest is not parsed, because admission does not count what parsing takes. 256 KiB has room for
# the names of some 20,000 features; `.tierfleet/metadata.json`, which is counted, may hold more.
_METADATA_LIMIT_BYTES = 256 * 1024
# Longer metadata is not even copied, which would hold up every thread. Packaging writes no longer ones.
_SOURCE_LIMIT_BYTES = artefact.METADATA_LIMIT_BYTES
_SOURCE_SHA256 = re.compile(rb'"source"\s*:\s*\{[^{}]*"sha256"\s*:\s*"([0-9a-f]{64})"')
FORM = "forest"  # of an `Admitted`
# A large forest takes milliseconds of work. Linux lets a thread that works on go on until the timer's next tick, which
# comes every 4 ms on many systems, so the load itself lets the event loop in.
_WORK_US = 100


class ForestModel:
    """A forest behind the seam `booster.Model`. `form` is `forest-a` or `forest-b`.

    A step of a forest takes less than half of a visit of XGBoost's, in which `work_per_row` is counted.
    """

    __slots__ = (
        "_forest", "_names", "_predict", "explaining", "features", "form", "heap_bytes", "object_bytes", "outputs",
        "predict_csv", "preprocessing", "work_per_row",
    )  # fmt: skip

    def __init__(self, forest: tierfleet_forest.Forest, preprocessing: Preprocessing) -> None:
        self.features = forest.features
        self.outputs = forest.scores
        self.form = f"forest-{forest.form.lower()}"
        self.heap_bytes = forest.size_bytes
        self.object_bytes = preprocessing.object_bytes
        self.preprocessing = preprocessing
        self.work_per_row = forest.row_work // 2 + 1
        self._forest = forest
        self._predict = forest.predict
        self.predict_csv = forest.predict_csv
        self._names = b""
        names = () if forest.no_contributions else self._feature_names()
        self.explaining = explaining_forest(forest, names_json_bytes(names, forest.features))

    def predict(self, rows: Rows) -> list[float]:
        """Scores, row after row; other threads run meanwhile where that takes long."""
        return self._predict(rows.owner)

    predict_now = predict

    def contributions(self, rows: Rows) -> bytes:
        """The same as XGBoost's `pred_contribs`, with all outputs also where there is one."""
        return self._forest.contributions(rows.owner)

    def names_json(self) -> bytes:
        """Those of the artefact's metadata, else of the forest's own, else XGBoost's own: f0, f1 and so on."""
        if not self._names:
            self._names = names_json(self._feature_names(), self.features)
        return self._names

    def _feature_names(self) -> Sequence[str]:
        if self.preprocessing.feature_names:
            return self.preprocessing.feature_names
        if self._forest.metadata_bytes > _METADATA_LIMIT_BYTES:
            return ()
        try:
            names = json.loads(self._forest.metadata)["feature_names"]
        except (ValueError, RecursionError, KeyError, TypeError, IndexError):
            return ()
        usable = isinstance(names, list) and len(names) == self.features and all(isinstance(n, str) for n in names)
        return names if usable else ()


def is_forest(head: bytes) -> bool:
    """Whether a file with these first bytes is meant to be a forest."""
    return head.startswith(MAGIC)


def find_forest(directory: Path) -> Path | None:
    """The forest that an artefact has next to a model file, if there is one and this server can read it."""
    if not tierfleet_forest.available:
        return None
    path = directory / artefact.FOREST
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadModel(f"cannot look for {artefact.FOREST}: {error.strerror}; publish the model again") from None
    return path


def load_forest(path: Path, admitted: Admitted) -> ForestModel:
    """The forest in that file, with the preprocessing of the artefact; raises Refusal, BadModel or MemoryError.

    A file that has another length than what was `admitted` is refused.
    """
    if not tierfleet_forest.available:
        raise BadModel(
            f"this server reads no flat forests: {tierfleet_forest.unavailable_reason}; or publish the model as UBJ"
        )
    root = artefact.root_of(path)
    metadata = artefact.read_metadata(root)
    file, size = artefact.open_model_file(path)
    with file:
        if size != admitted.size_bytes:
            raise BadModel(
                f"the model file went from {admitted.size_bytes} to {size} bytes while it was loaded; load it again"
            )
        try:
            forest = tierfleet_forest.load(file.fileno(), work_us=0 if admitted.is_small else _WORK_US)
        except ForestError as error:
            raise BadModel(str(error)) from None
        except OSError as error:
            raise Refusal(404, f"cannot read the file: {error.strerror}") from None
    refuse_costly(forest)
    beside = root != path.parent
    if metadata is None:
        if beside:
            raise BadModel(
                f"{artefact.FOREST} may be of another model than the file next to it: there is no {artefact.METADATA}; "
                "publish the model again"
            )
        return ForestModel(forest, Preprocessing())
    preprocessing = metadata.check_forest(
        forest.features,
        size_bytes=None if beside else forest.size_bytes,
        source_sha256=_source_sha256(forest) if beside else None,
    )
    return ForestModel(forest, preprocessing)


def refuse_costly(forest: tierfleet_forest.Forest) -> None:
    """Raise BadModel for a forest whose rows or scores cost more than the server's other models may."""
    for name, value, most in (
        ("features", forest.features, MAX_FEATURES),
        ("outputs", forest.outputs, MAX_OUTPUTS),
        ("steps for one row", forest.row_work, MAX_PATH_LENGTH),
    ):
        if value > most:
            raise BadModel(f"the forest has {value} {name}; at most {most} are served; train a smaller model")


def _source_sha256(forest: tierfleet_forest.Forest) -> str | None:
    """The checksum of the file that a forest was made from; JSON is not parsed for it. Raises BadModel."""
    if forest.metadata_bytes > _SOURCE_LIMIT_BYTES:
        raise BadModel(
            f"the forest has {forest.metadata_bytes} bytes of metadata; next to a model file at most "
            f"{_SOURCE_LIMIT_BYTES} are read; publish the model again"
        )
    metadata = forest.metadata
    at = metadata.rfind(b'"source"')  # features may have the name, but they come before; much faster than a search
    source = _SOURCE_SHA256.match(metadata, at) if at >= 0 else None
    return source[1].decode() if source else None
