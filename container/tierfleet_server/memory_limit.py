"""The memory that this container may use: the lowest cgroup limit, or else the machine's memory."""

from pathlib import Path

MIB = 1024 * 1024
# Part of the reserve for what is not counted: pages that the allocators keep, stacks, the log's queue.
SLACK_BYTES = 32 * MIB


def memory_limit_bytes(root: Path = Path("/")) -> int:
    """The smallest of the machine's memory and all cgroup (v1, v2) limits from ours to the root, in bytes."""
    limits = [_machine_bytes(root)]
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be the host's, and then only the root of the mount exists.
        inside = mount / path.lstrip("/")
        for group in (inside, *inside.parents):
            limits += [int(text) for text in _lines(group / name) if text.isdigit()]
            if group == mount:
                break
    return min(limits)


def budget_bytes(limit_bytes: int, *, budget_mib: int | None = None, reserve_mib: int | None = None) -> int:
    """What models may use: the setting, or the limit less a reserve (256 MiB or 10 %, whichever is larger).

    The reserve pays for Python, NumPy and the requests in flight.
    """
    if budget_mib is not None:
        return budget_mib * MIB
    reserve = reserve_mib * MIB if reserve_mib is not None else max(256 * MIB, limit_bytes // 10)
    if reserve >= limit_bytes:
        raise ValueError(
            f"a reserve of {reserve // MIB} MiB leaves nothing of the {limit_bytes // MIB} MiB limit; "
            "give the container more memory or set TIERFLEET_MEMORY_RESERVE_MIB lower"
        )
    return limit_bytes - reserve


def requests_bytes(limit_bytes: int, budget: int, *, own_bytes: int) -> int:
    """What requests in flight may use of the reserve. own_bytes: memory of the server at rest.

    An explicit budget may leave more than the usual reserve, or nothing; requests get no more than the usual reserve.
    """
    reserve = min(max(256 * MIB, limit_bytes // 10), limit_bytes - budget)
    return reserve - own_bytes - SLACK_BYTES


def resident_bytes(root: Path = Path("/")) -> int:
    """Memory of this process and its children, shared pages counted in proportion (PSS); 0 if unknown."""
    rollups = [root / "proc/self/smaps_rollup"]
    for listing in (root / "proc/self/task").glob("*/children"):
        rollups += [root / "proc" / child / "smaps_rollup" for line in _lines(listing) for child in line.split()]
    sizes = [line.split()[1] for rollup in rollups for line in _lines(rollup) if line.startswith("Pss:")]
    return sum(map(int, sizes)) * 1024


def _machine_bytes(root: Path) -> int:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{root / 'proc/meminfo'} does not tell MemTotal; set TIERFLEET_MEMORY_BUDGET_MIB")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
