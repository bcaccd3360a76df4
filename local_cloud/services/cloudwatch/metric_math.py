"""The part of CloudWatch's metric math that alarms and dashboards use: arithmetic, comparisons, IF, FILL, statistics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import ast
import functools
import operator
from collections.abc import Callable

from local_cloud.services.cloudwatch.metric_functions import FUNCTIONS, REPEAT, Place, Series

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

# Alarms are evaluated again and again, and parsing took half of that time.
_EXPRESSIONS_KEPT = 4096


class UnsupportedExpressionError(ValueError):
    """An expression the local emulator cannot evaluate: an error, never a guess."""


def evaluate(expression: str, series_by_id: dict[str, Series], periods: int, period_seconds: int = 60) -> Series:
    """The expression's value in each period; missing where an operand is missing or a division is by zero."""
    tree = _parse(expression)
    return [_at(tree, Place(_at, series_by_id, index, periods, period_seconds)) for index in range(periods)]


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


@functools.lru_cache(maxsize=_EXPRESSIONS_KEPT)
def names_in(expression: str) -> frozenset[str]:
    """The ids an expression refers to."""
    nodes = list(ast.walk(_parse(expression)))
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    names = {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in functions}
    return frozenset(names - {REPEAT})


def check(expression: str, known_ids: set[str]) -> None:
    """Raise UnsupportedExpressionError for what `evaluate` could not do."""
    if unknown := names_in(expression) - known_ids:
        raise UnsupportedExpressionError(f"unknown ids {sorted(unknown)} in metric math expression {expression!r}")
    for node in ast.walk(_parse(expression)):
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
                raise UnsupportedExpressionError(f"unsupported function in metric math expression {expression!r}")
            if len(node.args) not in FUNCTIONS[node.func.id][1]:
                raise UnsupportedExpressionError(
                    f"{node.func.id} takes {' or '.join(map(str, FUNCTIONS[node.func.id][1]))} argument(s) in metric "
                    f"math expression {expression!r}"
                )
        elif not isinstance(node, _ALLOWED_NODES):
            raise UnsupportedExpressionError(f"unsupported metric math expression {expression!r}")


@functools.lru_cache(maxsize=_EXPRESSIONS_KEPT)
def _parse(expression: str) -> ast.expr:
    python = expression.replace("&&", " and ").replace("||", " or ").replace("^", "**")
    for word in ("AND", "OR"):
        python = python.replace(f" {word} ", f" {word.lower()} ")
    try:
        return ast.parse(python.strip(), mode="eval").body
    except SyntaxError:
        raise UnsupportedExpressionError(f"cannot read metric math expression {expression!r}") from None


def _at(node: ast.expr, place: Place) -> float | None:
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
            return FUNCTIONS[name][0](arguments, place)
    raise UnsupportedExpressionError(f"unsupported metric math: {ast.unparse(node)}")


def _combined(operation: Callable[[float, float], float], a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    try:
        return float(operation(a, b))
    except ZeroDivisionError:
        return None


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
