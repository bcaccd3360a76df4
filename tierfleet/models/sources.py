"""The files that flat forests were made from: `source/<tenant>/<sha256>.ubj` in the bucket, or `.json`.

A forest cannot be trained further, nor be read by XGBoost, so publishing also keeps the file, once for each
checksum. The artefact names it: in the metadata of its S3 object, and inside of the forest. gc deletes a source when no
artefact of its tenant names it any more.

On disk, `models package` keeps them in a hidden folder next to the tenants' folders: `.source/<sha256>.ubj`.
"""

import base64
import hashlib
import json
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tierfleet.files import write_whole
from tierfleet.models import artefacts
from tierfleet.models.archives import found_in
from tierfleet.runtime.names import SOURCES_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

FOLDER: Final = ".source"
_FOREST: Final = "model.forest"
_TAKEN: Final = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_ABSENT: Final = ("NoSuchKey", "404")
# A source is uploaded before its artefact, so gc spares what is younger than this, whatever its grace period; one that
# is used again is uploaded again, which makes it young.
_SPARED: Final = timedelta(hours=1)
_RENEW_AFTER: Final = timedelta(minutes=30)
_HEADS_AT_ONCE: Final = 32
_DELETES_AT_ONCE: Final = 1000


@dataclass
class StoredSource:
    """Every version of one source's key, and what gc makes of it. `size_bytes`: of the one that can be read, or 0."""

    key: str
    size_bytes: int
    modified: datetime
    version_ids: list[str]
    needed: bool = True

    @property
    def tenant(self) -> str:
        return self.key.split("/")[1]


def key(tenant: str, content: bytes) -> str:
    """The key of a source. The ending is the file's format: what begins like JSON is JSON."""
    form = "json" if content[:1] == b"{" and content[1:65].lstrip()[:1] in (b'"', b"}") else "ubj"
    return f"{SOURCES_PREFIX}{tenant}/{hashlib.sha256(content).hexdigest()}.{form}"


def checksum(source_key: str) -> str:
    """The SHA-256 in a key or a file's name."""
    return source_key.rpartition("/")[2].partition(".")[0]


def keep(s3: "S3Client", bucket: str, tenant: str, content: bytes, now: datetime) -> bool:
    """Upload a source unless it is there; whether it was uploaded. Raises botocore's errors."""
    name, digest = key(tenant, content), hashlib.sha256(content).digest()
    try:
        there = s3.head_object(Bucket=bucket, Key=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
    else:
        if now - there["LastModified"] < _RENEW_AFTER:
            return False
    s3.put_object(
        Bucket=bucket, Key=name, Body=content, ChecksumSHA256=base64.b64encode(digest).decode(),
    )  # fmt: skip
    return True


def read(s3: "S3Client", bucket: str, tenant: str, sha256: str) -> bytes | None:
    """A source by its checksum, None if it is not there or is not what its name says. Raises botocore's errors."""
    for form in ("ubj", "json"):
        try:
            reply = s3.get_object(Bucket=bucket, Key=f"{SOURCES_PREFIX}{tenant}/{sha256}.{form}")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _ABSENT:
                raise
        else:
            content = reply["Body"].read()
            return content if hashlib.sha256(content).hexdigest() == sha256 else None
    return None


def find_unneeded(
    s3: "S3Client", bucket: str, *, kept: Iterable[str], now: datetime, grace: timedelta, tenant: str | None = None
) -> list[StoredSource]:
    """Every source, those marked that no artefact names which gc keeps. kept: target models. Raises botocore's errors.

    One HEAD for each kept artefact of a tenant that has more old sources than kept artefacts.
    """
    stored = _stored(s3, bucket, tenant)
    targets: dict[str, list[str]] = {}
    for target in kept:
        targets.setdefault(target.partition("/")[0], []).append(target)
    of_tenant: dict[str, list[StoredSource]] = {}
    for source in stored:
        if now - source.modified >= max(grace, _SPARED):
            of_tenant.setdefault(source.tenant, []).append(source)
    asked = {
        owner: targets.get(owner, [])
        for owner, old in of_tenant.items()
        if sum(source.size_bytes > 0 for source in old) > len(targets.get(owner, []))
        or any(source.size_bytes == 0 for source in old)
    }
    with ThreadPoolExecutor(_HEADS_AT_ONCE, "source") as pool:
        heads = pool.map(
            lambda target: artefacts.head(s3, bucket, target), [t for mine in asked.values() for t in mine]
        )
        named = {there.source_sha256 for there in heads if there is not None}
    for owner in asked:
        for source in of_tenant[owner]:
            source.needed = source.size_bytes > 0 and checksum(source.key) in named
    return stored


def delete_unneeded(
    s3: "S3Client", bucket: str, stored: Iterable[StoredSource], *, now: datetime, permanently: bool
) -> tuple[list[StoredSource], list[str]]:
    """Delete what is marked, unless it was uploaded again meanwhile. Returns what is gone, and what S3 refused."""
    gone = []
    for source in stored:
        if not source.needed and (permanently or source.size_bytes) and not _renewed(s3, bucket, source, now):
            gone.append(source)
    keys: list[Any] = [
        {"Key": source.key, **({"VersionId": version} if version else {})}
        for source in gone
        for version in (source.version_ids if permanently else [""])
    ]
    problems = []
    for start in range(0, len(keys), _DELETES_AT_ONCE):
        reply = s3.delete_objects(
            Bucket=bucket, Delete={"Objects": keys[start : start + _DELETES_AT_ONCE], "Quiet": True}
        )
        for error in reply.get("Errors", []):
            problems.append(f"{error.get('Key')}: {error.get('Code')}: {error.get('Message')}")
    refused = {problem.partition(":")[0] for problem in problems}
    return [source for source in gone if source.key not in refused], problems


def _renewed(s3: "S3Client", bucket: str, source: StoredSource, now: datetime) -> bool:
    try:
        there = s3.head_object(Bucket=bucket, Key=source.key)
    except ClientError as error:
        if error.response["Error"]["Code"] in _ABSENT:
            return False
        raise
    return there["LastModified"] > source.modified or now - there["LastModified"] < _SPARED


def _stored(s3: "S3Client", bucket: str, tenant: str | None) -> list[StoredSource]:
    stored: dict[str, StoredSource] = {}
    prefix = SOURCES_PREFIX + (f"{tenant}/" if tenant else "")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Versions", []):
            source = stored.setdefault(item["Key"], StoredSource(item["Key"], 0, item["LastModified"], []))
            source.version_ids.append(item.get("VersionId", "null"))
            source.modified = max(source.modified, item["LastModified"])
            source.size_bytes = int(item.get("Size", 0)) if item["IsLatest"] else source.size_bytes
        for marker in page.get("DeleteMarkers", []):
            if marker["Key"] in stored:
                stored[marker["Key"]].version_ids.append(marker["VersionId"])
    return [source for source in stored.values() if len(source.key.split("/")) == 3]


def named_by(archive: bytes) -> str | None:
    """The checksum of the file that an artefact's flat forest was made from; None if it holds the model itself too.

    Reads the forest's metadata, whose place follows from its head; needs no compiled reader.
    """
    return found_in(archive, _source_sha256)


def _source_sha256(packed: tarfile.TarFile) -> str | None:
    from tierfleet_forest.layout import metadata_of

    # The model is the first file that is not ours: what follows is not unpacked, which takes long.
    member = next((member for member in packed if not member.name.startswith(".tierfleet")), None)
    is_forest = member is not None and member.name == _FOREST and member.isreg()
    file = packed.extractfile(member) if member is not None and is_forest else None
    return str(json.loads(metadata_of(file.read()))["source"]["sha256"]) if file is not None else None


def beside(artefact: Path, archive: bytes) -> bytes:
    """The source that `models package` kept for an artefact on disk, empty if there is none. Raises OSError."""
    sha256 = named_by(archive)
    for file in (artefact.resolve().parent.parent / FOLDER).glob(f"{sha256}.*") if sha256 else ():
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() == sha256:
            return content
    return b""


def write_beside(artefact: Path, content: bytes) -> None:
    """Keep a source for the artefact `<folder>/<tenant>/<version>.tar.gz` on disk. Raises OSError."""
    file = artefact.parent.parent / FOLDER / Path(key("", content)).name
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        write_whole(file, content)
