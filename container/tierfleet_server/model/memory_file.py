"""Files in memory: where a model is kept that was read once, and that nobody changes or cuts short any more."""

import errno
import fcntl
import mmap
import os
import tempfile
from io import FileIO

from .ubj import Bytes

# Up to here reading the bytes and sending them on costs less than a file in memory and its two mappings.
SMALL_BYTES = 1 << 20
# Pages are mapped at once: thousands of faults would cost more.
_MAP_FLAGS = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)
_BLOCK_BYTES = 1 << 26


class NoMemoryError(MemoryError):
    """The system has none left for a model's file, whatever the model."""


def memory_file(content: FileIO | Bytes, size_bytes: int) -> int:
    """An open file in memory that holds the first `size_bytes` of `content`; NoMemoryError if there is none for it.

    On Linux it is sealed: whoever else has it open cannot change it either.
    """
    try:
        copy = empty_memory_file()
        try:
            if isinstance(content, FileIO) and hasattr(os, "memfd_create"):
                left = size_bytes
                while left and (sent := os.sendfile(copy, content.fileno(), None, min(left, _BLOCK_BYTES))):
                    left -= sent
            else:
                with open(copy, "wb", closefd=False) as out:
                    out.write(content.read(size_bytes) if isinstance(content, FileIO) else content[:size_bytes])
            seal(copy)
            return copy
        except BaseException:
            os.close(copy)
            raise
    except OSError as error:
        if error.errno in (errno.ENOMEM, errno.ENOSPC):
            raise NoMemoryError("no memory for the model's file") from None
        raise


def empty_memory_file() -> int:
    """An open file in memory; on a system without, a temporary file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def seal(file: int) -> None:
    """Let nobody change a file in memory any more, where the system can (Linux)."""
    if hasattr(os, "memfd_create"):
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)


def bytes_of(held: bytes | int) -> Bytes:
    """Bytes as they are; those of an open file without reading them into this process's heap."""
    if isinstance(held, bytes):
        return held
    return mmap.mmap(held, 0, flags=_MAP_FLAGS, prot=mmap.PROT_READ) if os.fstat(held).st_size else b""


def close(held: bytes | int) -> None:
    """Close the file of a model, if it is in one."""
    if isinstance(held, int):
        os.close(held)
