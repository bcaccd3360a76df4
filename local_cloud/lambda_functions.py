"""AWS::Lambda::Function with its reserved concurrency, which the emulator's type leaves out.

Five copies of one event must be one warm-up run: that rests on a concurrency of 1.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
"""

from typing import Any

from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners

_Created = tuple[str, dict[str, Any]]


def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> _Created:
    physical_id, attributes = provisioners._lambda_create(logical_id, properties, stack_name)
    _reserve(physical_id, properties)
    return physical_id, attributes


def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, logical_id: str) -> _Created:
    physical_id, attributes = provisioners._lambda_update(physical_id, old, new, stack_name, logical_id)
    _reserve(physical_id, new)
    return physical_id, attributes


def _reserve(function_name: str, properties: dict[str, Any]) -> None:
    reserved = properties.get("ReservedConcurrentExecutions")
    lambda_svc._functions[function_name]["concurrency"] = None if reserved is None else int(reserved)
