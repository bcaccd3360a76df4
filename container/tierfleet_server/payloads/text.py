"""Long bodies in pieces, so that no call into C holds the interpreter for more than a fraction of a millisecond.

Functions that may take long are generators: they yield None where others may go first.
"""

import codecs
from collections.abc import Generator

PIECE_BYTES = 64 * 1024
_COUNT_BYTES = 16 * 1024  # the time depends on the hits, and every byte may be one
Pause = Generator[None, None, None]


def has_content(body: bytes) -> Generator[None, None, bool]:
    """Whether anything but white space is in it."""
    for at in range(0, len(body), PIECE_BYTES):
        if body[at : at + PIECE_BYTES].strip():
            return True
        yield
    return False


def check_utf8(body: bytes, errors: str = "strict") -> Pause:
    """Raise UnicodeDecodeError as `body.decode` does, without the text."""
    at = 0
    while at < len(body):
        piece = body[at : at + PIECE_BYTES]
        if piece.isascii():
            at += len(piece)
        else:
            try:
                _, used = codecs.utf_8_decode(piece, errors, at + len(piece) == len(body))
            except UnicodeDecodeError as error:
                raise UnicodeDecodeError("utf-8", body, at + error.start, at + error.end, error.reason) from None
            at += used
        yield


def count(body: bytes, what: bytes, start: int, stop: int) -> Generator[None, None, int]:
    """How often the byte `what` is in body[start:stop]."""
    hits = 0
    for at in range(start, stop, _COUNT_BYTES):
        hits += body.count(what, at, min(at + _COUNT_BYTES, stop))
        if stop - start > PIECE_BYTES:
            yield
    return hits


def find(body: bytes, what: bytes, start: int, stop: int) -> Generator[None, None, int]:
    """Where the first byte `what` is in body[start:stop]; -1 if it is not there."""
    for at in range(start, stop, PIECE_BYTES):
        place = body.find(what, at, min(at + PIECE_BYTES, stop))
        if place >= 0:
            return place
        yield
    return -1


def end_without(body: bytes, trailing: bytes) -> Generator[None, None, int]:
    """The length of the body without the bytes `trailing` at its end."""
    stop = len(body)
    while stop:
        piece = body[max(0, stop - PIECE_BYTES) : stop]
        kept = piece.rstrip(trailing)
        stop -= len(piece) - len(kept)
        if kept:
            break
        yield
    return stop
