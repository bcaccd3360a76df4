"""Steps of an invocation, run without threads."""

from collections.abc import Generator
from typing import Any


def run_through(steps: Generator[Any, Any, bytes | bytearray]) -> bytes | bytearray:
    """All steps, one after the other: what they return."""
    result = None
    try:
        while True:
            call = steps.send(result)
            result = call() if call is not None else None
    except StopIteration as done:
        returned: bytes | bytearray = done.value
        return returned
