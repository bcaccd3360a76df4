"""What is published in another form: flat forests in place of what XGBoost reads, or back, as versions of their own.

Each tenant's current version is read, converted, compared and published like any other: the artefact under a key that
is free, then the pointer, on condition that it still names the version that was read. Run it again after an
interruption: it skips converted models and completes the rest.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from tierfleet.aws_problem import AwsProblemError
from tierfleet.models import pointer, sources
from tierfleet.models.convert_artefact import Form, StaysError, UnchangedError, convert_artefact
from tierfleet.models.failures import FAILED_STATUSES, FAILURES, FailedStatus, failure_of
from tierfleet.models.publish import PublishError, check_names, publish
from tierfleet.runtime.names import MODELS_PREFIX, version_of

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from tierfleet.models.target import Target

Status = Literal["converted", "would convert", "unchanged", "stays"] | FailedStatus
_ABSENT = ("NoSuchKey", "404")


@dataclass(frozen=True)
class Conversion:
    """What became of one tenant's current version.

    unchanged: it has the form already. stays: no flat forest gives its scores. `message` says why, also of failures.
    """

    tenant: str
    before: str | None
    after: str | None
    status: Status
    message: str = ""
    before_bytes: int = 0
    after_bytes: int = 0

    @property
    def failed(self) -> bool:
        return self.status in FAILED_STATUSES


def convert_published(
    s3: "S3Client",
    *,
    bucket: str,
    tenants: Iterable[str],
    target: "Target",
    form: Form,
    jobs: int,
    dry_run: bool = False,
    done: Callable[[Conversion], None] = lambda _: None,
) -> list[Conversion]:
    """Convert the current versions of tenants, `jobs` at a time, and say what became of each, in name order.

    dry_run: everything but the uploads. `done` is called in the worker threads. A failure of one tenant does not stop
    the others; one that every call would meet raises AwsProblemError after the conversions under way.
    """
    names = sorted(tenants)
    run = _Run(s3, bucket, target, form, dry_run, done)
    with ThreadPoolExecutor(jobs, "convert") as pool:
        try:
            outcomes = [outcome for outcome in pool.map(run.tenant, names) if outcome is not None]
        except BaseException:
            run.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    if run.problem is not None:
        before = f"after {len(outcomes)} of {len(names)} tenants: " if outcomes else ""
        raise AwsProblemError(f"{before}{run.problem}")
    return outcomes


@dataclass
class _Run:
    """One call of `convert_published`."""

    s3: "S3Client"
    bucket: str
    target: "Target"
    form: Form
    dry_run: bool
    done: Callable[[Conversion], None]
    problem: str | None = None

    def __post_init__(self) -> None:
        self.stopped = threading.Event()

    def tenant(self, tenant: str) -> Conversion | None:
        """One tenant's version; None once the run is stopped."""
        if self.stopped.is_set():
            return None
        before: str | None = None
        try:
            before = pointer.read(self.s3, self.bucket, tenant).entry.target_model
            if before is None:
                raise UnchangedError("nothing is published")
            outcome = self._converted(tenant, before)
        except UnchangedError as error:
            outcome = Conversion(tenant, before, before, "unchanged", str(error))
        except StaysError as error:
            outcome = Conversion(tenant, before, before, "stays", str(error))
        except FAILURES as error:
            failure = failure_of(error, bucket=self.bucket, file="a temporary file")
            if failure.stops_all:
                self.problem = failure.message
                self.stopped.set()
                return None
            outcome = Conversion(tenant, before, None, failure.status, failure.message)
        self.done(outcome)
        return outcome

    def _converted(self, tenant: str, before: str) -> Conversion:
        try:
            archive = self.s3.get_object(Bucket=self.bucket, Key=MODELS_PREFIX + before)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in _ABSENT:
                raise PublishError(
                    f"the pointer names {before}, which is not in the bucket; publish it again"
                ) from error
            raise

        def source_of(sha256: str) -> bytes | None:
            return sources.read(self.s3, self.bucket, tenant, sha256)

        made = convert_artefact(archive, source_of, self.target, self.form)
        version = self.form.version(version_of(before))
        after = check_names(tenant, version)
        if not self.dry_run:
            publish(
                self.s3,
                bucket=self.bucket,
                tenant=tenant,
                version=version,
                archive=made.archive,
                source=made.source,
                replacing=before,
                now=datetime.now(UTC),
            )
        status: Status = "would convert" if self.dry_run else "converted"
        notes = "; ".join((*made.warnings, *made.notes))
        return Conversion(tenant, before, after, status, notes, len(archive), len(made.archive))
