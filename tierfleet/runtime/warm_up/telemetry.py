"""The warm-up function's log lines and metrics. docs/warm-up.md lists them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from tierfleet.runtime import metrics
from tierfleet.runtime.aws_errors import classify
from tierfleet.runtime.warm_up.invocation import Settings


def log(message: str, **fields: Any) -> None:
    """One line of JSON. Lambda sends standard output to CloudWatch Logs."""
    # JSON, so that CloudWatch Logs Insights finds the fields.
    print(json.dumps({"message": message, **fields}))


def emit(values: Mapping[str, float], *, settings: Settings, tier: str | None) -> None:
    """One line in CloudWatch's embedded metric format, which needs no permission and no call."""
    print(metrics.emf_line(values, fleet=settings.fleet, environment=settings.environment, tier=tier))


def sentence(error: Exception) -> str:
    """The error in one sentence."""
    return classify(error).sentence if isinstance(error, ClientError) else f"{type(error).__name__}: {error}"


@contextmanager
def failure_counted(settings: Settings, tier: str | None = None) -> Iterator[None]:
    """Counts a run that could not start as one failure, so that the alarm on WarmUpFailed sees it. Raises it again."""
    try:
        yield
    except Exception as error:
        log("warm-up failed", tier=tier, reason=sentence(error))
        emit({metrics.WARM_UP_FAILED: 1}, settings=settings, tier=tier)
        raise
