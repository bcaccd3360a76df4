"""CloudWatch Logs' filter patterns, as FilterLogEvents takes them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html. Not known here: patterns for
space-delimited lines ([...]), which are refused.
"""

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

Matcher = Callable[[str], bool]

_TERM = re.compile(r'\s*([-?]?)(?:"((?:[^"\\]|\\.)*)"|%((?:[^%\\]|\\.)+)%|([^\s"]+))')
_TOKEN = re.compile(
    r'\s*(?:(?P<op>\|\||&&|!=|<=|>=|[=<>()])|(?P<path>\$(?:\.[\w\-]+|\[\d+\]|\["[^"]+"\])*)|"(?P<string>(?:[^"\\]|\\.)*)"'
    r"|%(?P<regex>(?:[^%\\]|\\.)+)%|(?P<word>[^\s()=<>!&|\"]+))"
)
_STEP = re.compile(r'\.([\w\-]+)|\[(\d+)\]|\["([^"]+)"\]')
_ABSENT = object()


class PatternError(ValueError):
    """The pattern is invalid, or of a kind that is not supported here."""


def matcher(pattern: str) -> Matcher:
    """Whether a message matches; raises PatternError."""
    pattern = pattern.strip()
    if not pattern:
        return lambda _: True
    if pattern.startswith("["):
        raise PatternError("the local emulator does not support patterns for space-delimited lines")
    if pattern.startswith("{"):
        if not pattern.endswith("}"):
            raise PatternError("the pattern has no closing }")
        condition = _Json(pattern[1:-1]).read()

        def matches(message: str) -> bool:
            try:
                return condition(json.loads(message))
            except (ValueError, RecursionError):
                return False

        return matches
    return _text(pattern)


def _text(pattern: str) -> Matcher:
    """Terms: all of them; -term: not this one; ?term: one of them, if there is no other kind."""
    terms: dict[str, list[Matcher]] = {"": [], "-": [], "?": []}
    position = 0
    while position < len(pattern.rstrip()):
        match = _TERM.match(pattern, position)
        if match is None:
            raise PatternError(f"the pattern cannot be read from {pattern[position:]!r} on")
        kind, phrase, regex, word = match.groups()
        terms[kind].append(_contains(re.sub(r"\\(.)", r"\1", phrase) if phrase is not None else word, regex))
        position = match.end()
    if terms[""] or terms["-"]:
        return lambda message: (
            all(term(message) for term in terms[""]) and not any(term(message) for term in terms["-"])
        )
    return lambda message: any(term(message) for term in terms["?"])


def _contains(text: str | None, regex: str | None) -> Matcher:
    if regex is None:
        return lambda message: (text or "") in message
    compiled = _regex(regex)
    return lambda message: compiled.search(message) is not None


def _regex(regex: str) -> "re.Pattern[str]":
    try:
        return re.compile(regex)
    except re.error as error:
        raise PatternError(f"%{regex}% is not a regular expression: {error}") from None


class _Json:
    """Reads `$.a = "x" && ($.b[0] > 3 || $.c IS NULL)`."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(text.rstrip()):
            token = _TOKEN.match(text, position)
            if token is None or token.lastgroup is None:
                raise PatternError(f"the pattern cannot be read from {text[position:]!r} on")
            self._tokens.append((token.lastgroup, token[token.lastgroup]))
            position = token.end()
        self._next = 0

    def read(self) -> Callable[[Any], bool]:
        condition = self._either()
        if self._next < len(self._tokens):
            raise PatternError(f"unexpected {self._tokens[self._next][1]!r} in the pattern")
        return condition

    def _take(self, *expected: str) -> str | None:
        if self._next < len(self._tokens) and self._tokens[self._next][1].upper() in expected:
            self._next += 1
            return self._tokens[self._next - 1][1].upper()
        return None

    def _either(self) -> Callable[[Any], bool]:
        parts = [self._both()]
        while self._take("||"):
            parts.append(self._both())
        return lambda document: any(part(document) for part in parts)

    def _both(self) -> Callable[[Any], bool]:
        parts = [self._one()]
        while self._take("&&"):
            parts.append(self._one())
        return lambda document: all(part(document) for part in parts)

    def _one(self) -> Callable[[Any], bool]:
        if self._take("("):
            condition = self._either()
            if not self._take(")"):
                raise PatternError("a ( in the pattern is not closed")
            return condition
        path = self._value("path")
        if self._take("IS"):
            wanted = self._take("NULL", "TRUE", "FALSE")
            if wanted is None:
                raise PatternError("IS is followed by NULL, TRUE or FALSE")
            constant = {"NULL": None, "TRUE": True, "FALSE": False}[wanted]
            return lambda document: _at(document, path) is constant
        if self._take("NOT"):
            if not self._take("EXISTS"):
                raise PatternError("NOT is followed by EXISTS")
            return lambda document: _at(document, path) is _ABSENT
        operator = self._take("=", "!=", "<", ">", "<=", ">=")
        if operator is None:
            raise PatternError(f"{path} is followed by =, !=, <, >, <=, >=, IS or NOT EXISTS")
        kind, value = self._tokens[self._next] if self._next < len(self._tokens) else ("", "")
        if kind not in ("string", "word", "regex"):
            raise PatternError(f"{operator} has no value after it")
        self._next += 1
        return _comparison(path, operator, kind, value)

    def _value(self, kind: str) -> str:
        if self._next >= len(self._tokens) or self._tokens[self._next][0] != kind:
            raise PatternError("a condition begins with a path, such as $.message")
        self._next += 1
        return self._tokens[self._next - 1][1]


def _comparison(path: str, operator: str, kind: str, value: str) -> Callable[[Any], bool]:
    if operator in ("=", "!="):
        if kind == "regex":
            compiled = _regex(value)

            def equal(actual: Any) -> bool:
                return isinstance(actual, str) and compiled.search(actual) is not None
        else:

            def equal(actual: Any) -> bool:
                return _equals(actual, value, number=kind == "word")

        if operator == "=":
            return lambda document: equal(_at(document, path))
        return lambda document: (actual := _at(document, path)) is not _ABSENT and not equal(actual)
    try:
        limit = float(value)
    except ValueError:
        raise PatternError(f"{operator} compares numbers, got {value!r}") from None

    def compared(document: Any) -> bool:
        actual = _at(document, path)
        if isinstance(actual, bool) or not isinstance(actual, int | float):
            return False
        return {"<": actual < limit, ">": actual > limit, "<=": actual <= limit, ">=": actual >= limit}[operator]

    return compared


def _equals(actual: Any, value: str, *, number: bool) -> bool:
    if isinstance(actual, str):
        return fnmatchcase(actual, re.sub(r"[\[\]?]", lambda special: f"[{special[0]}]", value))
    if number and isinstance(actual, int | float) and not isinstance(actual, bool):
        try:
            return actual == float(value)
        except ValueError:
            return False
    return False


def _at(document: Any, path: str) -> Any:
    for name, index, quoted in _STEP.findall(path):
        if index:
            if not isinstance(document, list) or int(index) >= len(document):
                return _ABSENT
            document = document[int(index)]
        elif isinstance(document, dict) and (name or quoted) in document:
            document = document[name or quoted]
        else:
            return _ABSENT
    return document
