"""Publishing a model against the local emulator's S3: what two conditional writes promise."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.testing.account import Account
from tierfleet.models.publish import PublishError, publish
from tierfleet.runtime.catalog import read_pointer
from tierfleet.runtime.names import MODELS_PREFIX, catalog_key


class Publisher:
    """Publishes tenant m01's versions and reads back what a caller would see."""

    def __init__(self, account: Account) -> None:
        self.s3 = account.client("s3")
        self.bucket = account.bucket
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def publish(self, version: str, archive: bytes, *, s3: Any = None) -> Any:
        return publish(s3 or self.s3, bucket=self.bucket, tenant="m01", version=version, archive=archive)

    def current(self) -> str:
        return read_pointer(self.s3, bucket=self.bucket, tenant="m01").target_model

    def stored(self, version: str) -> bytes:
        content: bytes = self.s3.get_object(Bucket=self.bucket, Key=f"{MODELS_PREFIX}m01/{version}.tar.gz")[
            "Body"
        ].read()
        return content


class Interrupted:
    """An S3 client that does something else first, before its n-th put_object."""

    def __init__(self, s3: Any, before_put: int, act: Callable[[], None]) -> None:
        self._s3, self._left, self._act = s3, before_put, act

    def put_object(self, **request: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self._act()
        return self._s3.put_object(**request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)


@pytest.fixture
def publisher(account: Account) -> Publisher:
    return Publisher(account)


def test_a_published_version_is_current_and_its_pointer_says_what_it_is(publisher: Publisher) -> None:
    now = datetime(2027, 9, 14, 12, tzinfo=UTC)
    published = publish(publisher.s3, bucket=publisher.bucket, tenant="m01", version="1", archive=b"one", now=now)
    pointer = json.loads(publisher.s3.get_object(Bucket=publisher.bucket, Key=catalog_key("m01"))["Body"].read())
    assert published.artefact == "uploaded"
    assert publisher.current() == "m01/1.tar.gz"
    assert pointer == {
        "tenant": "m01",
        "version": "1",
        "target_model": "m01/1.tar.gz",
        "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
        "size_bytes": 3,
        "published_at": "2027-09-14T12:00:00+00:00",
        "previous": None,
    }


def test_the_next_version_remembers_the_one_before(publisher: Publisher) -> None:
    publisher.publish("1", b"one")
    assert publisher.publish("2", b"two").previous == "m01/1.tar.gz"
    assert publisher.current() == "m01/2.tar.gz"


def test_publishing_the_same_bytes_again_changes_nothing(publisher: Publisher) -> None:
    publisher.publish("1", b"one")
    before = publisher.s3.head_object(Bucket=publisher.bucket, Key=catalog_key("m01"))["LastModified"]
    assert publisher.publish("1", b"one").artefact == "already there"
    assert publisher.s3.head_object(Bucket=publisher.bucket, Key=catalog_key("m01"))["LastModified"] == before


def test_a_key_is_never_written_twice(publisher: Publisher) -> None:
    publisher.publish("1", b"one")
    publisher.publish("2", b"two")
    with pytest.raises(PublishError, match="publish under a new version"):
        publisher.publish("1", b"other")
    assert publisher.stored("1") == b"one"
    assert publisher.current() == "m01/2.tar.gz"


def test_a_current_artefact_that_somebody_deleted_comes_back_with_the_same_bytes_only(publisher: Publisher) -> None:
    publisher.publish("1", b"one")
    publisher.s3.delete_object(Bucket=publisher.bucket, Key=f"{MODELS_PREFIX}m01/1.tar.gz")
    with pytest.raises(PublishError, match="is current with other bytes; publish under a new version"):
        publisher.publish("1", b"other")
    again = publisher.publish("1", b"one")
    assert (again.artefact, again.pointer) == ("uploaded", "unchanged")
    assert publisher.stored("1") == b"one"


def test_bytes_that_came_by_other_means_are_compared_by_reading_them(publisher: Publisher) -> None:
    for version in ("1", "2"):
        publisher.s3.put_object(Bucket=publisher.bucket, Key=f"{MODELS_PREFIX}m01/{version}.tar.gz", Body=b"copied")
    assert publisher.publish("1", b"copied").artefact == "already there"
    with pytest.raises(PublishError, match="exists with other bytes"):
        publisher.publish("2", b"other")


def test_a_damaged_upload_is_refused_by_s3(publisher: Publisher) -> None:
    # botocore sends it four times more, with seconds between.
    publisher.s3.meta.events.unregister("needs-retry.s3", unique_id="retry-config-s3")

    class Damaging:
        def __getattr__(self, name: str) -> Any:
            return getattr(publisher.s3, name)

        def put_object(self, **request: Any) -> Any:
            return publisher.s3.put_object(**{**request, "Body": request["Body"] + b"!"})

    with pytest.raises(ClientError, match=r"BadDigest|InvalidRequest|checksum"):
        publisher.publish("1", b"one", s3=Damaging())
    assert publisher.s3.list_objects_v2(Bucket=publisher.bucket).get("Contents", []) == []


def test_a_crash_before_the_pointer_leaves_the_old_version_current_and_a_rerun_completes_it(
    publisher: Publisher,
) -> None:
    publisher.publish("1", b"one")

    def crash() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publisher.publish("2", b"two", s3=Interrupted(publisher.s3, 2, crash))
    assert publisher.current() == "m01/1.tar.gz"
    assert publisher.publish("2", b"two").artefact == "already there"
    assert publisher.current() == "m01/2.tar.gz"


@pytest.mark.parametrize("first_version", [True, False])
@pytest.mark.parametrize("before_put", [1, 2], ids=["before the artefact", "before the pointer"])
def test_of_two_racing_publishers_one_pointer_wins_and_the_loser_is_told(
    publisher: Publisher, first_version: bool, before_put: int
) -> None:
    if not first_version:
        publisher.publish("1", b"one")
    racing = Interrupted(publisher.s3, before_put, lambda: publisher.publish("3", b"three"))
    with pytest.raises(PublishError, match="another publisher moved"):
        publisher.publish("2", b"two", s3=racing)
    assert publisher.current() == "m01/3.tar.gz"
    assert publisher.stored("2") == b"two", "nothing is lost"


@pytest.mark.parametrize(("tenant", "version"), [("M01", "1"), ("m01", ""), ("m01", "../1"), ("a/b", "1")])
def test_names_that_would_leave_the_tenants_folder_are_refused(publisher: Publisher, tenant: str, version: str) -> None:
    with pytest.raises(PublishError, match="must match"):
        publish(publisher.s3, bucket=publisher.bucket, tenant=tenant, version=version, archive=b"x")


def test_a_missing_bucket_is_awss_own_error(publisher: Publisher) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        publish(publisher.s3, bucket="not-there", tenant="m01", version="1", archive=b"x")
