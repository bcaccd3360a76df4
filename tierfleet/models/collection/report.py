"""What a run of gc found and did, for a person and for a script."""

from typing import Any

from tierfleet.columns import in_columns, sentence
from tierfleet.models.collection.find import Artefact, Collection
from tierfleet.models.sources import StoredSource
from tierfleet.text import counted, size


def collection_lines(
    found: Collection, *, versioned: bool, deleting: bool, permanently: bool, width: int | None = None
) -> list[str]:
    """A line for each artefact that is not kept, then the sums.

    deleting: whether the run was to delete. width: columns of the terminal; None: there is none.
    """

    def bytes_of(item: Artefact) -> int:
        return item.size_bytes + (item.hidden_bytes if permanently else 0)

    fates = {"deleted": "deleted", "failed": "failed", "garbage": "next run" if deleting else "would go"}
    gone = [item for item in found.of("deleted", "failed", "garbage") if bytes_of(item)]
    rows = [(fates[item.fate], item.target_model, size(bytes_of(item)), "") for item in gone]
    starts = in_columns(rows, width, shrink=(1,), right=(2,))
    lines = [sentence(item.why, width, first=f"{start}  ") for item, start in zip(gone, starts, strict=True)]
    kept, deleted = found.of("kept"), found.of("deleted")
    lines.append(f"kept: {counted(len(kept), 'artefact')}, {size(sum(item.size_bytes for item in kept))}")
    if deleting:
        freed = permanently or not versioned
        how = "freed" if freed else "hidden, freed when the bucket's lifecycle rule deletes old versions"
        lines.append(f"deleted: {counted(len(deleted), 'artefact')}, {size(sum(map(bytes_of, deleted)))} {how}")
    else:
        lines.append(
            f"garbage: {counted(len(gone), 'artefact')}, {size(sum(map(bytes_of, gone)))}; --delete deletes them"
        )
    hidden = sum(item.hidden_bytes for item in found.of("garbage", "failed"))
    if hidden and not permanently:
        lines.append(f"already deleted: {size(hidden)} of old versions; the lifecycle rule or --permanently frees them")
    unneeded = found.sources_deleted if deleting else [source for source in found.sources if not source.needed]
    unneeded = [source for source in unneeded if source.size_bytes]
    if unneeded:
        what = "deleted" if deleting else "would go"
        lines.append(f"{what}: {counted(len(unneeded), 'source')} that no artefact names, {size(_bytes(unneeded))}")
    if found.pointers_deleted:
        lines.append(f"forgotten: {counted(found.pointers_deleted, 'removed tenant')} without artefacts")
    lines += [f"left alone: {stranger} is not the key of an artefact" for stranger in found.strangers]
    return lines


def collection_json(found: Collection, *, versioned: bool, deleting: bool) -> dict[str, Any]:
    """Every artefact with its fate, and the sums."""
    return {
        "artefacts": [item.to_json() for item in found.artefacts],
        "problems": found.problems,
        "strangers": found.strangers,
        "versioned_bucket": versioned,
        "acted": deleting,
        "deleted_bytes": sum(item.size_bytes for item in found.of("deleted")),
        "garbage_bytes": sum(item.size_bytes for item in found.of("garbage", "deleted", "failed")),
        "pointers_deleted": found.pointers_deleted,
        "sources": len(found.sources),
        "source_bytes": _bytes(found.sources),
        "unneeded_sources": [source.key for source in found.sources if not source.needed],
        "deleted_sources": [source.key for source in found.sources_deleted],
    }


def _bytes(sources: list[StoredSource]) -> int:
    return sum(source.size_bytes for source in sources)
