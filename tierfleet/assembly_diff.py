"""What changed between two synthesised assemblies, resource by resource, nested stacks included."""

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

Change = Literal["added", "removed", "modified"]
_NOTHING = object()
# CDK ends the name of a template's file with a hash of the stack's path.
_PATH_HASH = re.compile(r"[0-9A-F]{8}$")

Resources = dict[tuple[str, str], dict[str, Any]]


@dataclass(frozen=True)
class ResourceChange:
    """One resource that differs; `paths` are the properties that do, for a modified one."""

    change: Change
    stack: str
    logical_id: str
    resource_type: str
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "  ".join(self.cells())

    def cells(self) -> list[str]:
        """Sign and stack, type, logical id, and the properties if there are any."""
        sign = {"added": "+", "removed": "-", "modified": "~"}[self.change]
        where = [", ".join(self.paths)] if self.paths else []
        return [f"{sign} {self.stack}", self.resource_type, self.logical_id, *where]


def assembly_changes(before: Path | None, after: Path | None) -> list[ResourceChange]:
    """The differences between two assembly directories (cdk.out), by stack and logical id; None: an empty one.

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


def replacements(before: Path | None, after: Path | None) -> list[ResourceChange]:
    """The resources that CloudFormation will replace: a new one is made, then the old one is deleted.

    They are the resources whose create-only properties differ, or refer to a replaced resource. Nested
    stacks pass nothing on here. Raises FileNotFoundError for a directory without an assembly.
    """
    old, new = _resources(before), _resources(after)
    both = sorted(old.keys() & new.keys())
    causes: dict[tuple[str, str], tuple[str, ...]] = {}
    for key in both:
        if changed := [
            name for name in _create_only(new[key]) if _property(old[key], name) != _property(new[key], name)
        ]:
            causes[key] = tuple(changed)
        elif old[key]["Type"] != new[key]["Type"]:
            causes[key] = ("Type",)
    spreading = True
    while spreading:
        replaced = set(causes)
        for key in both:
            if key not in causes:
                near = {logical_id for stack, logical_id in replaced if stack == key[0]}
                if names := [n for n in _create_only(new[key]) if near & set(_referred(_property(new[key], n)))]:
                    causes[key] = tuple(names)
        spreading = len(causes) > len(replaced)
    return [ResourceChange("modified", *key, new[key]["Type"], causes[key]) for key in sorted(causes)]


@functools.cache
def create_only_properties() -> Mapping[str, Sequence[str]]:
    """By resource type, the properties whose change replaces the resource, from CloudFormation's own schemas."""
    file = files("tierfleet") / "data" / "create_only_properties.json"
    by_type: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return by_type


def _create_only(resource: Mapping[str, Any]) -> Sequence[str]:
    return create_only_properties().get(resource["Type"], ())


def _property(resource: Mapping[str, Any], name: str) -> Any:
    return resource.get("Properties", {}).get(name, _NOTHING)


def _referred(value: Any) -> Iterator[str]:
    """The logical ids that a property refers to."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            if key == "Ref" and isinstance(below, str):
                yield below
            elif key == "Fn::GetAtt" and isinstance(below, list):
                yield str(below[0])
            elif key == "Fn::Sub":
                text = below[0] if isinstance(below, list) else below
                yield from re.findall(r"\$\{(\w+)", str(text))
            yield from _referred(below)
    elif isinstance(value, list):
        for item in value:
            yield from _referred(item)


def _resources(directory: Path | None) -> Resources:
    if directory is None:
        return {}
    if not (directory / "manifest.json").is_file():
        raise FileNotFoundError(f"{directory} has no synthesised assembly; run cdk synth --output {directory}")
    resources = {}
    for file in directory.rglob("*.template.json"):
        stack = _PATH_HASH.sub("", file.name.partition(".")[0])
        for logical_id, resource in read_template(file).get("Resources", {}).items():
            # CDK's paths and asset notes are not deployed as properties.
            resources[stack, logical_id] = {key: value for key, value in resource.items() if key != "Metadata"}
    return resources


def read_template(file: Path) -> dict[str, Any]:
    """The template of a file. Raises ValueError for a file without one, such as half a template."""
    try:
        template: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = "brackets nest too deep" if isinstance(error, RecursionError) else error
        raise ValueError(f"{file} is not a template: {reason}; synthesise again") from error
    resources = template.get("Resources", {}) if isinstance(template, dict) else None
    if not isinstance(resources, dict) or not all(
        isinstance(resource, dict) and isinstance(resource.get("Type"), str) for resource in resources.values()
    ):
        raise ValueError(f"{file} is not a template: it has no table of resources with a type; synthesise again")
    return dict(template)


def _paths(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _paths(old.get(key, _NOTHING), new.get(key, _NOTHING), f"{path}.{key}" if path else key)
    elif old != new:
        yield path
