"""CloudFormation's own resource schemas: no property may be skipped silently.

The schemas are the public registry's, as cfn-lint ships them as data. Names are checked at every depth,
and required properties, enumerations, patterns and numeric bounds where the schema states them plainly.
"""

import functools
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

Schema = dict[str, Any]


@functools.cache
def schema_of(resource_type: str, region: str) -> Schema | None:
    """The registry schema of one type, or None for a type it does not list (Custom::*)."""
    folder = _schemas_folder()
    resource_file = _resource_files(region).get(resource_type)
    if resource_file is None:
        return None
    schema: Schema = json.loads((folder / "resources" / f"{resource_file}.json").read_text())
    return schema


def create_only_properties(resource_type: str, region: str) -> tuple[str, ...]:
    """The top-level properties whose change means a new physical resource."""
    schema = schema_of(resource_type, region) or {}
    paths = (path.removeprefix("/properties/") for path in schema.get("createOnlyProperties", ()))
    return tuple(sorted(path for path in paths if "/" not in path))


def property_errors(resource_type: str, properties: dict[str, Any], region: str) -> list[str]:
    """Everything CloudFormation would refuse about these resolved properties; empty means accepted."""
    schema = schema_of(resource_type, region)
    if schema is None:
        return []
    errors = [
        f"#/{name}: read-only property, cannot be specified"
        for name in (path.removeprefix("/properties/") for path in schema.get("readOnlyProperties", ()))
        if name in properties
    ]
    return errors + _errors(properties, schema, schema, "#")


def _errors(value: Any, node: Schema, root: Schema, path: str) -> list[str]:
    node = _resolved(node, root)
    if isinstance(value, dict):
        return _object_errors(value, node, root, path)
    if isinstance(value, list):
        items = node.get("items", {})
        # ministack resolves an empty CommaDelimitedList parameter to [""].
        present = [(i, item) for i, item in enumerate(value) if item != ""]
        return [error for i, item in present for error in _errors(item, items, root, f"{path}/{i}")]
    return _scalar_errors(value, node, path)


def _object_errors(value: dict[str, Any], node: Schema, root: Schema, path: str) -> list[str]:
    known = node.get("properties")
    if known is None:
        return []
    errors = [f"{path}/{name}: required property is missing" for name in node.get("required", ()) if name not in value]
    for name, item in value.items():
        if name in known:
            errors += _errors(item, known[name], root, f"{path}/{name}")
        elif not node.get("patternProperties"):
            errors.append(f"{path}/{name}: unknown property, expected one of {', '.join(sorted(known))}")
    return errors


def _scalar_errors(value: Any, node: Schema, path: str) -> list[str]:
    errors = []
    allowed = node.get("enum")
    if allowed and str(value) not in {str(option) for option in allowed}:
        errors.append(f"{path}: {value!r} is not one of {', '.join(map(str, allowed))}")
    if node.get("type") in ("integer", "number"):
        try:
            number = float(value)
        except (TypeError, ValueError):
            return [*errors, f"{path}: {value!r} is not a number"]
        if number < node.get("minimum", number) or number > node.get("maximum", number):
            errors.append(f"{path}: {value!r} is outside {node.get('minimum')}..{node.get('maximum')}")
    if isinstance(value, str) and node.get("type") == "string":
        if len(value) > node.get("maxLength", len(value)):
            errors.append(f"{path}: longer than {node['maxLength']} characters")
        if (pattern := _python_pattern(node.get("pattern"))) and not pattern.search(value):
            errors.append(f"{path}: {value!r} does not match {node['pattern']}")
    return errors


def _resolved(node: Schema, root: Schema) -> Schema:
    while "$ref" in node:
        target: Any = root
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


@functools.cache
def _python_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """None for no pattern and for one in a dialect `re` cannot read, such as \\p{L}."""
    try:
        return re.compile(pattern) if pattern else None
    except re.error:
        return None


@functools.cache
def _resource_files(region: str) -> dict[str, str]:
    files: dict[str, str] = json.loads((_schemas_folder() / "providers" / f"{region}.json").read_text())
    return files


@functools.cache
def _schemas_folder() -> Path:
    spec = importlib.util.find_spec("cfnlint")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("cfn-lint is not installed: pip install -r requirements-local.txt -c constraints.txt")
    return Path(spec.submodule_search_locations[0], "data", "schemas")
