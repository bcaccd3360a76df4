"""The reply a CloudFormation custom resource owes: without it the stack waits for up to an hour."""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final

# One lost packet must not cost an hour.
ANSWER_ATTEMPTS: Final = 4
ANSWER_TIMEOUT_SECONDS: Final = 5
# CloudFormation refuses a reply above 4,096 bytes, and JSON may need six for one character.
LONGEST_REASON_CHARACTERS: Final = 600


@dataclass(frozen=True)
class Answer:
    """succeeded: False fails the stack operation; reason: one sentence; data: a few values for Fn::GetAtt."""

    succeeded: bool
    reason: str
    data: Mapping[str, str | int | float] = field(default_factory=dict)


def send(
    request: Mapping[str, Any],
    answer: Answer,
    *,
    physical_resource_id: str,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Put the answer to the request's ResponseURL; raises the last attempt's error if all failed."""
    body = json.dumps(
        {
            "Status": "SUCCESS" if answer.succeeded else "FAILED",
            "Reason": answer.reason[:LONGEST_REASON_CHARACTERS],
            "PhysicalResourceId": physical_resource_id,
            "StackId": request["StackId"],
            "RequestId": request["RequestId"],
            "LogicalResourceId": request["LogicalResourceId"],
            "Data": dict(answer.data),
        }
    ).encode()
    # The presigned URL is signed for an empty content type; urllib would send one of its own.
    put = urllib.request.Request(  # noqa: S310 - the URL is CloudFormation's
        request["ResponseURL"], data=body, method="PUT", headers={"Content-Type": ""}
    )
    for attempt in range(1, ANSWER_ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(put, timeout=ANSWER_TIMEOUT_SECONDS):  # noqa: S310
                return
        except (OSError, HTTPException):
            if attempt == ANSWER_ATTEMPTS:
                raise
            sleep(0.5 * 2**attempt)
