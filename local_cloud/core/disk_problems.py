"""Errors of a disk as sentences that name the path and say what to do."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

_PROBE_BYTES = 4096
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not become larger than the limit of this process (ulimit -f)",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.EEXIST: "there is a file of that name",
    errno.EISDIR: "there is a directory of that name",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "this process has too many files open (ulimit -n)",
    errno.ENFILE: "the machine has too many files open",
    errno.EIO: "the disk has an input/output error",
}
# As Node and Python print them.
_PRINTED = {
    errno.ENOSPC: r"\bENOSPC\b|No space left on device",
    errno.EDQUOT: r"\bEDQUOT\b|Disk quota exceeded",
    errno.EROFS: r"\bEROFS\b|Read-only file system",
    errno.EFBIG: r"\bEFBIG\b|File too large",
    errno.EMFILE: r"\bEMFILE\b|Too many open files",
    errno.EACCES: r"\bEACCES\b: permission denied|PermissionError: \[Errno 13\] Permission denied",
}
_ADVICE = {
    errno.ENOSPC: "free some space or use another directory",
    errno.EDQUOT: "free some space or use another directory",
    errno.EFBIG: "raise the limit",
    errno.EMFILE: "raise the limit",
}


class DiskError(RuntimeError):
    """Something could not be written; the message names the path and what to do."""


@contextlib.contextmanager
def disk_problems_named(directory: Path) -> Iterator[None]:
    """Turn an OSError of writing below a directory into a DiskError. Other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        raise DiskError(disk_problem(error, directory)) from error


def unwritable(directory: Path) -> str | None:
    """Why no small file can be written there, as a sentence; None if it can. Leaves no file."""
    probe = directory / f".probe-{os.getpid()}"
    try:
        with probe.open("wb", buffering=0) as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return disk_problem(error, directory)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return None


def disk_problem(error: OSError, path: Path) -> str:
    """The sentence. The path is the error's own if it has one, else the one given."""
    named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
    number = error.errno or 0
    reason = _REASONS.get(number, error.strerror or str(error))
    if number == errno.ENOSPC and _inodes_are_used_up(named):
        reason = "the disk has no room for another file (its inodes are used up)"
    return f"cannot write {named}: {reason}; {_ADVICE.get(number, 'use a directory that can be written')}"


def is_disk_problem(error: BaseException | None) -> bool:
    """Whether the disk caused the error, rather than the content of a file."""
    return isinstance(error, OSError) and error.errno in _REASONS


def disk_problem_printed(text: str, path: Path) -> str | None:
    """The same sentence for an error that another program printed; None if it printed none."""
    for number, words in _PRINTED.items():
        if match := re.search(rf"(?:{words})[^\n]*?(?:['\"](?P<path>/[^'\"\n]+)['\"])?\s*$", text, re.MULTILINE):
            return disk_problem(OSError(number, os.strerror(number), match["path"] or str(path)), path)
    return None


def _inodes_are_used_up(path: Path) -> bool:
    for directory in (path, *path.parents):
        with contextlib.suppress(OSError):
            disk = os.statvfs(directory)
            return disk.f_files > 0 and disk.f_favail == 0
    return False
