"""The preprocessing of a tenant's rows: declared in the metadata as data, never as code."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from .refusal import BadModel, shown

_STEPS = ("categories", "fill", "clip", "scale")
_SETTINGS = ("missing", "libsvm_base")  # of the metadata itself; `artefact` hands them on with the steps
_MAX = float(np.finfo(np.float32).max)
_LONGEST_CATEGORY = 4096  # characters, as of a feature's name
_PIECE_ENTRIES = 512  # parsed in a fraction of a millisecond, which holds the interpreter
_NUMBER_BYTES, _STEP_BYTES = 32, 256  # a float or int of its own; a column's step with its numbers
_OWN_TABLE_BYTES = 512  # larger tables are from the C allocator, which counts them itself


@dataclass(frozen=True)
class Preprocessing:
    """Steps by column number, in this order: categories, missing, fill, clip, scale. Empty: the row is unchanged.

    missing: the number that means a missing value in every column, if any. libsvm_base: the number of the first column
    in a libsvm row, 0 or 1. categories: text -> code. fill: the value of a missing one. clip: (lowest, highest).
    scale: (value - center) / width. feature_names: of the columns, where the metadata has other names than the model.
    """

    categories: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    fill: Mapping[int, float] = field(default_factory=dict)
    clip: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    scale: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    missing: float | None = None
    libsvm_base: int = 0
    feature_names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.categories or self.fill or self.clip or self.scale or self.missing is not None)

    @classmethod
    def from_metadata(cls, steps: object, features: int, names: tuple[str, ...]) -> "Preprocessing":
        """Read the metadata's `preprocessing`; raises BadModel for a step, column or value not allowed."""
        settings = {}
        if isinstance(steps, dict):
            settings = {name: value for name, value in steps.items() if name in _SETTINGS}
            steps = {name: value for name, value in steps.items() if name not in _SETTINGS}
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
                column: {
                    _category(text): _number("categories", code) for text, code in _table("categories", codes).items()
                }
                for column, codes in columns.get("categories", {}).items()
            },
            fill={column: _number("fill", value) for column, value in columns.get("fill", {}).items()},
            clip={column: _clip(value) for column, value in columns.get("clip", {}).items()},
            scale={column: _scale(value) for column, value in columns.get("scale", {}).items()},
            missing=_missing(settings.get("missing")),
            libsvm_base=_libsvm_base(settings.get("libsvm_base", 0)),
        )

    def pieces(self) -> Iterator[bytes]:
        """The steps as lines of JSON, each a short one: `from_pieces` reads them."""
        for column, codes in self.categories.items():
            yield from _lines("categories", column, codes)
        for step in _STEPS[1:]:
            yield from _lines(step, None, getattr(self, step))
        yield json.dumps(["settings", None, {"missing": self.missing, "libsvm_base": self.libsvm_base}]).encode()
        for at in range(0, len(self.feature_names), _PIECE_ENTRIES):
            yield json.dumps(["names", None, self.feature_names[at : at + _PIECE_ENTRIES]]).encode()

    @classmethod
    def from_pieces(cls, lines: Iterable[bytes]) -> "Preprocessing":
        """What `pieces` of another process wrote."""
        steps: dict[str, Any] = {step: {} for step in _STEPS}
        names: list[str] = []
        for line in lines:
            step, column, part = json.loads(line)
            if step == "settings":
                steps.update(part)
            elif step == "names":
                names += part
            elif step == "categories":
                steps[step].setdefault(column, {}).update(part)
            elif step == "fill":
                steps[step].update((int(number), value) for number, value in part.items())
            else:
                steps[step].update((int(number), tuple(value)) for number, value in part.items())
        return cls(**steps, feature_names=tuple(names))

    @cached_property
    def object_bytes(self) -> int:
        """Bytes of the Python objects in it, which the C allocator does not count."""
        size = _STEP_BYTES * (len(self.categories) + len(self.fill) + len(self.clip) + len(self.scale))
        for codes in self.categories.values():
            table = sys.getsizeof(codes)
            size += (table if table <= _OWN_TABLE_BYTES else 0) + len(codes) * _NUMBER_BYTES
            for text in codes:  # `sum` would hold the interpreter
                size += sys.getsizeof(text)
        for name in self.feature_names:
            size += sys.getsizeof(name)
        return size

    def apply(self, rows: npt.NDArray[np.float32]) -> None:
        """Blank, fill, clip and scale the rows in place; categories were mapped when the rows were read."""
        if self.missing is not None:
            rows[rows == np.float32(self.missing)] = np.nan
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


def _lines(step: str, column: int | None, entries: Mapping[Any, Any]) -> Iterator[bytes]:
    left = iter(entries.items())
    part = dict(islice(left, _PIECE_ENTRIES))
    if not part and column is not None:
        yield json.dumps([step, column, {}]).encode()
    while part:
        yield json.dumps([step, column, part]).encode()
        part = dict(islice(left, _PIECE_ENTRIES))


def _category(text: str) -> str:
    if len(text) > _LONGEST_CATEGORY:
        raise BadModel(
            f"preprocessing.categories holds a text of {len(text)} characters; it may have {_LONGEST_CATEGORY}"
        )
    return text


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


def _missing(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX:
        raise BadModel(f"missing is {shown(value)}; it must be a finite number within float32, such as -999")
    if value and np.float32(value) == 0:
        raise BadModel(f"missing is {value}, which is 0 as a float32, so every 0 would be missing; give 0 to mean that")
    return float(value)


def _libsvm_base(value: object) -> int:
    if type(value) is not int or value not in (0, 1):
        raise BadModel(f"libsvm_base is {shown(value)}; it must be 0 or 1, the number of the first column")
    return value
