"""Before the routes change: does the new endpoint of a tenant that moves answer as the old one does?

Both get the probe. A new endpoint that does not answer, or that scores the probe differently with the same model
version, must not get the tenant's traffic. Where the version changes with the move, another score is what was asked
for, and the new endpoint only has to answer. A cold call to a serverless endpoint may take minutes.

A pipeline changes requests and replies, so its new endpoint only has to answer the probe of its tier. Its scores are
compared where the old endpoint has the same stages and the same probe, such as on another instance type.
"""

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tierfleet.runtime.aws_errors import Kind, classify
from tierfleet.runtime.catalog import NoSuchModelError, Pointer, is_published, read_pointer
from tierfleet.runtime.client.reply import parse_scores
from tierfleet.runtime.clients import LOOKUP_SECONDS
from tierfleet.runtime.contributions import Scores
from tierfleet.runtime.route_document import Probe, Route, RouteDocument
from tierfleet.runtime.time_limit import time_limit
from tierfleet.runtime.warm_up.custom_resource import Answer

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sagemaker_runtime.client import SageMakerRuntimeClient

RESOURCE_TYPE: Final = "Custom::ComparedTenants"
PROBE_TAG: Final = "tierfleet-comparison"
# Scores of the same model and row may differ in the last digits between processors.
TOLERANCE: Final = 1e-6
# A cold start or a throttle may answer the first ones.
MOST_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 2.0
# Few at a time: the old endpoints serve live traffic, and a probe may cost them a load.
_AT_A_TIME: Final = 8
_SHOWN_TENANTS: Final = 3


@dataclass(frozen=True)
class Move:
    """A tenant whose endpoint changes with the next route document."""

    tenant: str
    old: Route
    new: Route
    old_probe: Probe | None
    """A valid request of the old endpoint; None where its routes have none."""
    new_probe: Probe | None

    @property
    def comparable(self) -> bool:
        """Whether both endpoints are asked the same and process it alike."""
        return self.old.stages == self.new.stages and self.old_probe == self.new_probe


@dataclass(frozen=True)
class Outcome:
    """What became of one tenant's comparison."""

    tenant: str
    word: str
    """equal, answers (there was nothing to compare with, such as another version), unpublished, unprobed (the routes
    have no probe), or failed."""
    reason: str = ""
    """One sentence where it failed."""


class _NoScoreError(Exception):
    """An endpoint did not answer the probe; the message is one sentence."""


def moves(deployed: RouteDocument, hosted: RouteDocument) -> list[Move]:
    """Tenants that either document names and whose endpoint changes, in name order.

    Without those of a shape whose calls do not wait for an answer: there is no score to compare.
    """
    comparisons = []
    for tenant in sorted({*deployed.tenants, *hosted.tenants}):
        old, new = deployed.route_of(tenant), hosted.route_of(tenant)
        if old.endpoint != new.endpoint and old.shape.request_response and new.shape.request_response:
            probes = deployed.probe_of(old.tier), hosted.probe_of(new.tier)
            comparisons.append(Move(tenant, old, new, *probes))
    return comparisons


def compare(
    moved: list[Move],
    *,
    runtime: "SageMakerRuntimeClient",
    s3: "S3Client",
    models_bucket: str,
    most_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Probe the old and the new endpoint of each; a tenant that the time is too short for has failed."""
    deadline = clock() + most_seconds
    comparison = _Comparison(runtime, s3, models_bucket, deadline, sleep, clock)
    with ThreadPoolExecutor(max_workers=_AT_A_TIME, thread_name_prefix=PROBE_TAG) as pool:
        return list(pool.map(comparison.of, moved))


def answer(outcomes: list[Outcome]) -> Answer:
    """What CloudFormation is told: one failed tenant fails the deployment, and the old endpoints keep serving."""
    failed = [outcome for outcome in outcomes if outcome.word == "failed"]
    if failed:
        shown = "; ".join(f"tenant {outcome.tenant}: {outcome.reason}" for outcome in failed[:_SHOWN_TENANTS])
        more = f"; and {len(failed) - _SHOWN_TENANTS} more tenants" if len(failed) > _SHOWN_TENANTS else ""
        return Answer(succeeded=False, reason=f"the routes do not change: {shown}{more}")
    if not outcomes:
        return Answer(succeeded=True, reason="no tenant moves to another endpoint")
    counts = {
        word: sum(outcome.word == word for outcome in outcomes)
        for word in ("equal", "answers", "unpublished", "unprobed")
    }
    shown = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return Answer(succeeded=True, reason=f"{len(outcomes)} tenants move: {shown}")


@dataclass(frozen=True)
class _Comparison:
    runtime: "SageMakerRuntimeClient"
    s3: "S3Client"
    models_bucket: str
    deadline: float
    sleep: Callable[[float], None]
    clock: Callable[[], float]

    def of(self, move: Move) -> Outcome:
        if move.new_probe is None:
            return Outcome(move.tenant, "unprobed")
        try:
            pointer = self._pointer(move)
        except NoSuchModelError:
            return Outcome(move.tenant, "unpublished")
        except Exception as error:
            return Outcome(move.tenant, "failed", f"its pointer cannot be read: {classify(error).sentence}")
        try:
            new = self._score(move.new, move.new_probe, pointer)
        except _NoScoreError as error:
            return Outcome(move.tenant, "failed", f"the new endpoint {move.new.endpoint} gave no score: {error}")
        old_version, new_version = _version(move.old, pointer), _version(move.new, pointer)
        if old_version is None or old_version != new_version or not move.comparable:
            return Outcome(move.tenant, "answers")
        try:
            old = self._score(move.old, move.new_probe, pointer)
        except _NoScoreError:
            # The move may be the repair of an endpoint that does not answer.
            return Outcome(move.tenant, "answers")
        if old is None or new is None:
            return Outcome(move.tenant, "answers")
        if _equal(old, new):
            return Outcome(move.tenant, "equal")
        return Outcome(
            move.tenant,
            "failed",
            f"version {new_version} scores the probe {_shown(old)} on {move.old.endpoint} and {_shown(new)} on "
            f"{move.new.endpoint}; the tolerance is {TOLERANCE:g}",
        )

    def _pointer(self, move: Move) -> Pointer | None:
        """The published version, where a call of either endpoint has to name it."""
        if not move.old.shared and not move.new.shared:
            return None
        try:
            with time_limit(LOOKUP_SECONDS):
                return read_pointer(self.s3, bucket=self.models_bucket, tenant=move.tenant)
        except Exception as error:
            if not self._is_missing(error, move.tenant):
                raise
            if move.new.shared:
                raise NoSuchModelError(f"tenant {move.tenant} has no published model") from error
            # The old endpoint has nothing to answer with, so only the new one is asked.
            return None

    def _is_missing(self, error: Exception, tenant: str) -> bool:
        """S3 answers 403 instead of 404 for a missing key of a bucket that the role may not list."""
        if isinstance(error, NoSuchModelError):
            return True
        if classify(error).kind is not Kind.DENIED:
            return False
        with time_limit(LOOKUP_SECONDS):
            return not is_published(self.s3, bucket=self.models_bucket, tenant=tenant)

    def _score(self, route: Route, probe: Probe, pointer: Pointer | None) -> Scores | None:
        """What the endpoint makes of the probe; None where its reply is no scores. Raises _NoScoreError."""
        request: dict[str, Any] = {
            "EndpointName": route.endpoint,
            "ContentType": probe.content_type,
            # CSV has two meanings on the stock image; JSON has one.
            "Accept": "application/json",
            "Body": probe.body.encode(),
            "CustomAttributes": PROBE_TAG,
        }
        if route.shared and pointer is not None:
            request["TargetModel"] = pointer.target_model
        if route.primary is not None:
            request["TargetContainerHostname"] = route.primary
        for attempt in range(1, MOST_ATTEMPTS + 1):
            left = self.deadline - self.clock()
            if left <= 0:
                raise _NoScoreError("there was no time left to ask it")
            try:
                with time_limit(min(left, route.shape.longest_answer_seconds)):
                    reply = self.runtime.invoke_endpoint(**request)["Body"].read()
            except Exception as error:
                verdict = classify(error)
                if not verdict.retryable or attempt == MOST_ATTEMPTS:
                    raise _NoScoreError(verdict.sentence) from error
                self.sleep(min(_PAUSE_SECONDS * attempt, max(0.0, left)))
            else:
                return _scores(reply, probe.body.strip().count("\n") + 1)
        raise AssertionError("unreachable")


def _version(route: Route, pointer: Pointer | None) -> str | None:
    if route.shared:
        return pointer.version if pointer else None
    return route.model_version


def _scores(reply: bytes, rows: int) -> Scores | None:
    """None where the reply is in no format that a FleetClient reads: an own image may answer what it likes."""
    try:
        return parse_scores(reply, rows=rows)
    except ValueError:
        return None


def _equal(old: Any, new: Any) -> bool:
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_equal, old, new))
    if isinstance(old, list) or isinstance(new, list):
        return False
    return math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(old) and math.isnan(new))


def _shown(scores: Scores) -> str:
    text = json.dumps(scores)
    return text if len(text) <= 60 else f"{text[:57]}..."
