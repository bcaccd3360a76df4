"""From an extracted artefact to bytes that XGBoost may read: found, copied where nobody changes them, checked."""

import errno
import mmap
import os
import shutil
import tempfile
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from . import artefact
from .json_to_ubj import json_to_ubj
from .model_file import ModelFacts, Version, check_ubj, file_format, json_version, refuse_newer
from .ubj import Bytes

# Up to here reading the bytes and sending them on costs less than a file in memory and its two mappings.
SMALL_BYTES = 1 << 20
# Pages are mapped at once: thousands of faults would cost more.
_MAP_FLAGS = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)
_BLOCK_BYTES = 1 << 26


class Prepared(NamedTuple):
    """A checked UBJ model: its bytes, or an open file that holds them; `steps` is the preprocessing it asks for."""

    held: bytes | int
    facts: ModelFacts
    steps: dict[str, Any]
    names: tuple[str, ...]


def prepare(url: str, server: Version) -> Prepared:
    """Check the artefact extracted at `url` for XGBoost `server`; raises Refusal, BadModel or MemoryError."""
    path = artefact.model_path(Path(url))
    metadata = artefact.read_metadata(path.parent)
    held = _held(path)
    try:
        data = _bytes(held)
        ubj, facts = check(data, server)
        steps, names = metadata.check(data, facts) if metadata is not None else ({}, ())
        if ubj is not data:
            made = ubj[:] if len(ubj) <= SMALL_BYTES else _file(ubj)
            close(held)
            held = made
        return Prepared(held, facts, steps, names)
    except BaseException:
        close(held)
        raise


def take(held: bytes | int) -> Bytes:
    """The bytes of a model that was prepared; its file, if it is in one, is closed."""
    try:
        return _bytes(held)
    finally:
        close(held)


def close(held: bytes | int) -> None:
    """Close the file of a model, if it is in one."""
    if isinstance(held, int):
        os.close(held)


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


def _bytes(held: bytes | int) -> Bytes:
    # Those of a file without reading them into this process's heap.
    if isinstance(held, bytes):
        return held
    return mmap.mmap(held, 0, flags=_MAP_FLAGS, prot=mmap.PROT_READ) if os.fstat(held).st_size else b""


def _held(path: Path) -> bytes | int:
    # What was checked must be what is loaded, and a mapped file that somebody cuts short ends the process.
    source, size = artefact.open_model_file(path)
    with source:
        return source.readall() if size <= SMALL_BYTES else _file(source)


def _file(content: FileIO | Bytes) -> int:
    try:
        copy = _memory_file()
        try:
            if not isinstance(content, FileIO):
                with open(copy, "wb", closefd=False) as out:
                    out.write(content)
            elif hasattr(os, "memfd_create"):
                while os.sendfile(copy, content.fileno(), None, _BLOCK_BYTES):
                    pass
            else:
                with open(copy, "wb", closefd=False) as out:
                    shutil.copyfileobj(content, out)
            return copy
        except BaseException:
            os.close(copy)
            raise
    except OSError as error:
        if error.errno in (errno.ENOMEM, errno.ENOSPC):
            raise MemoryError("no memory for the model's file") from None
        raise


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("model", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
