"""Validates requests to the services that we add against AWS's description of them, which botocore contains."""

import functools
import json
from collections.abc import Iterator
from typing import Any, Never

import botocore.session
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

from local_cloud.core.errors import ServiceError

_MOST_REPORTED = 5
_CHECKED_BY_THE_OPERATION = ("AdjustmentType",)  # with a sentence of its own
_LATEST = 253_402_300_799  # the last second of the year 9999


def read(body: bytes) -> dict[str, Any]:
    """The request's JSON object; raises ServiceError for anything else."""
    try:
        request = json.loads(body or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ServiceError("SerializationException", "the request body is not JSON") from None
    if not isinstance(request, dict):
        raise ServiceError("SerializationException", "the request body is not a JSON object")
    return request


def check(service: str, operation: str, request: dict[str, Any]) -> None:
    """Raise ServiceError for wrong types, missing members, lengths, numbers and enumerated values out of range.

    What AWS's JSON protocol ignores, members it does not know, is ignored.
    """
    shape = _model(service).operation_model(operation).input_shape
    if shape is None:
        return
    try:
        report = ParamValidator().validate(request, shape)
    except (ValueError, OverflowError, OSError, RuntimeError) as error:  # not a timestamp
        raise ServiceError("SerializationException", f"1 validation error detected: {error}") from None
    errors = [error for error in report._errors if error[0] != "unknown field"]
    wrong_type = any(kind == "invalid type" for kind, *_ in errors)
    code = "SerializationException" if wrong_type else "ValidationException"
    report._errors = errors
    problems = report.generate_report().splitlines() if errors else list(_out_of_range(request, shape, ""))
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise ServiceError(code, count + "; ".join(problems[:_MOST_REPORTED]))


def _out_of_range(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """Check what botocore leaves to the service: upper limits and enumerated values."""
    most = shape.metadata.get("max")
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield from _out_of_range(value[name], member, f"{path}.{name}".lstrip("."))
    elif isinstance(shape, ListShape):
        if most is not None and len(value) > most:
            yield _failed(value, path, f"Member must have length less than or equal to {most}")
        for number, member in enumerate(value, 1):
            yield from _out_of_range(member, shape.member, f"{path}.{number}.member")
    elif isinstance(shape, MapShape):
        for key, member in value.items():
            yield from _out_of_range(member, shape.value, f"{path}.{key}")
    elif isinstance(shape, StringShape):
        if shape.enum and value not in shape.enum and shape.name not in _CHECKED_BY_THE_OPERATION:
            yield _failed(value, path, f"Member must satisfy enum value set: [{', '.join(sorted(shape.enum))}]")
        elif most is not None and len(value) > most:
            yield _failed(value, path, f"Member must have length less than or equal to {most}")
    elif shape.type_name == "timestamp":
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LATEST:
            yield _failed(value, path, "Member must be seconds since the epoch")
    elif most is not None and isinstance(value, int | float) and value > most:
        yield _failed(value, path, f"Member must have value less than or equal to {most}")


def _failed(value: Any, path: str, constraint: str) -> str:
    return f"Value '{str(value)[:100]}' at '{path}' failed to satisfy constraint: {constraint}"


def _no_number(text: str) -> Never:
    raise ValueError(f"{text} is not JSON")


@functools.cache
def _model(service: str) -> Any:
    return botocore.session.Session().get_service_model(service)
