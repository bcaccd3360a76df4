"""The limits of a load by the size of its file: memory for admission, processor time, wall-clock time.

A model beyond them is refused. Measured with XGBoost 3.0.5 on models of 12 and 31 MiB, by the peak of what a
process holds: 4.7 to 5.05 bytes a byte of UBJ, which are the file, XGBoost's buffer of up to twice that, its document
and the trees (1.56); some 8 of JSON, which becomes a tree of objects, and three files in memory as well. 3 ms of
processor time a MiB of UBJ, 20 of JSON.
"""

import os
import resource
from pathlib import Path
from typing import NamedTuple

from .memory_file import SMALL_BYTES

# Memory that a model takes while it loads, per byte of its file, the file's own bytes included.
# A forest takes its file's, and while it is checked up to as much again: a list of the nodes of its longest tree.
LOAD_FACTOR = {"ubj": 5.0, "json": 12.0, "forest": 2.0}
# Of those, the files in memory, which belong to no process: the model's, and of JSON a copy and what was made of it.
_IN_FILES = {"ubj": 0.9, "json": 3.0}
# A category of 14 bytes takes some 350 at the peak: texts, numbers and tables, as read and as checked. Thousands of
# columns with one category each take more.
_METADATA_FACTOR = 40
_SMALL_METADATA_BYTES = 1 << 16
_FIXED_BYTES = 8 << 20
_FIXED_SECONDS = 2
_BYTES_PER_SECOND = {"ubj": 8 << 20, "json": 2 << 20}
# By the clock it may wait for processors: loads run at low priority.
_CLOCK_FIXED_SECONDS, _CLOCK_FACTOR = 30, 4
_GREATEST_SECONDS = 600


class Admitted(NamedTuple):
    """What admission saw of an artefact: its model file's bytes, `ubj`, `json` or `forest`, its metadata's bytes."""

    size_bytes: int
    form: str
    metadata_bytes: int = 0

    @property
    def is_small(self) -> bool:
        """Whether it takes milliseconds, and may be among the loads that wait for no slow one."""
        return self.size_bytes <= SMALL_BYTES and self.metadata_bytes <= _SMALL_METADATA_BYTES

    @property
    def needed_bytes(self) -> int:
        """Memory that its load is counted with."""
        return int(self.size_bytes * LOAD_FACTOR[self.form]) + self.metadata_bytes * _METADATA_FACTOR

    @property
    def process_bytes(self) -> int:
        """Memory that the process which reads it may have of its own, in addition to the files."""
        return self.needed_bytes - int(self.size_bytes * _IN_FILES[self.form]) + _FIXED_BYTES

    @property
    def cpu_seconds(self) -> int:
        """Processor time that reading it may take."""
        seconds = _FIXED_SECONDS + self.size_bytes // _BYTES_PER_SECOND[self.form] + (self.metadata_bytes >> 20)
        return min(seconds, _GREATEST_SECONDS)

    @property
    def clock_seconds(self) -> int:
        """Time by the clock that reading it may take."""
        return _CLOCK_FIXED_SECONDS + _CLOCK_FACTOR * self.cpu_seconds


def apply_to_this_process(admitted: Admitted) -> None:
    """From here on this process may take that much more memory, and that much processor time, or is ended.

    Linux alone counts a process's memory so; elsewhere only the processor time is limited.
    """
    _lower(resource.RLIMIT_CPU, _cpu_seconds_used() + admitted.cpu_seconds)
    _lower(resource.RLIMIT_CORE, 0)
    data = _private_bytes()
    if data is not None:
        _lower(resource.RLIMIT_DATA, data + admitted.process_bytes)


def lift_memory_limit() -> None:
    """For the sentence that says that the limit was reached."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _cpu_seconds_used() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int(used.ru_utime + used.ru_stime) + 1


def _private_bytes() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
