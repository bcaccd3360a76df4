"""What changed between two synthesised assemblies, resource by resource, nested stacks included."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Change = Literal["added", "removed", "modified"]
_NOTHING = object()
# CDK ends the name of a template's file with a hash of the stack's path.
_PATH_HASH = re.compile(r"[0-9A-F]{8}$")


@dataclass(frozen=True)
class ResourceChange:
    """One resource that differs; `paths` are the properties that do, for a modified one."""

    change: Change
    stack: str
    logical_id: str
    resource_type: str
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        sign = {"added": "+", "removed": "-", "modified": "~"}[self.change]
        where = f"  {', '.join(self.paths)}" if self.paths else ""
        return f"{sign} {self.stack}  {self.resource_type}  {self.logical_id}{where}"


def assembly_changes(before: Path, after: Path) -> list[ResourceChange]:
    """The differences between two assembly directories (cdk.out), by stack and logical id.

    Raises FileNotFoundError for a directory without an assembly, ValueError for one with a broken template.
    """
    old, new = _resources(before), _resources(after)
    changes = []
    for key in sorted(old.keys() | new.keys()):
        if key not in old:
            changes.append(ResourceChange("added", *key, new[key]["Type"]))
        elif key not in new:
            changes.append(ResourceChange("removed", *key, old[key]["Type"]))
        elif old[key] != new[key]:
            paths = tuple(_paths(old[key], new[key]))
            changes.append(ResourceChange("modified", *key, new[key]["Type"], paths))
    return changes


def _resources(directory: Path) -> dict[tuple[str, str], dict[str, Any]]:
    if not (directory / "manifest.json").is_file():
        raise FileNotFoundError(f"{directory} holds no synthesised assembly; run cdk synth --output {directory}")
    resources = {}
    for file in directory.rglob("*.template.json"):
        stack = _PATH_HASH.sub("", file.name.partition(".")[0])
        for logical_id, resource in read_template(file).get("Resources", {}).items():
            # CDK's paths and asset notes are not deployed as properties.
            resources[stack, logical_id] = {key: value for key, value in resource.items() if key != "Metadata"}
    return resources


def read_template(file: Path) -> dict[str, Any]:
    """The template of a file. Raises ValueError for a file that holds none, such as half of one."""
    try:
        template: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = "brackets nest too deep" if isinstance(error, RecursionError) else error
        raise ValueError(f"{file} is no template: {reason}; synthesise again") from error
    resources = template.get("Resources", {}) if isinstance(template, dict) else None
    if not isinstance(resources, dict) or not all(
        isinstance(resource, dict) and isinstance(resource.get("Type"), str) for resource in resources.values()
    ):
        raise ValueError(f"{file} is no template: it has no table of resources with a type; synthesise again")
    return dict(template)


def _paths(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _paths(old.get(key, _NOTHING), new.get(key, _NOTHING), f"{path}.{key}" if path else key)
    elif old != new:
        yield path
