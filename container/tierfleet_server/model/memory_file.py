"""Files in memory that hold a model which was read once and cannot be changed or truncated any more."""

import ctypes
import errno
import fcntl
import mmap
import os
import tempfile
from io import FileIO

import numpy as np

from .ubj import Bytes

_libc = ctypes.CDLL(None)

# Up to here reading the bytes and sending them on costs less than a file in memory and its two mappings.
SMALL_BYTES = 1 << 20
# No system call works on more than this. Many hosts do not pre-empt a thread in the kernel, so one call that copies or
# unmaps 44 MB makes the event loop wait for milliseconds.
_BLOCK_BYTES = 1 << 18


class NoMemoryError(MemoryError):
    """The system has no memory left for a model's file."""


def memory_file(content: FileIO | Bytes, size_bytes: int) -> int:
    """An open file in memory that holds the first `size_bytes` of `content`; NoMemoryError if there is none for it.

    On Linux it is sealed, so no process that has it open can change it.
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
    """Seal a file in memory against changes (Linux only)."""
    if hasattr(os, "memfd_create"):
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)


def bytes_of(held: bytes | int) -> Bytes:
    """Bytes as they are; those of an open file without reading them into this process's heap."""
    if isinstance(held, bytes):
        return held
    # Not with MAP_POPULATE: Python keeps the interpreter while it maps a file.
    return mmap.mmap(held, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) if os.fstat(held).st_size else b""


def unmap(data: Bytes) -> None:
    """Unmap the bytes of a file, without the interpreter and in small steps; nothing for other bytes."""
    if not isinstance(data, mmap.mmap):
        return
    if hasattr(mmap, "MADV_DONTNEED"):
        start = int(np.frombuffer(data, np.uint8).ctypes.data)
        for at in range(0, len(data), _BLOCK_BYTES):
            _libc.madvise(
                ctypes.c_void_p(start + at), ctypes.c_size_t(min(_BLOCK_BYTES, len(data) - at)), mmap.MADV_DONTNEED
            )
    data.close()


def close(held: bytes | int) -> None:
    """Close the file of a model, if it is in one."""
    if isinstance(held, int):
        os.close(held)
