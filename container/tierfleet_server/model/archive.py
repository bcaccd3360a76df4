"""The tar.gz of an artefact: packed reproducibly, unpacked without trust."""

import errno
import gzip
import io
import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from .artefact import FOREST, METADATA
from .refusal import BadModel, shown

# Chosen by measurement (benchmarks/model_server, "fetch to first reply"): see docs/adr/0013.
GZIP_LEVEL = 1
MAX_UNPACKED_BYTES = 4 * 1024**3
MAX_FILES = 16
_BLOCK_BYTES = 1 << 20
# A packed model has three headers and some 10 kB of zeros at its end; `tar -b` may make that 1 MiB.
_MAX_OVERHEAD_BYTES = 2 << 20
_DISK_FAILS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENFILE}
_OURS = (PurePosixPath(METADATA), PurePosixPath(FOREST))


def pack(files: dict[str, bytes], *, gzip_level: int = GZIP_LEVEL) -> bytes:
    """A tar.gz of files by path; the same files always give the same bytes."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=gzip_level, mtime=0, filename="") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def unpack(packed: Path, directory: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> None:
    """Extract an artefact into a new directory; raises BadModel and leaves no directory if it is not an artefact.

    Only regular files at the root and our metadata are allowed: no link, device or `..`, and at most `max_bytes` of
    files. Everything else in it (headers, long names, folders, padding) may have 2 MiB, and reading takes as much
    memory. A disk that is full or fails raises OSError.
    """
    directory.mkdir(parents=True)
    try:
        with gzip.open(packed) as stream:
            counted = _Counted(cast(IO[bytes], stream))
            with tarfile.open(fileobj=cast(IO[bytes], counted), mode="r|") as archive:
                _extract(archive, counted, directory, max_bytes)
            # Tar ends before gzip. Only gzip's end shows that everything arrived intact.
            while counted.read(_BLOCK_BYTES):
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError, RecursionError) as error:
        _remove(directory)
        if isinstance(error, OSError) and error.errno in _DISK_FAILS:
            raise
        raise BadModel(f"the artefact is truncated or not a tar.gz ({str(error)[:200]}); publish it again") from None
    except BaseException:
        _remove(directory)
        raise


class _Counted:
    """Unpacked bytes, limited to those of the allowed files and a bounded rest."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = _MAX_OVERHEAD_BYTES

    def allow(self, file_bytes: int) -> None:
        """Let a file of so many bytes follow."""
        self._left += file_bytes

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; raises BadModel beyond the limit."""
        block = self._stream.read(min(size, _BLOCK_BYTES, self._left + 1))
        self._left -= len(block)
        if self._left < 0:
            raise BadModel(
                f"the artefact holds more than {_MAX_OVERHEAD_BYTES >> 20} MiB besides its files: headers, folders or "
                "padding, as a decompression bomb does; pack it again"
            )
        return block


def _extract(archive: tarfile.TarFile, counted: _Counted, directory: Path, max_bytes: int) -> None:
    total = files = folders = 0
    while (member := archive.next()) is not None:
        # A tar file keeps every header that it has read.
        cast(Any, archive).members.clear()
        path = PurePosixPath(member.name)
        if member.isdir() and path.parts in ((), (METADATA.parts[0],)):
            folders += 1
            if folders > MAX_FILES:
                raise BadModel(f"the artefact names its folders more than {MAX_FILES} times; pack it again")
            continue
        files += 1
        if not member.isreg() or member.issparse() or member.size < 0:
            raise BadModel(f"the artefact holds {shown(member.name)}, which is not a regular file")
        total += member.size
        if path.is_absolute() or ".." in path.parts or (len(path.parts) != 1 and path not in _OURS):
            raise BadModel(
                f"the artefact holds {shown(member.name)}; only one model file at the root, "
                f"{METADATA} and {FOREST} are allowed; for code use an inference pipeline (docs/container.md)"
            )
        if files > MAX_FILES or total > max_bytes:
            raise BadModel(f"the artefact unpacks to more than {MAX_FILES} files or {max_bytes} bytes")
        counted.allow(member.size)
        source = archive.extractfile(member)
        target = directory / path
        target.parent.mkdir(exist_ok=True)
        if source is None or os.path.lexists(target):
            raise BadModel(f"the artefact holds {shown(member.name)} twice")
        with source, target.open("xb") as file:
            while block := source.read(_BLOCK_BYTES):
                file.write(block)


def _remove(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    directory.rmdir()
