"""Publishes many models: tenants in parallel, one tenant's versions one after the other.

Each model is published as `publish` does, so an interrupted run is completed by running it again.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from tierfleet.aws_problem import AwsProblemError
from tierfleet.models import pointer
from tierfleet.models.failures import FAILED_STATUSES, FAILURES, FailedStatus, failure_of
from tierfleet.models.files import ModelFile
from tierfleet.models.package import Package, package
from tierfleet.models.publish import Publication, check_names, publish
from tierfleet.runtime.catalog import CatalogError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

Status = Literal["published", "completed", "unchanged", "older"] | FailedStatus
# Archives in memory at once; a model that is larger by itself goes alone.
_ROOM_BYTES = 1024**3


@dataclass(frozen=True)
class Outcome:
    """What became of one model.

    published: uploaded and made current, or uploaded for a single container. completed: an earlier run had uploaded it,
    now it is current. unchanged: it was current, or was there for its container. older: a later version of the same
    directory was current, so it was left alone. The rest failed: `message`.
    """

    model: ModelFile
    status: Status
    message: str = ""
    publication: Publication | None = None

    @property
    def failed(self) -> bool:
        return self.status in FAILED_STATUSES

    def to_json(self) -> dict[str, Any]:
        """For scripts; `publication` is null where nothing was made current."""
        return {
            "file": str(self.model.file),
            "tenant": self.model.tenant,
            "version": self.model.version,
            "status": self.status,
            "message": self.message,
            "publication": asdict(self.publication) if self.publication else None,
        }


def publish_all(
    s3: "S3Client",
    *,
    bucket: str,
    models: Sequence[ModelFile],
    jobs: int,
    package_of: Callable[[ModelFile], Package] = package,
    leave_pointers: Collection[str] = (),
    done: Callable[[Outcome], None] = lambda _: None,
) -> Iterable[Outcome]:
    """Publish models, `jobs` tenants at a time, and say what became of each, in the order in which they end.

    leave_pointers: target models that are stored and do not become current, for single containers of an endpoint.
    `done` is called in the worker threads. A failure of one model does not stop the others; one that every model would
    meet (no credentials, no such bucket) raises AwsProblemError after the models under way.
    """
    tenants = [list(group) for _, group in groupby(sorted(models, key=_order), key=lambda model: model.tenant)]
    run = _Run(s3, bucket, package_of, leave_pointers, done)
    with ThreadPoolExecutor(jobs, "publish") as pool:
        futures = [pool.submit(run.tenant, group) for group in tenants]
        try:
            for future in futures:
                future.result()
        except BaseException:
            run.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    if run.problem is not None:
        done_before = f"after {len(run.outcomes)} of {len(models)} models: " if run.outcomes else ""
        raise AwsProblemError(f"{done_before}{run.problem}")
    return run.outcomes


class _Run:
    """One call of `publish_all`."""

    def __init__(
        self,
        s3: "S3Client",
        bucket: str,
        package_of: Callable[[ModelFile], Package],
        leave_pointers: Collection[str],
        done: Callable[[Outcome], None],
    ) -> None:
        self._s3, self._bucket, self._package_of, self._done = s3, bucket, package_of, done
        self._leave_pointers = leave_pointers
        self._room = _Room(_ROOM_BYTES)
        self.stopped = threading.Event()
        self.problem: str | None = None
        self.outcomes: list[Outcome] = []

    def tenant(self, versions: list[ModelFile]) -> None:
        """Publish the versions of one tenant in name order, so that the last becomes current.

        What never becomes current comes first: the endpoint of a current version may need it.
        """
        versions, stored = (
            [model for model in versions if model.target_model not in self._leave_pointers],
            [model for model in versions if model.target_model in self._leave_pointers],
        )
        earlier = self._earlier_than_current(versions) if len(versions) > 1 else 0
        for index, model in enumerate([*stored, *versions], -len(stored)):
            if self.stopped.is_set():
                return
            outcome = Outcome(model, "older") if 0 <= index < earlier else self._outcome(model)
            if outcome is None:
                return
            self.outcomes.append(outcome)
            self._done(outcome)

    def _earlier_than_current(self, versions: list[ModelFile]) -> int:
        """How many of them come before the one that is current now: a rerun must not point back to those."""
        names = [f"{model.tenant}/{model.version}.tar.gz" for model in versions]
        try:
            current = pointer.read(self._s3, self._bucket, versions[0].tenant).entry.target_model
        except (CatalogError, BotoCoreError, ClientError):
            return 0  # publishing meets it again, and says so
        return names.index(current) if current in names else 0

    def _outcome(self, model: ModelFile) -> Outcome | None:
        try:
            check_names(model.tenant, model.version)
            with self._room.of(2 * model.file.stat().st_size):
                return self._published(model)
        except FAILURES as error:
            failure = failure_of(error, bucket=self._bucket, file=f"{model.file} cannot be read")
            if failure.stops_all:
                self.problem = failure.message
                self.stopped.set()
                return None
            return Outcome(model, failure.status, failure.message)

    def _published(self, model: ModelFile) -> Outcome:
        made = self._package_of(model)
        publication = publish(
            self._s3,
            bucket=self._bucket,
            tenant=model.tenant,
            version=model.version,
            archive=made.archive,
            source=made.source,
            make_current=model.target_model not in self._leave_pointers,
        )
        if publication.pointer == "left alone":
            status: Status = "unchanged" if publication.artefact == "already there" else "published"
        elif publication.pointer == "unchanged":
            status = "unchanged" if publication.artefact == "already there" else "completed"
        else:
            status = "published" if publication.artefact == "uploaded" else "completed"
        return Outcome(model, status, publication=publication)


class _Room:
    """So many bytes of archives in memory at once."""

    def __init__(self, size_bytes: int) -> None:
        self._size, self._used = size_bytes, 0
        self._changed = threading.Condition()

    @contextmanager
    def of(self, needed: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + needed <= self._size)
            self._used += needed
        try:
            yield
        finally:
            with self._changed:
                self._used -= needed
                self._changed.notify_all()


def _order(model: ModelFile) -> tuple[str, str, str]:
    # By version, not by file: "1.ubj" comes after "1.1.ubj".
    return model.tenant, model.version, model.file.name
