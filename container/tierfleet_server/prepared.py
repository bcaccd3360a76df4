"""From an extracted artefact to bytes that XGBoost may read: found, copied where nobody changes them, checked."""

import errno
import mmap
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import artefact
from .json_to_ubj import json_to_ubj
from .model_file import ModelFacts, Version, check_ubj, file_format, json_version, refuse_newer
from .ubj import Bytes

# Pages are mapped at once: thousands of faults would cost more.
_MAP_FLAGS = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)
_BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class Prepared:
    """A checked UBJ model: `file` is open and holds its `size` bytes, `steps` is the preprocessing it asks for."""

    file: int
    size: int
    facts: ModelFacts
    steps: dict[str, Any]
    names: tuple[str, ...]


def prepare(url: str, server: Version) -> Prepared:
    """Check the artefact extracted at `url` for XGBoost `server`; raises Refusal, BadModel or MemoryError."""
    directory = Path(url)
    path = artefact.model_path(directory)
    metadata = artefact.read_metadata(directory if path != directory else directory.parent)
    file = _copy(path)
    try:
        data = mapped(file)
        ubj, facts = check(data, server)
        steps, names = metadata.check(data, facts) if metadata is not None else ({}, ())
        if ubj is not data:
            os.ftruncate(file, 0)
            with os.fdopen(os.dup(file), "wb") as out:
                out.seek(0)
                out.write(ubj)
        return Prepared(file, len(ubj), facts, steps, names)
    except BaseException:
        os.close(file)
        raise


def check(data: Bytes, server: Version) -> tuple[Bytes, ModelFacts]:
    """The UBJ form of a model file, itself if it is UBJ, and its facts; raises BadModel."""
    ubj = data
    if file_format(data[:128]) == "json":
        text = data[:]
        refuse_newer(json_version(text), server)
        ubj = json_to_ubj(b"{" + text[1:].lstrip())
    facts = check_ubj(ubj)
    refuse_newer(facts.version, server)
    return ubj, facts


def mapped(file: int) -> Bytes:
    """The bytes of an open file without reading them into this process's heap."""
    return mmap.mmap(file, 0, flags=_MAP_FLAGS, prot=mmap.PROT_READ) if os.fstat(file).st_size else b""


def _copy(path: Path) -> int:
    # What was checked must be what is loaded, and a mapped file that somebody cuts short ends the process.
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            shutil.copyfileobj(artefact.open_model_file(path), file)
            file.flush()
            return os.dup(file.fileno())
    copy = os.memfd_create("model", os.MFD_CLOEXEC)
    try:
        with artefact.open_model_file(path) as source:
            while os.sendfile(copy, source.fileno(), None, _BLOCK_BYTES):
                pass
        return copy
    except OSError as error:
        os.close(copy)
        if error.errno in (errno.ENOMEM, errno.ENOSPC):
            raise MemoryError("no memory for the model's file") from None
        raise
    except BaseException:
        os.close(copy)
        raise
