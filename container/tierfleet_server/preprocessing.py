"""What a tenant's rows go through before the model: declared in the metadata as data, never as code."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .refusal import BadModel, shown

_STEPS = ("categories", "fill", "clip", "scale")
# Python's own allocator: up to this size it has an object itself, and rounds the two of a pair up to 16 bytes.
_SMALL_BYTES, _ROUNDING_BYTES = 512, 16
_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Preprocessing:
    """Steps by column number, applied in this order: categories, fill, clip, scale. Empty = the row as it is.

    categories: text -> code. fill: the value of a missing one. clip: (lowest, highest).
    scale: (value - center) / width.
    """

    categories: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    fill: Mapping[int, float] = field(default_factory=dict)
    clip: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    scale: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Memory that the steps take: Python's own allocator has it, so that the C allocator counts none of it."""
        codes = sum(map(_table_bytes, self.categories.values()))
        steps = (self.categories, 0), (self.fill, 0), (self.clip, 2), (self.scale, 2)
        return codes + sum(_table_bytes(step, numbers) for step, numbers in steps)

    def __bool__(self) -> bool:
        return bool(self.categories or self.fill or self.clip or self.scale)

    @classmethod
    def from_metadata(cls, steps: object, features: int, names: tuple[str, ...]) -> "Preprocessing":
        """Read the metadata's `preprocessing`; raises BadModel for a step, column or value not allowed."""
        if not isinstance(steps, dict) or any(step not in _STEPS for step in steps):
            raise BadModel(
                f"preprocessing {shown(steps)} is not allowed; it may hold {', '.join(_STEPS)}; "
                "for anything richer put a container of your own before the model in an inference pipeline "
                "(docs/container.md)"
            )
        places = {name: place for place, name in enumerate(names)}
        columns = {step: _columns(step, by_name, features, places) for step, by_name in steps.items()}
        return cls(
            categories={
                column: {text: _number("categories", code) for text, code in _table("categories", codes).items()}
                for column, codes in columns.get("categories", {}).items()
            },
            fill={column: _number("fill", value) for column, value in columns.get("fill", {}).items()},
            clip={column: _clip(value) for column, value in columns.get("clip", {}).items()},
            scale={column: _scale(value) for column, value in columns.get("scale", {}).items()},
        )

    def apply(self, rows: npt.NDArray[np.float32]) -> None:
        """Fill, clip and scale the rows in place; categories were mapped when the rows were read."""
        fill, clip, scale = self._columns
        if self.fill:
            part = rows[:, fill[0]]
            rows[:, fill[0]] = np.where(np.isnan(part), fill[1], part)
        if self.clip:
            rows[:, clip[0]] = np.clip(rows[:, clip[0]], clip[1], clip[2])
        if self.scale:
            rows[:, scale[0]] = (rows[:, scale[0]] - scale[1]) / scale[2]

    @cached_property
    def _columns(self) -> list[tuple[npt.NDArray[Any], ...]]:
        """Of each step: the columns and, for each of them, its values."""
        steps: list[Mapping[int, Any]] = [self.fill, self.clip, self.scale]
        return [
            (np.array([*step], np.intp), *np.array([*step.values()], np.float32).reshape(len(step), -1).T)
            if step
            else ()
            for step in steps
        ]


def _table(step: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadModel(f"preprocessing.{step} is {shown(value)}; it must be a table by feature")
    return value


def _table_bytes(table: Mapping[Any, Any], numbers: int = 0) -> int:
    values = sum(map(sys.getsizeof, table.values()))
    pair = _ROUNDING_BYTES + numbers * sys.getsizeof(0.0)
    # A bigger table is the C allocator's.
    return min(sys.getsizeof(table), _SMALL_BYTES) + sum(map(sys.getsizeof, table)) + values + pair * len(table)


def _columns(step: str, by_name: object, features: int, places: Mapping[str, int]) -> dict[int, Any]:
    columns: dict[int, Any] = {}
    for name, value in _table(step, by_name).items():
        column = _column(name, features, places)
        if column in columns:
            raise BadModel(f"preprocessing.{step} names feature {column} twice, the second time as {shown(name)}")
        columns[column] = value
    return columns


def _column(name: str, features: int, places: Mapping[str, int]) -> int:
    if name in places:
        return places[name]
    # No more digits than a number of features can have: Python itself refuses to read thousands.
    if name.isascii() and name.isdigit() and len(name) <= 9 and int(name) < features:
        return int(name)
    raise BadModel(
        f"preprocessing names the feature {shown(name)}; give one of the model's feature names "
        f"or a column number from 0 to {features - 1}"
    )


def _number(step: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX:
        raise BadModel(f"preprocessing.{step} holds {shown(value)}; it must be a finite number within float32 (3.4e38)")
    return float(value)


def _clip(value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise BadModel(f"preprocessing.clip holds {shown(value)}; it must be [lowest, highest]")
    lowest, highest = _number("clip", value[0]), _number("clip", value[1])
    if lowest > highest:
        raise BadModel(f"preprocessing.clip holds {shown(value)}; the lowest comes first")
    return lowest, highest


def _scale(value: object) -> tuple[float, float]:
    if not isinstance(value, dict) or set(value) != {"center", "width"}:
        raise BadModel(f"preprocessing.scale holds {shown(value)}; it must be {{center, width}}")
    center, width = _number("scale", value["center"]), _number("scale", value["width"])
    if np.float32(width) == 0:
        raise BadModel(f"preprocessing.scale has width {width}; it divides as a float32, so it must not be zero")
    return center, width
