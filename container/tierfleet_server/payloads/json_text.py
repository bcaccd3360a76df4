"""A JSON document read value by value, each of bounded length; `json.loads` would build everything at once."""

import codecs
import json
import re
from collections.abc import Generator
from json.scanner import make_scanner
from typing import Any

from .text import Pause, check_utf8

# The longest value that is built; longer ones are walked through.
WINDOW_BYTES = 64 * 1024
STEPS = 64  # values or members that are taken one by one, some 2 us each, before others may go first
_MARGIN = 16  # an error this near to the end of the window may be the window's
_MAX_DEPTH = 900
_SPACE = re.compile(r"[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_STRING = re.compile(r'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+')


class NotJson(ValueError):  # noqa: N818 - it is the caller's
    """The document is not JSON; the message says where."""


class TooLong(Exception):  # noqa: N818 - it is no error
    """The value is longer than the window."""


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; use null for a missing value")


# What `json.JSONDecoder` itself calls for a document; typeshed has its argument wrong.
_scan = make_scanner(json.JSONDecoder(parse_constant=_refuse_constant))  # type: ignore[arg-type]


def as_utf8(body: bytes) -> Generator[None, None, bytes]:
    """The document as UTF-8; raises NotJson."""
    encoding = json.detect_encoding(body)
    begun = 0
    try:
        if encoding == "utf-8":
            yield from check_utf8(body, "surrogatepass")
            return body
        if encoding == "utf-8-sig":
            return (yield from as_utf8(body[3:]))
        decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        parts = []
        for at in range(0, len(body), WINDOW_BYTES):
            begun = at - len(decoder.getstate()[0])  # where the character began that the last piece ended in
            text = decoder.decode(body[at : at + WINDOW_BYTES], at + WINDOW_BYTES >= len(body))
            parts.append(text.encode("utf-8", "surrogatepass"))
            yield
        return b"".join(parts)
    except UnicodeDecodeError as error:
        start, end = begun + error.start, begun + error.end
        raise NotJson(str(UnicodeDecodeError(error.encoding, body, start, end, error.reason))) from None


class Cursor:
    """A place in a document. Its methods raise NotJson."""

    __slots__ = ("_at", "_base", "_body", "_last", "_length", "_not_flat", "_text")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._base = 0  # of the window, in bytes
        self._at = 0  # in the window, in characters
        self._text = ""
        self._last = False
        self._length = 0  # of the last value
        self._not_flat = 0  # up to here in the window, values are taken one by one
        self._fill()

    @property
    def read(self) -> float:
        """The share of the document before the window."""
        return self._base / len(self._body)

    def _fill(self) -> None:
        """Let the window begin here."""
        self._base += len(self._text[: self._at].encode("utf-8", "surrogatepass"))
        piece = self._body[self._base : self._base + WINDOW_BYTES]
        self._last = self._base + WINDOW_BYTES >= len(self._body)
        self._text, _ = codecs.utf_8_decode(piece, "surrogatepass", self._last)
        self._not_flat -= self._at
        self._at = 0

    def peek(self) -> str:
        """The next character that is not white space, and not beyond it; "" at the end of the document."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if self._last:
                return ""
            self._fill()

    def take(self, wanted: str, expecting: str) -> str:
        """The next character, which must be one of `wanted`; the cursor is behind it."""
        character = self.peek()
        if not character or character not in wanted:
            raise self.error(expecting)
        self._at += 1
        return character

    def more(self) -> bool:
        """Go behind the comma or the end of a list: whether it was a comma."""
        match = _COMMA.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
            return True
        return self.take(",]", "Expecting ',' delimiter") == ","

    def value(self) -> Any:
        """The next value, built; the cursor is behind it. Raises TooLong, and stays before it."""
        if len(self._text) - self._at < self._length and not self._last:
            self._fill()  # a value as long as the last one would be cut
        try:
            value, end = _scan(self._text, self._at)
            if end < len(self._text):
                self._length, self._at = end - self._at, end
                return value
        except (ValueError, StopIteration, RecursionError):
            pass  # a closer look will tell
        return self._value()

    def _value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = _scan(self._text, self._at)
                if self._last or end < len(self._text):
                    self._at = end
                    return value
            except StopIteration as stop:
                self._unless_cut("Expecting value", stop.value)
            except json.JSONDecodeError as error:
                self._unless_cut(error.msg, error.pos)
            except (ValueError, RecursionError) as error:
                raise NotJson(str(error)) from None
            if self._at == 0:
                raise TooLong
            self._fill()

    def _unless_cut(self, message: str, at: int) -> None:
        if self._last or (at < len(self._text) - _MARGIN and not message.startswith("Unterminated")):
            raise self.error(message, at)

    def flat_values(self) -> list[Any]:
        """The values from here to the end of the list or of the window, as far as they hold neither lists nor texts.

        [] if the next one does, or is too long. The cursor is before a comma or the end of the list.
        """
        if self._at < self._not_flat:
            return []
        end = self._piece_end()
        if end <= self._at and not self._last:
            self._fill()
            end = self._piece_end()
        piece = self._text[self._at : end]
        if end > self._at and '"' not in piece and "[" not in piece and "{" not in piece:
            try:
                values, _ = _scan(f"[{piece}]", 0)
            except (ValueError, StopIteration, RecursionError):
                values = []  # value by value it will be said where
            if values:
                self._at = end
                return list(values)
        self._not_flat = max(end, self._at + 1)
        return []

    def _piece_end(self) -> int:
        end = self._text.find("]", self._at)
        return end if end >= 0 else self._text.rfind(",", self._at)

    def skip(self) -> Pause:
        """Skip the next value of any length without building it."""
        stack: list[str] = []
        steps = 0
        while True:
            steps += 1
            if steps % STEPS == 0:
                yield
            character = self.peek()
            if character and character in "[{" and len(stack) < _MAX_DEPTH:
                self._at += 1
                if self.peek() != ("]" if character == "[" else "}"):
                    stack.append(character)
                    if character == "{":
                        yield from self._key()
                    continue
                self._at += 1
            elif character and character in "[{":
                raise NotJson(f"nested deeper than {_MAX_DEPTH}")
            elif character == '"':
                yield from self._string()
            else:
                try:
                    self.value()
                except TooLong:
                    raise NotJson(f"a number has more than {WINDOW_BYTES} characters") from None
            while stack and self.take(",]" if stack[-1] == "[" else ",}", "Expecting ',' delimiter") != ",":
                stack.pop()
            if not stack:
                return
            if stack[-1] == "{":
                yield from self._key()

    def _key(self) -> Pause:
        if self.peek() != '"':
            raise self.error("Expecting property name enclosed in double quotes")
        yield from self._string()
        self.take(":", "Expecting ':' delimiter")

    def _string(self) -> Pause:
        self._at += 1
        while True:
            self._at = _STRING.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) - _MARGIN or self._last:
                break
            self._fill()
            yield
        character = self._text[self._at : self._at + 1]
        if character != '"':
            wrong = "Invalid \\escape" if character == "\\" else "Invalid control character at"
            raise self.error(wrong if character else "Unterminated string")
        self._at += 1

    def end(self) -> None:
        """Nothing but white space may come."""
        if self.peek():
            raise self.error("Extra data")

    def error(self, message: str, at: int | None = None) -> NotJson:
        """What is wrong, with the place as `json.loads` gives it."""
        before = self._text[: self._at if at is None else at]
        lines, characters, column = before.count("\n"), len(before), len(before) - before.rfind("\n")
        behind = self._base
        while behind > 0:
            piece = self._body[max(0, behind - WINDOW_BYTES) : behind]
            characters_in_it = len(piece) if piece.isascii() else sum(byte & 0xC0 != 0x80 for byte in piece)
            if not lines:
                newline = piece.rfind(b"\n")
                after = piece[newline + 1 :]
                column += len(after) if after.isascii() else sum(byte & 0xC0 != 0x80 for byte in after)
            lines += piece.count(b"\n")
            characters += characters_in_it
            behind -= len(piece)
        return NotJson(f"{message}: line {lines + 1} column {column} (char {characters})")
