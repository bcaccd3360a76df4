"""The shape of a key, from the model: which keys a table knows, and how a value is written."""

import json
import math
import types
from collections.abc import Mapping
from datetime import date, time
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def known_keys(annotation: Any, loc: tuple[int | str, ...]) -> list[str]:
    """The keys of the table around `loc`, empty where it is not a table of the model."""
    holder = _annotation_at(annotation, loc[:-1])
    return list(holder.model_fields) if _is_model(holder) else []


def how_to_write(annotation: Any, loc: tuple[int | str, ...], key: str, value: Any) -> str:
    """What to write for the key at `loc` instead of a value of another shape; empty where the shape is not known."""
    wanted = _annotation_at(annotation, loc)
    if _is_model(wanted):
        return f"write {key} = {_table(wanted, value)}"
    if get_origin(wanted) is tuple:
        items = _text(value) if isinstance(value, str) else '"a", "b"'
        return f"write a list: {key} = [{items}]"
    if _origin(wanted) is Mapping:
        return f"write a table: {key} = {{ name = {_example(get_args(wanted)[1])} }}"
    if wanted is bool:
        return f"write {key} = true or {key} = false, without quotes"
    if wanted in (int, float):
        number = "a whole number" if wanted is int else "a number"
        return f"write {number} without quotes: {key} = {value if _is_number(value, wanted) else '1'}"
    if wanted is str:
        return f"quote it: {key} = {_text(value)}" if isinstance(value, int | float | date | time) else "write text"
    return ""


def _table(model: type[BaseModel], value: Any) -> str:
    required = {name: field for name, field in model.model_fields.items() if field.is_required()}
    if len(required) == 1 and isinstance(value, str):
        return f"{{ {next(iter(required))} = {_text(value)} }}"
    shown = required or dict(list(model.model_fields.items())[:1])
    parts = (f"{name} = {_example(field.annotation)}" for name, field in shown.items())
    return f"{{ {', '.join(parts)} }}"


def _example(annotation: Any) -> str:
    wanted = _plain(annotation)
    if _is_model(wanted):
        return "{ ... }"
    if get_origin(wanted) is Literal:
        return json.dumps(get_args(wanted)[0])
    return {str: '"..."', int: "1", float: "1.0", bool: "true"}.get(wanted, "...")


def _annotation_at(annotation: Any, loc: tuple[int | str, ...]) -> Any:
    wanted = _plain(annotation)
    for part in loc:
        if part == "[key]":
            wanted = str
        elif _is_model(wanted) and part in wanted.model_fields:
            wanted = _plain(wanted.model_fields[part].annotation)
        elif _origin(wanted) is Mapping:
            wanted = _plain(get_args(wanted)[1])
        elif get_origin(wanted) is tuple:
            wanted = _plain(get_args(wanted)[0])
        else:
            return None
    return wanted


def _plain(annotation: Any) -> Any:
    """The type itself, without its limits and without None."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(part for part in get_args(annotation) if part is not types.NoneType)
        else:
            return annotation


def _origin(annotation: Any) -> Any:
    origin = get_origin(annotation)
    return Mapping if isinstance(origin, type) and issubclass(origin, Mapping) else origin


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_number(value: Any, kind: type) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return math.isfinite(kind(value))
    except (ValueError, OverflowError):
        return False


def _text(value: Any) -> str:
    text = value.isoformat() if isinstance(value, date | time) else str(value)
    return json.dumps(text if len(text) <= 60 else text[:57] + "...", ensure_ascii=False)
