"""Lambda's reserved concurrency and asynchronous invocation, which ministack implements in part only.

Its CloudFormation type drops the concurrency; its rules and schedules drop a throttled event and know neither
retries nor an OnFailure destination. That copies of one event do not warm side by side rests on both.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
"""

import contextvars
import fcntl
import itertools
import json
import struct
import termios
import threading
import time
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners

# Before the second, third... attempt; the last one again and again. Lambda's own: a second to five minutes.
_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
# How long what a function wrote may take from its pipe to its log.
_LOG_SECONDS = 5.0
_under_way = 0
_counting = threading.Lock()
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


def deliver(function_arn: str, payload: str) -> None:
    """A rule's or a schedule's event on its way to a function: an asynchronous invocation."""
    function, config, name = lambda_svc._get_func_record_for_ref(function_arn)
    if function is None or config is None:
        lambda_svc.logger.warning("event for function %s, which does not exist", name)
        return
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, config), json.loads(payload))


def invoke_asynchronously(function: dict[str, Any], event: dict[str, Any]) -> None:
    """Run the event in the background, as Lambda's queue does.

    A throttled event goes back to the queue while it is young enough, whatever the number of retries; a failed one
    is retried that often; what is given up goes to the OnFailure destination. Pauses are shorter than Lambda's.
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
    """
    context = contextvars.copy_context()
    _count(1)
    threading.Thread(target=context.run, args=(_run_and_count, function, event), daemon=True).start()


def events_under_way() -> int:
    """Asynchronous invocations that wait, run or pause before their next attempt."""
    return _under_way


def _count(change: int) -> None:
    global _under_way
    with _counting:
        _under_way += change


def _run_and_count(function: dict[str, Any], event: dict[str, Any]) -> None:
    try:
        _run_from_queue(function, event)
    finally:
        _count(-1)


def _run_from_queue(function: dict[str, Any], event: dict[str, Any]) -> None:
    config = function["config"]
    settings = function.get("event_invoke_config") or (function.get("event_invoke_configs") or {}).get("$LATEST") or {}
    retries_left = settings.get("MaximumRetryAttempts", 2)
    # Lambda's defaults: two retries, and six hours for a throttled event.
    given_up_at = time.monotonic() + settings.get("MaximumEventAgeInSeconds", 21600)
    for pause in itertools.chain(_PAUSES_SECONDS, itertools.repeat(_PAUSES_SECONDS[-1])):
        result = lambda_svc._execute_function_with_config_scope(function, event)
        if not result.get("error"):
            return
        if not result.get("throttle"):
            retries_left -= 1
        if retries_left < 0 or time.monotonic() + pause > given_up_at:
            break
        time.sleep(pause)
    destination = settings.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    if destination:
        lambda_svc._route_async_failure(destination, config["FunctionName"], event, result)


def drain_log(worker: Any, **_waits: float) -> str:
    """What a function wrote during an invocation, all of it.

    ministack stops listening after 5 ms of silence. Later lines would be logged with the next invocation, or lost.
    """
    deadline = time.monotonic() + _LOG_SECONDS
    while time.monotonic() < deadline and _unread_bytes(worker):
        time.sleep(0.001)
    log: str = _ministack_drain_log(worker, first_line_wait=0.1, idle_confirm=0.05, hard_cap=_LOG_SECONDS)
    return log


def _unread_bytes(worker: Any) -> int:
    pipe = None if worker._proc is None else worker._proc.stderr
    if pipe is None or pipe.closed:
        return 0
    unread: int = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
    return unread


_ministack_drain_log = lambda_runtime.Worker._drain_stderr_bounded
