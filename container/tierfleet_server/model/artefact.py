"""The layout of an extracted artefact: one model file at the root, our own files in `.tierfleet/`.

SageMaker's stock XGBoost image loads every file at the root without a leading dot as a Booster and averages them. It
ignores directories with a leading dot, so one artefact works on both images.
"""

import json
import os
import stat
import zlib
from dataclasses import asdict, dataclass, replace
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

from .model_file import ModelFacts
from .preprocessing import Preprocessing
from .refusal import BadModel, Refusal, shown
from .ubj import Bytes

METADATA = Path(".tierfleet/metadata.json")
FOREST = Path(".tierfleet/model.forest")  # the same model as a flat forest, for artefacts that other images read too
MODEL_FILE = "xgboost-model"
METADATA_LIMIT_BYTES = 4 * 1024 * 1024
_MAX_ENTRIES = 64  # an archive may unpack to 16 files


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What packaging recorded about a model; `crc32` and `size_bytes` are those of the model file."""

    format: int = 1
    features: int
    feature_names: list[str]
    objective: str
    booster: str
    rounds: int
    best_iteration: int | None
    xgboost_version: str
    size_bytes: int
    crc32: int
    sha256: str
    preprocessing: dict[str, Any]
    missing: float | None = None
    libsvm_base: int = 0

    def to_json(self) -> str:
        """The metadata as text for the artefact; `missing` and `libsvm_base` only if they are set."""
        unset = {"missing": None, "libsvm_base": 0}
        fields = {name: value for name, value in asdict(self).items() if name not in unset or value != unset[name]}
        return json.dumps(fields, indent=1, sort_keys=True) + "\n"

    @property
    def steps(self) -> dict[str, Any]:
        """All steps for a row: the preprocessing, `missing` and `libsvm_base`."""
        more: dict[str, Any] = {"missing": self.missing} if self.missing is not None else {}
        if self.libsvm_base:
            more["libsvm_base"] = self.libsvm_base
        return {**self.preprocessing, **more}

    @classmethod
    def from_json(cls, text: bytes) -> "Metadata":
        """Read the metadata; raises BadModel naming what is missing or unknown."""
        try:
            fields = json.loads(text, object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError):
            raise BadModel(f"{METADATA} is not JSON; publish the model again") from None
        known = set(cls.__dataclass_fields__)
        if not isinstance(fields, dict) or fields.get("format") != 1:
            raise BadModel(f"{METADATA} is not of format 1; publish the model again or use a newer server")
        fields = {**_DEFAULTS, **fields}
        if set(fields) != known:
            wrong = ", ".join(sorted(set(fields) ^ known))
            raise BadModel(f"{METADATA} lacks or does not know: {shown(wrong)}; publish the model again")
        for name, types in _FIELD_TYPES.items():
            if type(fields[name]) not in types:
                raise BadModel(f"{METADATA}: {name} is {shown(fields[name])}; publish the model again")
        if not all(isinstance(name, str) for name in fields["feature_names"]):
            raise BadModel(f"{METADATA}: feature_names must all be texts; publish the model again")
        return cls(**fields)

    def check(self, data: Bytes, facts: ModelFacts) -> Preprocessing:
        """The preprocessing; raises BadModel unless this describes the model file."""
        if self.size_bytes != len(data) or self.crc32 != zlib.crc32(data):
            raise BadModel(
                f"the model file is not the one that was packaged: it has {len(data)} bytes, "
                f"{shown(self.size_bytes)} were recorded, or its checksum differs; publish the model again"
            )
        if self.objective != facts.objective:
            raise BadModel(f"{METADATA} describes another model; publish the model again")
        preprocessing, names = self._preprocessing(facts.features), tuple(self.feature_names)
        return replace(preprocessing, feature_names=names) if names != facts.feature_names else preprocessing

    def check_forest(self, features: int, *, size_bytes: int | None, source_sha256: object) -> Preprocessing:
        """The preprocessing; raises BadModel unless this describes a flat forest of so many features.

        size_bytes: of the forest if it is the model file itself. None: it is next to the model file and was made from
        the file with `source_sha256`.
        """
        if size_bytes is None and source_sha256 != self.sha256:
            raise BadModel(
                f"{FOREST} was made from another model file than the one next to it; publish the model again"
            )
        if size_bytes is not None and size_bytes != self.size_bytes:
            raise BadModel(
                f"the forest is not the one that was packaged: it has {size_bytes} bytes, {shown(self.size_bytes)} "
                "were recorded; publish the model again"
            )
        return self._preprocessing(features)

    def _preprocessing(self, features: int) -> Preprocessing:
        if self.features != features:
            raise BadModel(f"{METADATA} describes another model; publish the model again")
        names = tuple(self.feature_names)
        if names and len(names) != features:
            raise BadModel(f"{METADATA} names {len(names)} of {features} features; publish the model again")
        if len(set(names)) != len(names):
            raise BadModel(f"{METADATA} gives two features the same name; publish the model again")
        return Preprocessing.from_metadata(self.steps, features, names)


_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    "features": (int,), "feature_names": (list,), "objective": (str,), "booster": (str,), "rounds": (int,),
    "best_iteration": (int, type(None)), "xgboost_version": (str,), "size_bytes": (int,), "crc32": (int,),
    "sha256": (str,), "preprocessing": (dict,), "missing": (float, int, type(None)), "libsvm_base": (int,),
}  # fmt: skip
_DEFAULTS: dict[str, Any] = {"missing": None, "libsvm_base": 0}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise BadModel(f"{METADATA} holds {shown(name)} twice in one object; publish the model again")
        members[name] = value
    return members


def root_of(path: Path) -> Path:
    """The directory of the artefact that a model file is in."""
    return path.parent.parent if path.parent.name == FOREST.parent.name else path.parent


def model_path(directory: Path) -> Path:
    """The one model file of an extracted artefact; a file is its own. Raises Refusal (404) or BadModel."""
    try:
        if stat.S_ISREG(directory.lstat().st_mode):
            return directory
        with os.scandir(directory) as scanned:
            # Enough for the message: an artefact may have a million files.
            listed = list(islice(scanned, _MAX_ENTRIES + 1))
    except OSError as error:
        raise Refusal(404, f"no model at {shown(str(directory))}: {error.strerror}") from None
    if len(listed) > _MAX_ENTRIES:
        raise BadModel(f"the artefact holds more than {_MAX_ENTRIES} files; it must be one model file, and {METADATA}")
    entries = [entry for entry in listed if not entry.name.startswith(".")]
    odd = [entry.name for entry in entries if not entry.is_file(follow_symlinks=False)]
    if odd:
        raise BadModel(
            f"the artefact holds {shown(odd[0])}, which is not a regular file; a model is one UBJ or "
            "JSON file at the root and nothing that could run; "
            "for code use an inference pipeline (docs/container.md)"
        )
    if len(entries) != 1:
        names = sorted(entry.name for entry in entries)
        raise BadModel(
            f"the artefact holds {len(names)} files at its root ({shown(names)}); it must be exactly one, "
            "since the stock image would average all of them"
        )
    return directory / entries[0].name


def open_model_file(path: Path) -> tuple[FileIO, int]:
    """Open a regular file (never a link) for reading: the file and its size in bytes; raises Refusal or BadModel."""
    try:
        # A link could lead out of the artefact, and the open of a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refusal(404, f"cannot open {shown(str(path))}: {error.strerror}") from None
    state = os.fstat(descriptor)
    if stat.S_ISREG(state.st_mode):
        return FileIO(descriptor), state.st_size
    os.close(descriptor)
    raise BadModel(f"{path.name} is not a regular file")


def read(file: FileIO, size_bytes: int) -> bytes:
    """Up to so many bytes of an open file; raises Refusal (404) if the system cannot read it."""
    try:
        return file.read(size_bytes)
    except OSError as error:
        raise Refusal(404, f"cannot read the file: {error.strerror}") from None


def read_metadata(directory: Path) -> Metadata | None:
    """The metadata of an extracted artefact; None if it was not packaged by tierfleet."""
    text = read_metadata_text(directory)
    return None if text is None else Metadata.from_json(text)


def metadata_bytes(directory: Path) -> int:
    """The size of an extracted artefact's metadata, 0 if there is none; raises BadModel."""
    try:
        size = (directory / METADATA).lstat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:  # it may exist, and without it the model would be served without its preprocessing
        raise BadModel(f"cannot look for {METADATA}: {error.strerror}; publish the model again") from None
    if size > METADATA_LIMIT_BYTES:
        raise BadModel(f"{METADATA} has more than {METADATA_LIMIT_BYTES} bytes; publish the model again")
    return max(1, size)


def read_metadata_text(directory: Path) -> bytes | None:
    """The text of an extracted artefact's metadata; None if it was not packaged by tierfleet."""
    if metadata_bytes(directory) == 0:
        return None
    file, size = open_model_file(directory / METADATA)
    with file:
        text = read(file, min(size, METADATA_LIMIT_BYTES) + 1)
    if len(text) > METADATA_LIMIT_BYTES:
        raise BadModel(f"{METADATA} has more than {METADATA_LIMIT_BYTES} bytes; publish the model again")
    return text
