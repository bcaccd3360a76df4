"""An error of an emulated AWS service, as its API answers it."""

from collections.abc import Callable
from typing import Any


class ServiceError(Exception):
    def __init__(self, code: str, message: str, *, status: int = 400, **fields: object) -> None:
        super().__init__(f"{message} (Error Code: {code})")
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields


def ignore_missing(operation: Callable[[dict[str, Any]], Any], request: dict[str, Any]) -> None:
    """A resource that is already gone counts as deleted."""
    try:
        operation(request)
    except ServiceError as error:
        if "Could not find" not in error.message and error.code != "ObjectNotFoundException":
            raise
