"""Which status and message a failure gets, where many models are handled and one failure must not stop the others."""

from dataclasses import dataclass
from typing import Final, Literal

from botocore.exceptions import BotoCoreError, ClientError

from tierfleet.aws_problem import aws_problem, every_call_meets
from tierfleet.models.publish import LostRaceError, PublishError
from tierfleet.runtime.catalog import CatalogError

FailedStatus = Literal["lost race", "refused", "failed"]
FAILED_STATUSES: Final[tuple[FailedStatus, ...]] = ("lost race", "refused", "failed")
FAILURES: Final = (PublishError, CatalogError, ValueError, OSError, BotoCoreError, ClientError)
"""The errors that one model may cause. Any other error is a fault in the program."""


@dataclass(frozen=True)
class Failure:
    """Why a model was not published or converted."""

    status: FailedStatus
    message: str
    stops_all: bool = False
    """Whether every other model would fail too, as without credentials or without the bucket."""


def failure_of(error: Exception, *, bucket: str, file: str) -> Failure:
    """The failure for one of FAILURES. file: what an OSError is about, such as "m.ubj cannot be read"."""
    if isinstance(error, BotoCoreError | ClientError):
        return Failure("failed", aws_problem(error, bucket), stops_all=every_call_meets(error))
    if isinstance(error, LostRaceError):
        return Failure("lost race", str(error))
    if isinstance(error, OSError):
        return Failure("failed", f"{file}: {error.strerror}")
    return Failure("refused", str(error))
