"""The part of CloudWatch's metric math that alarms and dashboards use: arithmetic, comparisons, IF, FILL, statistics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

# One value a period, newest first; None where a period has no data.
Series = list[float | None]

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class UnsupportedExpressionError(ValueError):
    """An expression the stand-in cannot evaluate: an error, never a guess."""


@dataclass(frozen=True)
class _Place:
    """One period of the series an expression may name."""

    series: dict[str, Series]
    index: int
    periods: int
    period_seconds: int

    def at(self, index: int) -> "_Place":
        return replace(self, index=index)


def evaluate(expression: str, series_by_id: dict[str, Series], periods: int, period_seconds: int = 60) -> Series:
    """The expression's value in each period; missing where an operand is missing or a division is by zero."""
    tree = _parse(expression)
    return [_at(tree, _Place(series_by_id, index, periods, period_seconds)) for index in range(periods)]


def evaluate_all(
    expressions: dict[str, str], series_by_id: dict[str, Series], periods: int, period_seconds: int
) -> dict[str, Series]:
    """The series given and that of every expression; an expression may name another one, listed before or after it."""
    series, left = dict(series_by_id), dict(expressions)
    while left:
        ready = [id for id, text in left.items() if not names_in(text) & left.keys()]
        if not ready:
            raise UnsupportedExpressionError(f"metric math expressions name each other: {left}")
        for id in ready:
            series[id] = evaluate(left.pop(id), series, periods, period_seconds)
    return series


def names_in(expression: str) -> set[str]:
    """The ids an expression refers to."""
    nodes = list(ast.walk(_parse(expression)))
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in functions} - {_REPEAT}


def check(expression: str, known_ids: set[str]) -> None:
    """Raise UnsupportedExpressionError for what `evaluate` could not do."""
    if unknown := names_in(expression) - known_ids:
        raise UnsupportedExpressionError(f"unknown ids {sorted(unknown)} in metric math expression {expression!r}")
    for node in ast.walk(_parse(expression)):
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS:
                raise UnsupportedExpressionError(f"unsupported function in metric math expression {expression!r}")
            if len(node.args) not in _FUNCTIONS[node.func.id][1]:
                raise UnsupportedExpressionError(
                    f"{node.func.id} takes {' or '.join(map(str, _FUNCTIONS[node.func.id][1]))} argument(s) in metric "
                    f"math expression {expression!r}"
                )
        elif not isinstance(node, _ALLOWED_NODES):
            raise UnsupportedExpressionError(f"unsupported metric math expression {expression!r}")


def _parse(expression: str) -> ast.expr:
    python = expression.replace("&&", " and ").replace("||", " or ").replace("^", "**")
    for word in ("AND", "OR"):
        python = python.replace(f" {word} ", f" {word.lower()} ")
    try:
        return ast.parse(python.strip(), mode="eval").body
    except SyntaxError:
        raise UnsupportedExpressionError(f"cannot read metric math expression {expression!r}") from None


def _at(node: ast.expr, place: _Place) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return place.series[name][place.index]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _at(operand, place)
            return None if value is None else -value
        case ast.BinOp(left=left, op=op, right=right):
            return _combined(_ARITHMETIC[type(op)], _at(left, place), _at(right, place))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _combined(_COMPARISONS[type(op)], _at(left, place), _at(right, place))
        case ast.BoolOp(op=op, values=operands):
            truths = [_at(operand, place) for operand in operands]
            if any(truth is None for truth in truths):
                return None
            return float(all(truths) if isinstance(op, ast.And) else any(truths))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _FUNCTIONS[name][0](arguments, place)
    raise UnsupportedExpressionError(f"unsupported metric math: {ast.unparse(node)}")


def _combined(operation: Callable[[float, float], float], a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    try:
        return float(operation(a, b))
    except ZeroDivisionError:
        return None


def _if(arguments: list[ast.expr], place: _Place) -> float | None:
    condition = _at(arguments[0], place)
    if condition is None:
        return None
    if condition:
        return _at(arguments[1], place)
    return _at(arguments[2], place) if len(arguments) > 2 else None


def _fill(arguments: list[ast.expr], place: _Place) -> float | None:
    value = _at(arguments[0], place)
    if value is not None:
        return value
    if isinstance(arguments[1], ast.Name) and arguments[1].id == _REPEAT:
        return next((older for older, _ in _older(arguments[0], place)), None)
    return _at(arguments[1], place)


def _older(node: ast.expr, place: _Place) -> list[tuple[float, int]]:
    """The values of earlier periods that have one, with how many periods earlier, newest first."""
    found = ((_at(node, place.at(index)), index - place.index) for index in range(place.index + 1, place.periods))
    return [(value, periods) for value, periods in found if value is not None]


def _change(arguments: list[ast.expr], place: _Place, *, a_second: bool) -> float | None:
    value = _at(arguments[0], place)
    before = _older(arguments[0], place)[:1]
    if value is None or not before:
        return None
    [(earlier, periods)] = before
    return (value - earlier) / (periods * place.period_seconds if a_second else 1)


def _over(function: Callable[[list[float]], float]) -> "_Function":
    """Over an array of series: a value for each period. Over one series: one value, that of the whole series."""

    def apply(arguments: list[ast.expr], place: _Place) -> float | None:
        if isinstance(arguments[0], ast.List):
            values = [_at(element, place) for element in arguments[0].elts]
        else:
            values = [_at(arguments[0], place.at(index)) for index in range(place.periods)]
        numbers = [number for number in values if number is not None]
        return float(function(numbers)) if numbers else None

    return apply


def _each(function: Callable[[float], float]) -> "_Function":
    def apply(arguments: list[ast.expr], place: _Place) -> float | None:
        value = _at(arguments[0], place)
        return None if value is None else float(function(value))

    return apply


_Function = Callable[[list[ast.expr], _Place], float | None]
_REPEAT = "REPEAT"
# Each with the numbers of arguments it takes.
_FUNCTIONS: dict[str, tuple[_Function, tuple[int, ...]]] = {
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

_ALLOWED_NODES = (
    ast.BinOp,
    ast.BoolOp,
    ast.Compare,
    ast.Constant,
    ast.List,
    ast.Load,
    ast.Name,
    ast.UnaryOp,
    ast.USub,
    ast.boolop,
    *_ARITHMETIC,
    *_COMPARISONS,
)
