"""What the edit of a fleet file changes since a commit: resources of the templates, and dollars a month."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tierfleet.assembly_diff import ResourceChange, assembly_changes, replacements
from tierfleet.config import ConfigError, load
from tierfleet.config.generation import generation
from tierfleet.config.routes import endpoint_name
from tierfleet.cost.diff import CostDiff, Priced, cost_diff
from tierfleet.cost.monthly_cost import monthly_cost
from tierfleet.cost.prices import load_prices
from tierfleet.errors import InputError
from tierfleet.git_versions import Versions, changed_versions, with_origins
from tierfleet.synthesis import SynthesisError, synthesise


@dataclass(frozen=True)
class EditDiff:
    """files: names of files that differ. endpoints: a sentence for each multi-model endpoint with new instances.
    unpriced: why, by file, a change in cost is not known."""

    files: tuple[str, ...]
    changes: tuple[ResourceChange, ...]
    replaced: tuple[ResourceChange, ...]
    endpoints: tuple[str, ...]
    costs: tuple[CostDiff, ...]
    unpriced: tuple[str, ...]


def edit_diff(path: Path, against: str, *, region: str | None = None) -> EditDiff:
    """The difference between a fleet file, or a directory of them, now and in the commit `against`.

    region: whose prices are used; None: the fleet's own. Both versions are synthesised by the
    present code. Raises GitVersionsError, SynthesisError,
    and ConfigError for a version that cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="tierfleet-diff-") as temporary:
        folder = Path(temporary)
        versions = changed_versions(path, against, folder)
        if not versions:
            return EditDiff((), (), (), (), (), ())
        _check(versions)
        both = [folder / when if (folder / when).is_dir() else None for when in ("before", "after")]
        folders = [version for version in both if version]
        synthesise(folders, [folder / f"{version.name}.out" for version in folders])
        before, after = (version and folder / f"{version.name}.out" for version in both)
        costs, unpriced = _costs(versions, region)
        return EditDiff(
            tuple(version.name for version in versions),
            tuple(assembly_changes(before, after)),
            tuple(replacements(before, after)),
            tuple(sentence for version in versions for sentence in _endpoints(version)),
            tuple(costs),
            tuple(unpriced),
        )


def _check(versions: Sequence[Versions]) -> None:
    """Raise SynthesisError with the errors of every version that cannot be used, each by its commit and path."""
    problems = []
    for file in (file for version in versions for file in (version.before, version.after) if file is not None):
        try:
            load(file)
        except ConfigError as error:
            problems += [with_origins(str(problem).partition(": ")[2], versions) for problem in error.problems]
    if problems:
        raise SynthesisError("\n".join(problems))


def _endpoints(version: Versions) -> Iterator[str]:
    if version.before is None or version.after is None:
        return
    before, after = load(version.before), load(version.after)
    for name in sorted(before.multi_model_tiers.keys() & after.multi_model_tiers.keys()):
        old_name, new_name = endpoint_name(before, name), endpoint_name(after, name)
        old, new = (generation(config, config.multi_model_tiers[name]) for config in (before, after))
        if old_name != new_name:
            yield f"tier {name}: new endpoint {new_name}, warm before its callers come; {old_name} goes after the bake"
        elif old != new:
            yield (
                f"tier {name}: endpoint {new_name} is updated in place, and its callers meet an empty cache, since "
                f"first_generation was set to the new settings' {new}; undo that"
            )
    for name in sorted(before.shared_pipeline_tiers.keys() & after.shared_pipeline_tiers.keys()):
        old_name, new_name = endpoint_name(before, name), endpoint_name(after, name)
        if old_name != new_name:
            yield f"tier {name}: new endpoint {new_name}, which answers before its callers come; {old_name} goes after"


def _costs(versions: Sequence[Versions], region: str | None) -> tuple[list[CostDiff], list[str]]:
    table = load_prices(None)

    def priced(file: Path | None) -> Priced | None:
        if file is None:
            return None
        config = load(file)
        return config, monthly_cost(config, table, region=region)

    costs, unpriced = [], []
    for version in versions:
        try:
            costs.append(cost_diff(priced(version.before), priced(version.after)))
        except InputError as error:
            unpriced.append(f"{version.name}: {error}")
    return costs, unpriced
