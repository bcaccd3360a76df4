"""application/json: [...], [[...], ...], {"instances": [[...], ...]} or {"instances": [{"features": [...]}]}."""

import math
from collections.abc import Generator
from typing import Any

from ..cost import Pace
from ..model.refusal import Refusal, shown
from .json_text import STEPS, Cursor, NotJson, TooLong, as_utf8
from .rows import Block, Blocks, Categories, Filling, check_room, check_width, code, too_long

_NO_ROWS = 'the JSON body has no rows; send [[...], ...], one row [...], or {"instances": [[...], ...]}'
_TOO_MANY = 50_000  # values beyond the model's features, after which they are no longer counted
_SHORT = 4096  # values that are put into a row at once
_Row = Generator[None, None, None]


def read(body: bytes, features: int, categories: Categories, pace: Pace) -> Blocks:
    """Blocks of rows; raises Refusal."""
    try:
        cursor = Cursor((yield from as_utf8(body)))
        has_rows = False
        if cursor.peek() == "[":
            yield from _rows(cursor, features, categories, pace)
            has_rows = True
        elif cursor.peek() == "{":
            has_rows = yield from _members(cursor, features, categories, pace)
        else:
            yield from cursor.skip()
        cursor.end()
    except (NotJson, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {shown(str(error))}") from None
    if not has_rows:
        raise Refusal(400, _NO_ROWS)


def _members(cursor: Cursor, features: int, categories: Categories, pace: Pace) -> Generator[Block | None, None, bool]:
    """The members of the outermost object; whether `instances` held rows. If there are several, the last one counts."""
    has_rows = False
    members = 0
    cursor.take("{", "Expecting value")
    if cursor.peek() == "}":
        cursor.take("}", "")
        return False
    while True:
        if (yield from _key(cursor)) != "instances":
            yield from cursor.skip()
        elif cursor.peek() == "[":
            yield from _rows(cursor, features, categories, pace)
            has_rows = True
        else:
            yield from cursor.skip()
            has_rows = False
        members += 1
        if members % STEPS == 0:
            yield None
        if cursor.take(",}", "Expecting ',' delimiter") == "}":
            return has_rows


def _key(cursor: Cursor) -> Generator[None, None, str | None]:
    """The name of the next member, None if it is longer than any that counts; the cursor is before its value."""
    if cursor.peek() != '"':
        raise cursor.error("Expecting property name enclosed in double quotes")
    name: str | None = None
    try:
        name = cursor.value()
    except TooLong:
        yield from cursor.skip()
    cursor.take(":", "Expecting ':' delimiter")
    return name


def _rows(cursor: Cursor, features: int, categories: Categories, pace: Pace) -> Blocks:
    filling = Filling(features, pace)
    cursor.take("[", "Expecting value")
    first = cursor.peek()
    if first == "]":
        raise Refusal(400, _NO_ROWS)
    if first and first not in "[{":
        yield from _list(cursor, filling, categories)
        yield filling.full() or filling.rest()
        return
    long = False  # if one row is too long to be built, the next one probably is
    while True:
        check_room(filling.row + 1, features)
        try:
            if long and cursor.peek() == "[":
                raise TooLong
            _put_row(cursor.value(), filling, categories)
        except TooLong:
            long = True
            yield from _long_row(cursor, filling, categories)
        block = filling.full()
        if block is not None:
            pace.read = cursor.read
            yield block
        if not cursor.more():
            yield filling.rest()
            return


def _put_row(item: object, filling: Filling, categories: Categories) -> None:
    row = filling.row
    values = item.get("features") if isinstance(item, dict) else item
    if not isinstance(values, list):
        raise Refusal(400, f'row {row} is {shown(item)}; a row is a list, or {{"features": [...]}}')
    check_width(row, len(values), filling.features)
    _put(values, filling, 0, categories)


def _put(values: list[Any], filling: Filling, column: int, categories: Categories) -> None:
    if not categories and set(map(type, values)) <= {float}:
        filling.add(values)
    else:
        row = filling.row
        filling.add([_cell(value, row, column + at, categories) for at, value in enumerate(values)])


def _cell(value: object, row: int, column: int, categories: Categories) -> float:
    if value is None:
        return math.nan
    if column in categories:
        return code(value, row, column, categories[column])
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value) if abs(value) < 2**200 else math.inf
    raise Refusal(400, f"row {row}, feature {column} is {shown(value)}, not a number; use null if it is missing")


def _long_row(cursor: Cursor, filling: Filling, categories: Categories) -> _Row:
    """A row that is longer than the window: a list, or an object with the list `features`."""
    row, first = filling.row, cursor.peek()
    if first == "[":
        cursor.take("[", "")
        yield from _list(cursor, filling, categories)
        return
    has_features = False
    if first == "{":
        cursor.take("{", "")
        members = 0
        while True:
            members += 1
            if members % STEPS == 0:
                yield
            name = yield from _key(cursor)
            if name == "features" and cursor.peek() == "[":
                cursor.take("[", "")
                yield from _list(cursor, filling, categories)
                has_features = True
            else:
                yield from cursor.skip()
                has_features = has_features and name != "features"
            if cursor.take(",}", "Expecting ',' delimiter") == "}":
                break
    if not has_features:
        raise Refusal(400, f'row {row} is too long and no row; a row is a list, or {{"features": [...]}}')


def _list(cursor: Cursor, filling: Filling, categories: Categories) -> _Row:
    """The values of one row, the cursor behind its `[`. Its width is said before what is wrong with a value."""
    row, features = filling.row, filling.features
    width = steps = 0
    wrong: Refusal | None = None
    while cursor.peek() != "]" or width:
        values = cursor.flat_values()
        if not values:
            try:
                values = [cursor.value()]
            except TooLong:
                yield from cursor.skip()
                values = [None]
                wrong = wrong or too_long(row, width)
        if width + len(values) <= features and wrong is None:
            try:
                for at in range(0, len(values), _SHORT):
                    _put(values[at : at + _SHORT], filling, width + at, categories)
            except Refusal as refusal:
                wrong = refusal
        width += len(values)
        if width > features + _TOO_MANY:
            raise Refusal(400, f"row {row} has more than {width - 1} features; the model has {features}")
        steps += 1
        if len(values) > 1 or steps % STEPS == 0:
            yield
        if cursor.take(",]", "Expecting ',' delimiter") == "]":
            break
    else:
        cursor.take("]", "")
    check_width(row, width, features)
    if wrong is not None:
        raise wrong
