"""A tenant's pointer for its writers: read with its ETag, and replaced only if it has not changed since.

catalog/m37.json:
{"tenant": "m37", "version": "2027-09-14", "target_model": "m37/2027-09-14.tar.gz", "sha256": "…",
 "size_bytes": 45000000, "published_at": "2027-09-14T12:00:00+00:00", "previous": "m37/2027-09-13.tar.gz",
 "replaced": {"m37/2027-09-13.tar.gz": "2027-09-14T12:00:00+00:00"}, "collected": {"m37/2027-09-10.tar.gz": "…"}}

The one object is every writer's lock: publish, rollback, remove and gc each read it, act, and write it on condition
that it is still what they read. That of a removed tenant has `removed_at` and no `target_model`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tierfleet.runtime.catalog import CatalogError
from tierfleet.runtime.names import catalog_key, version_of
from tierfleet.text import moment, stamp

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# How long a pointer remembers what it named and what was deleted. Every caller reads the pointer every minute, so it
# stays small; callers keep a pointer for a day at most while S3 is down (ClientSettings.pointer_stale_seconds).
MEMORY: Final = timedelta(hours=48)
# S3 answers a failed condition with 412, 409 where another conditional write of the key is under way, and 404 where
# If-Match meets no object. Source: docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
_LOST_RACE: Final = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404")
_RETRIES: Final = 5


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a pointer says; `target_model` is None before the first version and after a removal.

    replaced: what it named before, with the moment that ended. collected: versions that gc deletes; they are not
    published again under the same name while they are remembered.
    """

    tenant: str
    version: str | None = None
    target_model: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    published_at: str | None = None
    previous: str | None = None
    removed_at: str | None = None
    replaced: Mapping[str, str] = field(default_factory=dict)
    collected: Mapping[str, str] = field(default_factory=dict)

    def naming(self, target_model: str, *, sha256: str | None, size_bytes: int, now: datetime) -> "Entry":
        """The pointer once it names this version."""
        return replace(
            self,
            version=version_of(target_model),
            target_model=target_model,
            sha256=sha256,
            size_bytes=size_bytes,
            published_at=stamp(now),
            previous=self.target_model,
            removed_at=None,
            replaced={name: at for name, at in self._replaced(now).items() if name != target_model},
            collected=_remembered(self.collected, now),
        )

    def removed(self, now: datetime) -> "Entry":
        """The pointer of a tenant that is removed."""
        return Entry(
            tenant=self.tenant,
            removed_at=stamp(now),
            replaced=self._replaced(now),
            collected=_remembered(self.collected, now),
        )

    def collecting(self, target_models: list[str], now: datetime) -> "Entry":
        """The pointer while these versions are deleted. One that names nothing becomes a removed tenant's."""
        collected = {**_remembered(self.collected, now), **dict.fromkeys(target_models, stamp(now))}
        removed_at = self.removed_at or (None if self.target_model else stamp(now))
        return replace(self, collected=collected, removed_at=removed_at)

    def collected_since(self, target_model: str, now: datetime, *, within: timedelta = MEMORY) -> str | None:
        """When gc took this version, None if it did not or longer ago than that."""
        at = self.collected.get(target_model)
        return at if at is not None and now - moment(at) < within else None

    def same_version(self, other: "Entry") -> bool:
        """Whether both name the same version since the same moment, or none; gc may have noted something meanwhile."""
        return (self.target_model, self.published_at) == (other.target_model, other.published_at)

    def to_json(self) -> bytes:
        """Keys without a value are left out, `previous` excepted: null says that there is none."""
        held = {name: value for name, value in asdict(self).items() if value or name == "previous"}
        if self.target_model is None:
            del held["previous"]
        return json.dumps(held, sort_keys=True).encode()

    def _replaced(self, now: datetime) -> dict[str, str]:
        earlier = _remembered(self.replaced, now)
        return {**earlier, self.target_model: stamp(now)} if self.target_model else earlier


@dataclass(frozen=True)
class Held:
    """A pointer as it was read; etag is None where there is no object."""

    entry: Entry
    etag: str | None


class PointerMovedError(Exception):
    """Somebody else replaced the pointer; `now` is what it says."""

    def __init__(self, now: Held) -> None:
        super().__init__(f"the pointer of {now.entry.tenant} was replaced meanwhile")
        self.now = now


def read(s3: "S3Client", bucket: str, tenant: str) -> Held:
    """The tenant's pointer, an empty one if there is none. Raises CatalogError if it is broken, botocore's errors."""
    try:
        reply = s3.get_object(Bucket=bucket, Key=catalog_key(tenant))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return Held(Entry(tenant=tenant), None)
        raise
    return Held(parse(reply["Body"].read(), tenant, f"s3://{bucket}/{catalog_key(tenant)}"), reply["ETag"])


def parse(content: bytes, tenant: str, where: str) -> Entry:
    """The pointer in these bytes. Raises CatalogError that says where it is and what is wrong with it."""
    try:
        document = json.loads(content)
        entry = Entry(**{name: document[name] for name in Entry.__dataclass_fields__ if name in document})
        _check(entry)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogError(
            f"{where} is malformed ({type(error).__name__}: {error}); delete it and publish the tenant's model again, "
            "or restore an older version of the object"
        ) from error
    if entry.tenant != tenant:
        raise CatalogError(f"{where} is of tenant {entry.tenant!r}; delete it and publish {tenant}'s model again")
    return entry


def _check(entry: Entry) -> None:
    texts = (entry.tenant, entry.version, entry.sha256, entry.published_at, entry.removed_at)
    if not all(isinstance(text, str | None) for text in texts) or not isinstance(entry.size_bytes, int | None):
        raise ValueError("a text or a number is something else")
    names = [entry.target_model, entry.previous, *entry.replaced, *entry.collected]
    for name in names:
        if name is not None and not re.fullmatch(rf"{re.escape(entry.tenant)}/[^/]+", name):
            raise ValueError(f"it names {name!r}, allowed: {entry.tenant}/<version>.tar.gz")
    for at in (entry.published_at, entry.removed_at, *entry.replaced.values(), *entry.collected.values()):
        if at is not None:
            moment(at)
    if (entry.target_model is None) == (entry.removed_at is None):
        raise ValueError("it must have either target_model or removed_at")


def update(
    s3: "S3Client", bucket: str, held: Held, change: Callable[[Entry], Entry], *, also_if_moved: bool = False
) -> Held:
    """Replace the pointer with the result of `change`, on condition that it has not changed since it was read.

    Where only gc's notes changed, `change` gets the newer pointer and the write is tried again; with `also_if_moved`,
    always. Raises PointerMovedError, what `change` raises, and botocore's errors.
    """
    for _ in range(_RETRIES):
        entry = change(held.entry)
        condition: Any = {"IfNoneMatch": "*"} if held.etag is None else {"IfMatch": held.etag}
        key = catalog_key(entry.tenant)
        try:
            reply = s3.put_object(
                Bucket=bucket, Key=key, Body=entry.to_json(), ContentType="application/json", **condition
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in _LOST_RACE:
                raise
            now = read(s3, bucket, entry.tenant)
            if now.entry == entry:
                return now  # it was written; the answer was lost and the SDK sent it again
            if not (also_if_moved or now.entry.same_version(held.entry)):
                raise PointerMovedError(now) from error
            held = now
        else:
            return Held(entry, reply["ETag"])
    raise PointerMovedError(held)


def _remembered(moments: Mapping[str, str], now: datetime) -> dict[str, str]:
    return {name: at for name, at in moments.items() if now - moment(at) < MEMORY}
