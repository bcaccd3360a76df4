"""The part of CloudWatch's metric math that alarms use: arithmetic, comparisons, IF, FILL, MIN, MAX, ABS."""

import ast
import operator
from collections.abc import Callable

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


def evaluate(expression: str, series_by_id: dict[str, Series], periods: int) -> Series:
    """The expression's value in each period; missing where an operand is missing or a division is by zero."""
    tree = _parse(expression)
    return [_at(tree, {name: series[i] for name, series in series_by_id.items()}) for i in range(periods)]


def names_in(expression: str) -> set[str]:
    """The ids an expression refers to."""
    nodes = list(ast.walk(_parse(expression)))
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in functions}


def check(expression: str, known_ids: set[str]) -> None:
    """Raise UnsupportedExpressionError for what `evaluate` could not do."""
    if unknown := names_in(expression) - known_ids:
        raise UnsupportedExpressionError(f"unknown ids {sorted(unknown)} in metric math expression {expression!r}")
    for node in ast.walk(_parse(expression)):
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS:
                raise UnsupportedExpressionError(f"unsupported function in metric math expression {expression!r}")
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


def _at(node: ast.expr, values: dict[str, float | None]) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _at(operand, values)
            return None if value is None else -value
        case ast.BinOp(left=left, op=op, right=right):
            return _combined(_ARITHMETIC[type(op)], _at(left, values), _at(right, values))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _combined(_COMPARISONS[type(op)], _at(left, values), _at(right, values))
        case ast.BoolOp(op=op, values=operands):
            truths = [_at(operand, values) for operand in operands]
            if any(truth is None for truth in truths):
                return None
            return float(all(truths) if isinstance(op, ast.And) else any(truths))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _FUNCTIONS[name](arguments, values)
    raise UnsupportedExpressionError(f"unsupported metric math: {ast.unparse(node)}")


def _combined(operation: Callable[[float, float], float], a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    try:
        return float(operation(a, b))
    except ZeroDivisionError:
        return None


def _if(arguments: list[ast.expr], values: dict[str, float | None]) -> float | None:
    condition = _at(arguments[0], values)
    if condition is None:
        return None
    if condition:
        return _at(arguments[1], values)
    return _at(arguments[2], values) if len(arguments) > 2 else None


def _fill(arguments: list[ast.expr], values: dict[str, float | None]) -> float | None:
    value = _at(arguments[0], values)
    return _at(arguments[1], values) if value is None else value


def _over(
    function: Callable[..., float],
) -> Callable[[list[ast.expr], dict[str, float | None]], float | None]:
    def apply(arguments: list[ast.expr], values: dict[str, float | None]) -> float | None:
        elements = arguments[0].elts if isinstance(arguments[0], ast.List) else arguments
        numbers = [n for n in (_at(element, values) for element in elements) if n is not None]
        return float(function(numbers)) if numbers else None

    return apply


_FUNCTIONS: dict[str, Callable[[list[ast.expr], dict[str, float | None]], float | None]] = {
    "IF": _if,
    "FILL": _fill,
    "MIN": _over(min),
    "MAX": _over(max),
    "SUM": _over(sum),
    "ABS": _over(lambda numbers: abs(numbers[0])),
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
