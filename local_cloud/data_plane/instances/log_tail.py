"""What a container has printed since the last call, line by line. The size of its file is bounded."""

import contextlib
import os
import time
from pathlib import Path

_MOST_BYTES_A_LOOK = 1 << 20
_LONGEST_LINE_BYTES = 256 * 1024  # CloudWatch Logs' limit of an event
_LARGEST_FILE_BYTES = 16 << 20


class LogTail:
    """One container's log file, which need not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0
        self._rest = b""

    def take(self) -> list[tuple[int, str]]:
        """(milliseconds since the epoch, line) of the whole lines that are new; empty ones left out."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                block = file.read(_MOST_BYTES_A_LOOK)
                size = os.fstat(file.fileno()).st_size
        except OSError:
            return []
        self._read_bytes += len(block)
        if self._read_bytes >= size > _LARGEST_FILE_BYTES:
            # Its writers append, so they continue at the new end.
            with contextlib.suppress(OSError):
                os.truncate(self._path, 0)
                self._read_bytes = 0
        *lines, self._rest = (self._rest + block).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        now = int(time.time() * 1000)
        decoded = (line[:_LONGEST_LINE_BYTES].decode(errors="replace").rstrip("\r") for line in lines)
        return [(now, line) for line in decoded if line.strip()]
