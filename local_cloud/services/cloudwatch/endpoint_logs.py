"""CloudWatch Logs: what containers print, by endpoint, and FilterLogEvents with AWS's filter patterns.

Containers print into /aws/sagemaker/Endpoints/<endpoint>, a stream <variant>/<instance> each. The group stays when
the endpoint goes. https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ministack.core.responses import (
    error_response_json,
    json_response,
    new_uuid,
    set_request_account_id,
    set_request_region,
)
from ministack.services import cloudwatch_logs

from local_cloud.services.cloudwatch.log_patterns import PatternError, matcher

GROUP_PREFIX = "/aws/sagemaker/Endpoints/"
# Of one instance; the oldest go first. Everything is in memory.
_LINES_KEPT = 10_000
_MOST_EVENTS = 10_000

Line = tuple[str, str, str, str, int, str]
"""account, region, endpoint, stream, milliseconds since the epoch, message; an empty message makes the stream only"""


def make_group(endpoint_name: str) -> dict[str, Any]:
    """The endpoint's log group in the current account and region, created if it is missing."""
    name = GROUP_PREFIX + endpoint_name
    if name not in cloudwatch_logs._log_groups:
        cloudwatch_logs._create_log_group({"logGroupName": name})
    group: dict[str, Any] = cloudwatch_logs._log_groups[name]
    return group


def store(lines: Iterable[Line]) -> None:
    """Append lines, each in the account and region it belongs to."""
    events: defaultdict[tuple[str, str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for account, region, endpoint, stream, milliseconds, message in lines:
        made = events[account, region, endpoint, stream]
        if message:
            ingested = int(time.time() * 1000)
            made.append(
                {"timestamp": milliseconds, "message": message, "ingestionTime": ingested, "eventId": new_uuid()}
            )
    for (account, region, endpoint, stream), new in events.items():
        set_request_account_id(account)
        set_request_region(region)
        group = make_group(endpoint)
        if stream not in group["streams"]:
            name = {"logGroupName": GROUP_PREFIX + endpoint, "logStreamName": stream}
            cloudwatch_logs._create_log_stream(name)
        kept = group["streams"][stream]
        cloudwatch_logs._append_log_events(kept, new)
        with cloudwatch_logs._log_events_lock:
            if len(kept["events"]) > _LINES_KEPT:
                kept["events"] = kept["events"][-_LINES_KEPT:]


def filter_log_events(request: dict[str, Any]) -> Any:
    """Replaces ministack's, which ignores most of a pattern, has no pages and does not know logStreamNamePrefix."""
    name = cloudwatch_logs._resolve_log_group_name(request)
    if name not in cloudwatch_logs._log_groups:
        return error_response_json("ResourceNotFoundException", "The specified log group does not exist.", 400)
    streams = cloudwatch_logs._log_groups[name]["streams"]
    prefix, named = request.get("logStreamNamePrefix"), request.get("logStreamNames")
    if prefix and named:
        return _invalid("logStreamNamePrefix and logStreamNames exclude each other.")
    begin, end = request.get("startTime", 0), request.get("endTime", float("inf"))
    if begin > end:
        return _invalid("endTime is before startTime.")
    limit = request.get("limit", _MOST_EVENTS)
    if not 1 <= limit <= _MOST_EVENTS:
        return _invalid(f"limit must be between 1 and {_MOST_EVENTS}.")
    try:
        matches = matcher(request.get("filterPattern") or "")
    except PatternError as error:
        return _invalid(f"Invalid filter pattern: {error}")
    try:
        skipped = int(request.get("nextToken") or 0)
    except ValueError:
        return _invalid("The specified nextToken is invalid.")
    with cloudwatch_logs._log_events_lock:
        events = [
            {**event, "logStreamName": stream}
            for stream, held in streams.items()
            if (not named or stream in named) and stream.startswith(prefix or "")
            for event in list(held["events"])
            if begin <= event["timestamp"] <= end
        ]
    events.sort(key=lambda event: (event["timestamp"], event.get("ingestionTime", 0)))
    matching = (event for event in events if matches(event["message"]))
    page = list(itertools.islice(matching, skipped, skipped + limit + 1))
    answer: dict[str, Any] = {"events": page[:limit], "searchedLogStreams": []}
    if len(page) > limit:
        answer["nextToken"] = str(skipped + limit)
    return json_response(answer)


def _invalid(message: str) -> Any:
    return error_response_json("InvalidParameterException", message, 400)
