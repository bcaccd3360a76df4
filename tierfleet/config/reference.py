"""The configuration model as documentation: JSON Schema for editors, Markdown for people."""

import json
import types
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tierfleet.config.container import Container
from tierfleet.config.hosting import TIERS
from tierfleet.config.hosting.dedicated import DedicatedTenant
from tierfleet.config.hosting.multi_container import MultiContainerTenant, TenantContainer
from tierfleet.config.hosting.pipeline import PipelineTenant
from tierfleet.config.hosting.tier import EndpointAlarmLimits, ScheduledCapacity, Tier
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
    """A table per TOML table: key, type, default, meaning and what it becomes in CloudFormation."""
    sections = [_section("Top level", FleetConfig)]
    seen: set[type[BaseModel]] = set()
    own_section = {model for _, model in _TIER_TABLES}
    for name, field in FleetConfig.model_fields.items():
        for model in _models(field.annotation):
            if model not in TIERS.values():
                sections.append(_section(f"[{name}]", model))
                seen.add(model)
    for title, model in _TIER_TABLES:
        sections.append(_section(title, model, _as_above(model, seen)))
        seen.add(model)
        for name, field in model.model_fields.items():
            for inner in _models(field.annotation):
                if inner not in seen and not issubclass(inner, PinnedModel) and inner not in own_section:
                    sections.append(_section(f"[tiers.<tier>.{name}]", inner, _as_above(inner, seen)))
                    seen.add(inner)
    return "\n".join(sections)


def _as_above(model: type[BaseModel], seen: set[type[BaseModel]]) -> list[str]:
    """Keys of a table that a table before it has too, with the same meaning."""
    for base in (Tier, EndpointAlarmLimits, Container):
        if issubclass(model, base) and model is not base and any(issubclass(other, base) for other in seen):
            described = {name: field.description for name, field in model.model_fields.items()}
            return [name for name, field in base.model_fields.items() if described[name] == field.description]
    return []


def _section(title: str, model: type[BaseModel], as_above: Sequence[str] = ()) -> str:
    lines = [f"### {title}", "", " ".join((model.__doc__ or "").split()), ""]
    if as_above:
        lines += [f"As above: {', '.join(f'`{name}`' for name in as_above)}. And:", ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name in as_above:
            continue
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        lines.append(f"| `{name}` | {_type(field)} | {_default(field)} | {meaning} |")
    return "\n".join([*lines, ""])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "see there"
    if field.default is None:
        return "none"
    if isinstance(field.default, BaseModel):
        return "its own defaults"
    return f"`{json.dumps(field.default)}`"


def _type(field: FieldInfo) -> str:
    words = dict.fromkeys(_word(annotation) for annotation in _leaves(field.annotation))
    limits = [text for item in (*field.metadata, *_inner_metadata(field.annotation)) if (text := _limit(item))]
    return ", ".join([" or ".join(words), *limits])


def _inner_metadata(annotation: Any) -> Iterator[Any]:
    """The limits of the alternatives of an optional value."""
    for part in get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ():
        for item in getattr(part, "__metadata__", ()):
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)


def _word(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(annotation, "table")


def _limit(item: Any) -> str:
    for attribute, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
        if (value := getattr(item, attribute, None)) is not None:
            return f"{sign} {value:,}" if isinstance(value, int) and value > 99_999 else f"{sign} {value:g}"
    return ""


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
