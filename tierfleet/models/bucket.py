"""Everything that lies in a fleet's bucket: its pointers, and its artefacts with their versions."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from tierfleet.models import pointer
from tierfleet.models.pointer import Held
from tierfleet.runtime.catalog import CatalogError
from tierfleet.runtime.names import CATALOG_PREFIX, MODELS_PREFIX, WORD_PATTERN

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

READS_AT_ONCE: Final = 32
_POINTER_KEY: Final = re.compile(rf"{CATALOG_PREFIX}({WORD_PATTERN})\.json")
_TARGET: Final = re.compile(rf"{WORD_PATTERN}/[^/]+\.tar\.gz")


@dataclass(frozen=True)
class KeyVersion:
    """One version of an artefact's key; `current`: what a reader of the key gets. Hidden ones cost as much."""

    target_model: str
    version_id: str
    size_bytes: int
    modified: datetime
    current: bool
    delete_marker: bool


@dataclass(frozen=True)
class Artefacts:
    """Every version of every artefact, by target model; `strangers`: keys that are no artefact's."""

    versions: dict[str, list[KeyVersion]]
    strangers: list[str]

    def current(self) -> dict[str, KeyVersion]:
        """What can be read, by target model."""
        return {
            name: version
            for name, versions in self.versions.items()
            for version in versions
            if version.current and not version.delete_marker
        }


def read_pointers(
    s3: "S3Client", bucket: str, *, done: Callable[[int, int], None] = lambda _done, _all: None
) -> dict[str, Held | CatalogError]:
    """Every tenant's pointer, or what is wrong with it, in name order; one GET each, `READS_AT_ONCE` at a time.

    `done` hears how many of how many were read. Raises botocore's errors.
    """
    tenants = list(_tenants(s3, bucket))
    pointers: dict[str, Held | CatalogError] = {}
    with ThreadPoolExecutor(READS_AT_ONCE, "pointer") as pool:
        try:
            for tenant, held in zip(tenants, pool.map(lambda t: _read(s3, bucket, t), tenants), strict=True):
                if isinstance(held, CatalogError) or held.etag is not None:
                    pointers[tenant] = held
                done(len(pointers), len(tenants))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return pointers


def read_targets(s3: "S3Client", bucket: str) -> tuple[dict[str, set[str]], int]:
    """The artefacts that can be read, by tenant, and how many calls that took. Raises botocore's errors."""
    targets: dict[str, set[str]] = {}
    calls = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=MODELS_PREFIX):
        calls += 1
        for item in page.get("Contents", []):
            target = item["Key"].removeprefix(MODELS_PREFIX)
            targets.setdefault(target.partition("/")[0], set()).add(target)
    return targets, calls


def read_artefacts(s3: "S3Client", bucket: str, *, tenant: str | None = None) -> Artefacts:
    """Every version of every artefact, or of one tenant's; one LIST for 1,000. Raises botocore's errors."""
    versions: dict[str, list[KeyVersion]] = {}
    strangers: list[str] = []
    prefix = MODELS_PREFIX + (f"{tenant}/" if tenant else "")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for marker, items in ((False, page.get("Versions", [])), (True, page.get("DeleteMarkers", []))):
            for item in items:
                target = item["Key"].removeprefix(MODELS_PREFIX)
                if not _TARGET.fullmatch(target):
                    strangers.append(item["Key"])
                    continue
                size = 0 if marker else int(item.get("Size", 0))  # type: ignore[call-overload]
                version = KeyVersion(
                    target, item.get("VersionId", "null"), size, item["LastModified"], item["IsLatest"], marker
                )
                versions.setdefault(target, []).append(version)
    return Artefacts(versions, strangers)


def _tenants(s3: "S3Client", bucket: str) -> Iterator[str]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=CATALOG_PREFIX):
        for item in page.get("Contents", []):
            if match := _POINTER_KEY.fullmatch(item["Key"]):
                yield match[1]


def _read(s3: "S3Client", bucket: str, tenant: str) -> Held | CatalogError:
    try:
        return pointer.read(s3, bucket, tenant)
    except CatalogError as error:
        return error
