"""Files that are written whole or not at all, and checked before the work that fills them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tierfleet.errors import InputError


def check_writable(file: Path, option: str) -> None:
    """Raises InputError where `option` names a file that cannot be written. Writes nothing."""
    target = file.resolve()
    if target.is_dir():
        raise InputError(f"{option} {file} is a directory; give a file")
    if not target.parent.is_dir():
        raise InputError(f"{option} {file}: there is no directory {target.parent}; make it first")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise InputError(f"{option} {file} cannot be written: permission denied; give another place")


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A file in the same directory to write to; at the end it replaces `file` and takes its mode.

    After an error `file` is unchanged. A link stays a link. Something else than a plain file, such as /dev/stdout, is
    written to directly. Raises OSError.
    """
    target = file.resolve()
    if target.exists() and not target.is_file():
        yield target
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield temporary
        if target.exists():
            temporary.chmod(target.stat().st_mode)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(file: Path, content: str | bytes) -> None:
    """Write text as UTF-8, or bytes as they are. Raises OSError; then the file is unchanged."""
    with replacing(file) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
