"""S3 in memory as far as models need it: conditional writes, versions, delete markers; a gate before every call."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

START = datetime(2027, 9, 14, 12, tzinfo=UTC)


class Crash(BaseException):
    """The process ended here."""


def _error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self) -> bytes:
        return self._content

    def iter_chunks(self, _size: int) -> Iterator[bytes]:
        yield self._content


class Client:
    """An S3 client of one process. `gate(operation)` runs before each call: it may raise Crash, act, or answer "twice".

    "twice": the reply is lost, and the SDK sends the request again.
    """

    def __init__(self, s3: "VersionedS3", gate: Callable[[str], str | None]) -> None:
        self._s3, self._gate = s3, gate

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method = getattr(self._s3, operation)

        def call(**request: Any) -> Any:
            if self._gate(operation) == "twice":
                with suppress(ClientError):
                    method(**request)
            return method(**request)

        return call

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> Any:  # noqa: N803
        """Each key passes the gate: S3 deletes them one after the other, and a crash may come between."""
        for item in Delete["Objects"]:
            self._gate("delete_objects")
            self._s3.delete_objects(Bucket=Bucket, Delete={"Objects": [item]})
        return {}

    def get_paginator(self, operation: str) -> Any:
        return _Paginator(self._s3, self._gate, operation)


class VersionedS3:
    """One bucket, and a clock that does not move."""

    def __init__(self, *, versioned: bool = True) -> None:
        self.versioned = versioned
        self.now = START
        # key -> versions, oldest first: (version id, content or None for a delete marker, metadata, modified)
        self._keys: dict[str, list[tuple[str, bytes | None, dict[str, str], datetime]]] = {}
        self._ids = itertools.count(1)

    def client(self, gate: Callable[[str], str | None] = lambda _operation: None) -> Any:
        return Client(self, gate)

    def history(self, key: str) -> list[bytes | None]:
        """Every content the key had, oldest first; None where it was deleted. Of a versioned bucket."""
        return [content for _, content, _, _ in self._keys.get(key, [])]

    def _current(self, key: str) -> tuple[bytes, dict[str, str]] | None:
        versions = self._keys.get(key)
        if not versions or versions[-1][1] is None:
            return None
        return versions[-1][1], versions[-1][2]

    def keys(self, prefix: str) -> list[str]:
        """The keys that can be read."""
        return sorted(key for key in self._keys if key.startswith(prefix) and self._current(key))

    def content(self, key: str) -> bytes | None:
        """What a reader of the key gets."""
        current = self._current(key)
        return current[0] if current else None

    def get_object(self, *, Bucket: str, Key: str) -> Any:  # noqa: ARG002, N803
        current = self._current(Key)
        if current is None:
            raise _error("NoSuchKey", "GetObject")
        return {"Body": _Body(current[0]), "ETag": _etag(current[0])}

    def head_object(self, *, Bucket: str, Key: str) -> Any:  # noqa: ARG002, N803
        current = self._current(Key)
        if current is None:
            raise _error("404", "HeadObject")
        modified = self._keys[Key][-1][3]
        return {"Metadata": current[1], "ContentLength": len(current[0]), "LastModified": modified}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: ARG002, N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        Metadata: dict[str, str] | None = None,  # noqa: N803
        **_: Any,
    ) -> Any:
        current = self._current(Key)
        if IfNoneMatch == "*" and current is not None:
            raise _error("PreconditionFailed", "PutObject")
        self._check(current, IfMatch, "PutObject")
        self._add(Key, Body, Metadata or {})
        return {"ETag": _etag(Body)}

    def delete_object(self, *, Bucket: str, Key: str, IfMatch: str | None = None) -> Any:  # noqa: ARG002, N803
        self._check(self._current(Key), IfMatch, "DeleteObject")
        self._delete(Key, None)
        return {}

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> Any:  # noqa: ARG002, N803
        """Each key is a call of its own: S3 deletes them one after the other, and a crash may come between."""
        for item in Delete["Objects"]:
            self._delete(item["Key"], item.get("VersionId"))
        return {}

    def page(self, operation: str, prefix: str) -> Any:
        """All in one page."""
        if operation == "list_objects_v2":
            return {"Contents": [{"Key": key} for key in self.keys(prefix)]}
        versions: list[Any] = []
        markers: list[Any] = []
        for key in sorted(key for key in self._keys if key.startswith(prefix)):
            held = self._keys[key]
            for version_id, content, _metadata, modified in reversed(held):
                item = {
                    "Key": key,
                    "VersionId": version_id,
                    "LastModified": modified,
                    "IsLatest": version_id == held[-1][0],
                }
                if content is None:
                    markers.append(item)
                else:
                    versions.append({**item, "Size": len(content)})
        return {"Versions": versions, "DeleteMarkers": markers}

    def _check(self, current: tuple[bytes, dict[str, str]] | None, if_match: str | None, operation: str) -> None:
        if if_match is not None and current is None:
            raise _error("NoSuchKey", operation)
        if if_match is not None and current is not None and _etag(current[0]) != if_match:
            raise _error("PreconditionFailed", operation)

    def _add(self, key: str, content: bytes | None, metadata: dict[str, str]) -> None:
        held = self._keys.setdefault(key, [])
        if not self.versioned:
            held.clear()
        held.append((f"v{next(self._ids)}" if self.versioned else "null", content, metadata, self.now))

    def _delete(self, key: str, version_id: str | None) -> None:
        if version_id is None and self.versioned:
            self._add(key, None, {})
        else:
            kept = [item for item in self._keys.get(key, []) if version_id not in (None, item[0])]
            self._keys[key] = kept
            if not kept:
                del self._keys[key]

    def pass_time(self, hours: float) -> None:
        self.now += timedelta(hours=hours)


class _Paginator:
    def __init__(self, s3: VersionedS3, gate: Callable[[str], str | None], operation: str) -> None:
        self._s3, self._gate, self._operation = s3, gate, operation

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[Any]:  # noqa: ARG002, N803
        self._gate(self._operation)
        yield self._s3.page(self._operation, Prefix)


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
