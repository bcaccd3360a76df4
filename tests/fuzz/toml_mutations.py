"""Seeded mutations of fleet files: of the values of the document, and of the bytes of the file."""

import copy
import json
from collections.abc import Callable
from datetime import date, datetime, time
from random import Random
from typing import Any

Path = tuple[Any, ...]

NUMBERS = (0, 1, -1, 2, 3, 59, 60, 61, 99, 100, 101, 419, 420, 512, 513, 600, 3600, 3601, 28_800, 2**31 - 1, 2**31)
NUMBERS += (2**63, 2**64, -(2**63), 10**18)
FLOATS = (0.0, -0.0, 0.5, 1.0, 1.5, 1e-300, 1e15, 1e300, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    *(
        "",
        " ",
        "x",
        "a" * 41,
        "a" * 64,
        "a" * 300,
        "-",
        "--",
        "all",
        "Tail",
        "xn",
        "sthree",
        "3m",
        "1a",
        "aws",
        "h-abcdefghijkl",
    ),
    *(
        "é",
        "\ufeff",
        "\x00",
        "\x7f",
        "\u2028",
        "\U0001f600",
        "a\nb",
        "a\tb",
        "../x",
        "/dev/zero",
        "a/b",
        "{}",
        "${x}",
        "%s",
        "][",
    ),
    *("eu-west-1", "us-east-1", "cn-north-1", "us-gov-west-1", "eu-west-9", "eu-west-1a", "123456789012", "1234"),
    *(
        "ml.m5.large",
        "ml.m4.xlarge",
        "ml.g5.xlarge",
        "ml.m5d.xlarge",
        "ml.t2.medium",
        "ml.m6g.large",
        "ml.m5.huge",
        "m5.large",
    ),
    *("sagemaker-xgboost", "sagemaker-scikit-learn", "tierfleet", "1.7-1", "3.0-5", "multi-model", "dedicated"),
    *(
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/a:1",
        "nginx:1",
    ),
    *("text/csv", "application/json", "text/libsvm", "text/", "text/csv; a=b", "0,0,0", "a,b", "[[0]]"),
    *("cron(0 9 * * ? *)", "cron(0 9 ? * 2/2 *)", "cron(*/0 9 * * ? *)", "cron(0 9 30 2 ? *)", "cron(0 9 L * ? *)"),
    *(
        "rate(5 minutes)",
        "rate(1 minutes)",
        "rate(999999999 days)",
        "at(2027-02-30T00:00:00)",
        "at(2027-02-28T00:00:00)",
    ),
    *(
        "UTC",
        "Europe/London",
        "Factory",
        "localtime",
        "europe/london",
        "aws:x",
        "AWS:x",
        "Environment",
        "CANARY",
        "LINEAR",
    ),
    *(
        "ALL_AT_ONCE",
        "Enabled",
        "w1/1.tar.gz",
        "w1/../2.tar.gz",
        "https://example.com/r.md",
        "http://x",
        "https://" + "x" * 300,
    ),
    "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555",
    "arn:aws-cn:kms:cn-north-1:123456789012:key/11111111-2222-3333-4444-555555555555",
    *("arn:aws:kms:eu-west-1:123456789012:alias/x", "subnet-0123456789abcdef0", "subnet-1", "sg-0123456789abcdef0"),
    "550e8400-e29b-41d4-a716-446655440000",
)
SOUND_TEXTS = (
    *(
        "ml.m5.xlarge",
        "ml.r5.2xlarge",
        "ml.m7i.large",
        "eu-west-1",
        "us-east-1",
        "eu-central-1",
        "3.0-5",
        "t5",
        "x",
        "UTC",
    ),
    *("cron(0/30 8 ? * MON-FRI *)", "rate(6 hours)", "at(2027-02-28T00:00:00)", "text/csv", "0.5,1,2", "Asia/Tokyo"),
    *("w1/2.tar.gz", "https://example.com/other.md", "LINEAR", "ALL_AT_ONCE", "CANARY", "Disabled"),
)
OTHERS: tuple[Any, ...] = (
    True,
    False,
    date(2027, 1, 1),
    time(7, 45),
    datetime(2027, 1, 1, 7, 45),
    [],
    {},
    [[]],
    {"": ""},
)
KEYS = (
    "min",
    "max",
    "type",
    "tenants",
    "model",
    "tags",
    "network",
    "encryption",
    "guardrail",
    "schedules",
    "x",
    "",
    "ä",
    "a.b",
)


def any_value(random: Random) -> Any:
    """A value that a person, a script or a fault could have left."""
    kind = random.random()
    if kind < 0.3:
        return random.choice(NUMBERS)
    if kind < 0.4:
        return random.choice(FLOATS)
    if kind < 0.85:
        return random.choice(TEXTS)
    return copy.deepcopy(random.choice(OTHERS))


def mutate_document(random: Random, document: dict[str, Any]) -> dict[str, Any]:
    """The document with one to four mutations of its structure."""
    document = copy.deepcopy(document)
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        paths = _paths(document)
        if not paths:
            return document
        path = random.choice(paths)
        random.choice(_MUTATIONS)(random, _at(document, path[:-1]), path[-1], document)
    return document


def _replace(random: Random, table: Any, key: Any, _document: Any) -> None:
    table[key] = any_value(random)


def _gentle(random: Random, table: Any, key: Any, _document: Any) -> None:
    """A value that may well be right: another number near by, another valid text."""
    value = table[key]
    if isinstance(value, bool):
        table[key] = not value
    elif isinstance(value, int | float):
        table[key] = random.choice((value + 1, value - 1, value * 2, value + 10))
    elif isinstance(value, str):
        table[key] = random.choice((value + "1", value + "-b", value.replace("1", "2"), random.choice(SOUND_TEXTS)))
    elif isinstance(value, list):
        random.shuffle(value)
    elif value and isinstance(value, dict):
        table[key] = dict(sorted(value.items()))


def _nudge(random: Random, table: Any, key: Any, _document: Any) -> None:
    """A value of the same type."""
    value = table[key]
    if isinstance(value, bool):
        table[key] = not value
    elif isinstance(value, int):
        table[key] = random.choice(
            (value - 1, value + 1, value * 10, value * 1000, -value, value // 2, random.choice(NUMBERS))
        )
    elif isinstance(value, float):
        table[key] = random.choice((value * 1.1, value / 2, value * 1000, -value, random.choice(FLOATS)))
    elif isinstance(value, str):
        place = random.randrange(len(value) + 1)
        table[key] = random.choice(
            (
                value[:place] + random.choice(TEXTS)[:5] + value[place:],
                value[:place],
                value + value,
                value.upper(),
                value * random.choice((5, 50)),
                random.choice(TEXTS),
            )
        )
    else:
        table[key] = any_value(random)


def _remove(_random: Random, table: Any, key: Any, _document: Any) -> None:
    del table[key]


def _rename(random: Random, table: Any, key: Any, _document: Any) -> None:
    if isinstance(table, dict):
        table[random.choice((*KEYS, str(key).upper(), str(key) + "s", random.choice(TEXTS)))] = table.pop(key)


def _add(random: Random, table: Any, key: Any, _document: Any) -> None:
    if isinstance(table, dict):
        table[random.choice((*KEYS, random.choice(TEXTS)))] = any_value(random)
    else:
        table.insert(key, any_value(random))


def _wrap(random: Random, table: Any, key: Any, _document: Any) -> None:
    table[key] = random.choice(([table[key]], {random.choice(KEYS): table[key]}))


def _grow(random: Random, table: Any, key: Any, _document: Any) -> None:
    """More of what is there: entries of a table, items of a list, characters of a text."""
    value, count = table[key], random.choice((2, 20, 60, 210))
    if isinstance(value, dict) and value:
        name = random.choice(list(value))
        for number in range(count):
            value[f"{name}{number}"] = copy.deepcopy(value[name])
    elif isinstance(value, list) and value:
        table[key] = (
            value * count if random.random() < 0.5 else [*value, *(f"t{number}" for number in range(10 * count))]
        )
    elif isinstance(value, str):
        table[key] = value * count


def _copy_from_elsewhere(random: Random, table: Any, key: Any, document: Any) -> None:
    path = random.choice(_paths(document))
    table[key] = copy.deepcopy(_at(document, path))


_MUTATIONS: tuple[Callable[[Random, Any, Any, Any], None], ...] = (
    _replace,
    _gentle,
    _gentle,
    _gentle,
    _gentle,
    _nudge,
    _nudge,
    _remove,
    _rename,
    _add,
    _wrap,
    _grow,
    _copy_from_elsewhere,
)


def mutate_bytes(random: Random, content: bytes) -> bytes:
    """The file with one fault of its bytes."""
    place = random.randrange(len(content) + 1)
    kind = random.randrange(11)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + random.randbytes(random.choice((1, 2, 8))) + content[place:]
    if kind == 2 and content:
        place = min(place, len(content) - 1)
        return content[:place] + bytes([content[place] ^ (1 << random.randrange(8))]) + content[place + 1 :]
    if kind == 3:
        end = min(len(content), place + random.choice((1, 20, 200)))
        return content[:place] + content[place:end] * 2 + content[end:]
    if kind == 4:
        return b"\xef\xbb\xbf" + content
    if kind == 5:
        return content.decode("utf-8").encode(random.choice(("utf-16", "utf-32", "utf-16-le")))
    if kind == 6:
        return content.decode("utf-8").replace("e", "é").encode("latin-1", "replace")
    if kind == 7:
        bracket = random.choice((b"[", b"{a=", b"[[", b"a."))
        return content[:place] + b"x = " + bracket * random.choice((50, 3000)) + content[place:]
    if kind == 8:
        return content.replace(b"\n", random.choice((b"\r\n", b"\r", b"\0", b" ")))
    if kind == 9:
        return (
            content[:place] + b"x = " + random.choice((b"0x" + b"f" * 5000, b"9" * 5000, b"1e999999")) + content[place:]
        )
    return random.randbytes(random.choice((0, 1, 100, 5000)))


def toml_of(document: dict[str, Any]) -> bytes:
    """The document as TOML, each top-level key on a line of its own."""
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in document.items()).encode()


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_text(str(key))} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return repr(value) if isinstance(value, int) else repr(float(value))


def _text(text: str) -> str:
    """A basic string: JSON's escapes, except that TOML escapes DEL and writes a character beyond 16 bits as itself."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _paths(value: Any, path: Path = ()) -> list[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    paths: list[Path] = []
    for key, item in items:
        paths.append((*path, key))
        if len(path) < 8:
            paths += _paths(item, (*path, key))
    return paths


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value
