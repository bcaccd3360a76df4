"""From an extracted artefact to bytes that XGBoost may read: located, copied to sealed memory, checked."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from . import artefact
from .json_to_ubj import json_to_ubj
from .memory_file import SMALL_BYTES, bytes_of, close, memory_file
from .model_file import ModelFacts, Version, check_json_base_score, check_ubj, file_format, json_version, refuse_newer
from .preprocessing import Preprocessing
from .refusal import BadModel
from .ubj import Bytes

__all__ = ["SMALL_BYTES", "Prepared", "check", "close", "prepare", "read_small", "take"]


class Prepared(NamedTuple):
    """A checked UBJ model: its bytes, or an open file that holds them, and the preprocessing it asks for.

    `heap_bytes` is the memory of its trial, None without one. `fingerprint` is that of the files, empty for a large or
    a JSON model.
    """

    held: bytes | int
    facts: ModelFacts
    preprocessing: Preprocessing
    heap_bytes: int | None = None
    fingerprint: bytes = b""

    @property
    def held_in_file(self) -> bool:
        """Whether the model is large and in a file."""
        return isinstance(self.held, int)


def prepare(url: str, server: Version, admitted_bytes: int | None = None) -> Prepared:
    """Check the artefact extracted at `url` for XGBoost `server`; raises Refusal, BadModel or MemoryError.

    A file that has grown beyond `admitted_bytes` is refused.
    """
    held, text = _read(url, admitted_bytes)
    try:
        data = bytes_of(held)
        metadata = artefact.Metadata.from_json(text) if text is not None else None
        ubj, facts = check(data, server)
        preprocessing = metadata.check(data, facts) if metadata is not None else Preprocessing()
        fingerprint = _fingerprint(held, text) if ubj is data and isinstance(held, bytes) else b""
        if ubj is not data:
            made = ubj[:] if len(ubj) <= SMALL_BYTES else memory_file(ubj, len(ubj))
            close(held)
            held = made
        return Prepared(held, facts, preprocessing, None, fingerprint)
    except BaseException:
        close(held)
        raise


def read_small(url: str, admitted_bytes: int) -> tuple[bytes, bytes]:
    """The bytes of a small model and the fingerprint of its artefact, unchecked; raises Refusal or BadModel."""
    held, text = _read(url, admitted_bytes)
    if isinstance(held, bytes):
        return held, _fingerprint(held, text)
    close(held)
    return b"", b""


def _fingerprint(model: bytes, metadata: bytes | None) -> bytes:
    both = hashlib.sha256(b"%d %d " % (len(model), -1 if metadata is None else len(metadata)))
    both.update(model)
    both.update(metadata or b"")
    return both.digest()


def take(held: bytes | int) -> Bytes:
    """The bytes of a prepared model; its file, if there is one, is closed."""
    try:
        return bytes_of(held)
    finally:
        close(held)


def check(data: Bytes, server: Version) -> tuple[Bytes, ModelFacts]:
    """The UBJ form of a model file, itself if it is UBJ, and its facts; raises BadModel."""
    ubj = data
    if file_format(data[:128]) == "json":
        version = json_version(data)
        refuse_newer(version, server)
        check_json_base_score(data, version)
        ubj = take(json_to_ubj(data))
    facts = check_ubj(ubj)
    refuse_newer(facts.version, server)
    return ubj, facts


def _read(url: str, admitted_bytes: int | None) -> tuple[bytes | int, bytes | None]:
    path = artefact.model_path(Path(url))
    metadata = artefact.read_metadata_text(path.parent)
    return _held(path, admitted_bytes), metadata


def _held(path: Path, admitted_bytes: int | None) -> bytes | int:
    # The checked bytes must be the loaded bytes, and truncating a mapped file ends the process.
    source, size = artefact.open_model_file(path)
    with source:
        if admitted_bytes is not None and size > admitted_bytes:
            raise BadModel(
                f"the model file grew from {admitted_bytes} to {size} bytes while it was loaded; load it again"
            )
        return artefact.read(source, size) if size <= SMALL_BYTES else memory_file(source, size)
