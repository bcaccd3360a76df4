"""The configuration model as documentation: JSON Schema for editors, Markdown for people."""

import json
import types
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tierfleet import aws_limits
from tierfleet.config.hosting import TIERS
from tierfleet.config.hosting.dedicated import DedicatedTenant
from tierfleet.config.hosting.multi_container import MultiContainerTenant, TenantContainer
from tierfleet.config.hosting.pipeline import PipelineTenant
from tierfleet.config.hosting.scaling import ScheduledCapacity
from tierfleet.config.model import FleetConfig
from tierfleet.config.section import PinnedModel

# The name of each table in a fleet file, in the order of the reference.
_TIER_TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    *((f'[tiers.<tier>], hosting = "{hosting}"', tier) for hosting, tier in TIERS.items()),
    ("[tiers.<tier>.tenants]: `<tenant> = { ... }`", DedicatedTenant),
    ("[tiers.<tier>.tenants.<tenant>], of a multi-container tier", MultiContainerTenant),
    ("[[tiers.<tier>.tenants.<tenant>.containers]]", TenantContainer),
    ("[tiers.<tier>.tenants] of a pipeline", PipelineTenant),
    ("[tiers.<tier>.scaling.schedules.<name>]", ScheduledCapacity),
)


def json_schema() -> str:
    """The JSON Schema (2020-12) of a fleet file, as the text of config/fleet.schema.json."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tierfleet fleet file",
        **FleetConfig.model_json_schema(),
    }
    schema["properties"]["$schema"] = {"type": "string"}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def configuration_markdown() -> str:
    """A list per TOML table: key, type, default, meaning and what it becomes in CloudFormation."""
    lines: set[str] = set()
    sections = [_section("Top level", FleetConfig, lines)]
    seen: set[type[BaseModel]] = set()
    own_section = {model for _, model in _TIER_TABLES}
    for name, field in FleetConfig.model_fields.items():
        for model in _models(field.annotation):
            if model not in TIERS.values():
                sections.append(_section(f"[{name}]", model, lines))
                seen.add(model)
    for title, model in _TIER_TABLES:
        sections.append(_section(title, model, lines))
        seen.add(model)
        for name, field in model.model_fields.items():
            for inner in _models(field.annotation):
                if inner not in seen and not issubclass(inner, PinnedModel) and inner not in own_section:
                    sections.append(_section(f"[tiers.<tier>.{name}]", inner, lines))
                    seen.add(inner)
    return "\n".join(sections)


def _section(title: str, model: type[BaseModel], before: set[str]) -> str:
    """One table's keys, a line each. A line that an earlier table has too is named only, and `before` grows."""
    own = {name: _line(name, field) for name, field in model.model_fields.items()}
    as_above = [name for name, line in own.items() if line in before]
    before.update(own.values())
    lines = [f"### {title}", "", " ".join((model.__doc__ or "").split()), ""]
    if as_above:
        more = " And:" if len(as_above) < len(own) else ""
        lines += [f"As above: {', '.join(f'`{name}`' for name in as_above)}.{more}", ""]
    return "\n".join([*lines, *(line for name, line in own.items() if name not in as_above), ""])


def _line(name: str, field: FieldInfo) -> str:
    return f"- `{name}` ({_type(field)}; {_default(field)}): {' '.join((field.description or '').split())}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None or field.default is None or isinstance(field.default, BaseModel):
        return "optional"
    return f"default `{json.dumps(field.default)}`"


def _type(field: FieldInfo) -> str:
    words = dict.fromkeys(_word(annotation) for annotation in _leaves(field.annotation))
    limits = _limits((*field.metadata, *_inner_metadata(field.annotation)))
    return ", ".join([" or ".join(words), *limits])


def _inner_metadata(annotation: Any) -> Iterator[Any]:
    """The limits of the alternatives of an optional value."""
    for part in get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ():
        for item in getattr(part, "__metadata__", ()):
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)


def _word(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        values = [f"`{value}`" for value in get_args(annotation)]
        return f"one of {', '.join(values)}" if len(values) > 3 else " or ".join(values)
    if get_origin(annotation) is tuple:
        return "list"
    return {str: "text", int: "integer", float: "number", bool: "true or false"}.get(annotation, "table")


def _limits(items: Iterable[Any]) -> list[str]:
    """`1 to 3600`, or one side. Nothing for the greatest integer that CloudFormation takes: no fleet comes near it."""
    limits = {
        attribute: f"{value:,}" if isinstance(value, int) and value > 99_999 else f"{value:g}"
        for item in items
        for attribute in ("ge", "gt", "le", "lt")
        if (value := getattr(item, attribute, None)) is not None and value != aws_limits.INTEGER
    }
    if limits.keys() == {"ge", "le"}:
        return [f"{limits['ge']} to {limits['le']}"]
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return [f"{signs[attribute]} {value}" for attribute, value in limits.items()]


def _leaves(annotation: Any) -> Iterator[Any]:
    """The alternatives of a type, without None and without pydantic's annotations."""
    if hasattr(annotation, "__metadata__"):
        yield from _leaves(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            if part is not type(None):
                yield from _leaves(part)
    else:
        yield annotation


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for leaf in _leaves(annotation):
        if isinstance(leaf, type) and issubclass(leaf, BaseModel):
            yield leaf
        elif get_origin(leaf) is not None:
            for part in get_args(leaf):
                yield from _models(part)
