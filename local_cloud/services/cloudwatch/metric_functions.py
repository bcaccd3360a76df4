"""The functions of metric math."""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

# One value a period, newest first; None where a period has no data.
Series = list[float | None]


@dataclass(frozen=True)
class Place:
    """One period of the series that an expression may name, with the evaluator of its parts there."""

    evaluate: Callable[[ast.expr, "Place"], float | None]
    series: dict[str, Series]
    index: int
    periods: int
    period_seconds: int

    def value(self, node: ast.expr) -> float | None:
        return self.evaluate(node, self)

    def at(self, index: int) -> "Place":
        return replace(self, index=index)


Function = Callable[[list[ast.expr], Place], float | None]
REPEAT = "REPEAT"


def _if(arguments: list[ast.expr], place: Place) -> float | None:
    condition = place.value(arguments[0])
    if condition is None:
        return None
    if condition:
        return place.value(arguments[1])
    return place.value(arguments[2]) if len(arguments) > 2 else None


def _fill(arguments: list[ast.expr], place: Place) -> float | None:
    value = place.value(arguments[0])
    if value is not None:
        return value
    if isinstance(arguments[1], ast.Name) and arguments[1].id == REPEAT:
        return next((older for older, _ in _older(arguments[0], place)), None)
    return place.value(arguments[1])


def _older(node: ast.expr, place: Place) -> list[tuple[float, int]]:
    """The values of earlier periods that have one, with how many periods earlier, newest first."""
    values = ((place.at(index).value(node), index - place.index) for index in range(place.index + 1, place.periods))
    return [(value, periods) for value, periods in values if value is not None]


def _change(arguments: list[ast.expr], place: Place, *, a_second: bool) -> float | None:
    value = place.value(arguments[0])
    before = _older(arguments[0], place)[:1]
    if value is None or not before:
        return None
    [(earlier, periods)] = before
    return (value - earlier) / (periods * place.period_seconds if a_second else 1)


def _over(function: Callable[[list[float]], float]) -> Function:
    """Over an array of series: a value for each period. Over one series: one value, that of the whole series."""

    def apply(arguments: list[ast.expr], place: Place) -> float | None:
        if isinstance(arguments[0], ast.List):
            values = [place.value(element) for element in arguments[0].elts]
        else:
            values = [place.at(index).value(arguments[0]) for index in range(place.periods)]
        numbers = [number for number in values if number is not None]
        return float(function(numbers)) if numbers else None

    return apply


def _each(function: Callable[[float], float]) -> Function:
    def apply(arguments: list[ast.expr], place: Place) -> float | None:
        value = place.value(arguments[0])
        return None if value is None else float(function(value))

    return apply


# Each with the numbers of arguments it takes.
FUNCTIONS: dict[str, tuple[Function, tuple[int, ...]]] = {
    "IF": (_if, (2, 3)),
    "FILL": (_fill, (2,)),
    "MIN": (_over(min), (1,)),
    "MAX": (_over(max), (1,)),
    "SUM": (_over(sum), (1,)),
    "AVG": (_over(lambda numbers: sum(numbers) / len(numbers)), (1,)),
    "ABS": (_each(abs), (1,)),
    "CEIL": (_each(math.ceil), (1,)),
    "FLOOR": (_each(math.floor), (1,)),
    "DIFF": (lambda arguments, place: _change(arguments, place, a_second=False), (1,)),
    "RATE": (lambda arguments, place: _change(arguments, place, a_second=True), (1,)),
    "PERIOD": (lambda _arguments, place: float(place.period_seconds), (1,)),
}
