"""The memory of a container that does not count it itself: its process and all below it. Linux only."""

from pathlib import Path

_KIB = 1024


def tree_bytes(pid: int) -> int | None:
    """Proportional set size of a process and its descendants, in bytes; None if the system does not tell."""
    own = _proportional_bytes(pid)
    if own is None:
        return None
    return own + sum(tree_bytes(child) or 0 for child in _children(pid))


def _proportional_bytes(pid: int) -> int | None:
    """Shared pages count by their share, so that forks of one process are not counted over and over."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * _KIB
    except OSError:
        return None
    return None


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        pass
    return children
