"""The files that flat forests were made from: kept once for each checksum, and as long as an artefact names them."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from small_models import small_model
from versioned_s3 import VersionedS3

from tests.forest.compiled import needs_compiled
from tierfleet.models import sources
from tierfleet.models.collection.delete import delete_garbage
from tierfleet.models.collection.find import Collection, find_garbage
from tierfleet.models.publish import LostRaceError, publish
from tierfleet.models.references import Deployed
from tierfleet.models.remove import remove

BUCKET, TENANT = "b", "m01"
pytestmark = needs_compiled


def forest_of(model: bytes) -> bytes:
    """The artefact of a flat forest alone."""
    from tierfleet_server.publishing.packaging import package_model

    return package_model(model, forest="alone")[0]


@pytest.fixture(scope="module")
def models() -> list[bytes]:
    return [small_model(features) for features in (2, 3, 4)]


@pytest.fixture(scope="module")
def archives(models: list[bytes]) -> list[bytes]:
    return [forest_of(model) for model in models]


def published(s3: VersionedS3, version: str, archive: bytes, source: bytes, **more: Any) -> None:
    publish(
        s3.client(), bucket=BUCKET, tenant=TENANT, version=version, archive=archive, source=source, now=s3.now, **more
    )


def collected(s3: VersionedS3, *, grace_hours: float = 0, permanently: bool = False) -> Collection:
    client, now = s3.client(), s3.now
    collection, held = find_garbage(
        client, bucket=BUCKET, pins={}, deployed=Deployed(), now=now, grace=timedelta(hours=grace_hours)
    )
    delete_garbage(client, collection, held, bucket=BUCKET, now=now, look_again=Deployed, permanently=permanently)
    return collection


def test_an_artefact_names_its_source(models: list[bytes], archives: list[bytes]) -> None:
    for model, archive in zip(models, archives, strict=True):
        assert sources.named_by(archive) == hashlib.sha256(model).hexdigest()
    for other in (b"", b"no archive", archives[0][:100]):
        assert sources.named_by(other) is None
    for contributions in (False, True):
        from tierfleet_server.publishing.packaging import package_model

        archive, _ = package_model(models[0], forest="alone", contributions=contributions)
        assert sources.named_by(archive) == hashlib.sha256(models[0]).hexdigest()
        both, _ = package_model(models[0], forest="beside", contributions=contributions)
        assert sources.named_by(both) is None


def test_a_source_is_uploaded_once_for_each_checksum(models: list[bytes], archives: list[bytes]) -> None:
    s3 = VersionedS3()
    published(s3, "1", archives[0], models[0])
    published(s3, "2", archives[0], models[0])
    published(s3, "3", archives[1], models[1])
    assert len(s3.keys("source/")) == 2
    key = sources.key(TENANT, models[0])
    assert s3.history(key) == [models[0]]
    assert sources.read(s3.client(), BUCKET, TENANT, hashlib.sha256(models[0]).hexdigest()) == models[0]
    assert sources.read(s3.client(), BUCKET, TENANT, "0" * 64) is None
    assert s3.client().head_object(Bucket=BUCKET, Key="models/m01/3.tar.gz")["Metadata"]["source-sha256"] in (
        sources.key(TENANT, models[1])
    )


@pytest.mark.parametrize("permanently", [False, True])
def test_gc_deletes_the_sources_that_no_artefact_names(
    permanently: bool, models: list[bytes], archives: list[bytes]
) -> None:
    s3 = VersionedS3()
    for version, at in (("1", 0), ("2", 1), ("3", 2), ("4", 2)):
        published(s3, version, archives[at], models[at])
        s3.pass_time(2)
    collection = collected(s3, permanently=permanently)
    assert [item.target_model for item in collection.of("deleted")] == ["m01/1.tar.gz", "m01/2.tar.gz"]
    assert s3.keys("source/") == [sources.key(TENANT, models[2])]
    assert {source.key for source in collection.sources_deleted} == {sources.key(TENANT, models[at]) for at in (0, 1)}
    assert collected(s3, permanently=permanently).sources_deleted == []
    assert bool(s3.history(sources.key(TENANT, models[0]))) is not permanently


def test_a_source_of_an_artefact_that_is_kept_is_kept(models: list[bytes], archives: list[bytes]) -> None:
    s3 = VersionedS3()
    for version, at in (("1", 0), ("2", 1), ("3", 0)):
        published(s3, version, archives[at], models[at])
        s3.pass_time(2)
    # 1 goes; 3 is current, and was made from the same file.
    collected(s3)
    assert s3.keys("source/") == sorted(sources.key(TENANT, models[at]) for at in (0, 1))


def test_a_removed_tenant_keeps_no_source(models: list[bytes], archives: list[bytes]) -> None:
    s3 = VersionedS3()
    published(s3, "1", archives[0], models[0])
    s3.pass_time(2)
    remove(s3.client(), bucket=BUCKET, tenant=TENANT, now=s3.now)
    collected(s3)
    assert s3.keys("source/") == []


def test_a_young_source_is_spared_whatever_the_grace_period(models: list[bytes]) -> None:
    s3 = VersionedS3()
    # A publisher has uploaded it, and its artefact is on its way.
    assert sources.keep(s3.client(), BUCKET, TENANT, models[0], s3.now)
    collected(s3)
    assert len(s3.keys("source/")) == 1
    s3.pass_time(0.99)
    collected(s3, grace_hours=0)
    assert len(s3.keys("source/")) == 1
    s3.pass_time(0.02)
    collected(s3)
    assert s3.keys("source/") == []


def test_a_source_that_is_used_again_meanwhile_is_kept(models: list[bytes]) -> None:
    s3 = VersionedS3()
    sources.keep(s3.client(), BUCKET, TENANT, models[0], s3.now)
    s3.pass_time(5)
    client = s3.client()
    collection, held = find_garbage(client, bucket=BUCKET, pins={}, deployed=Deployed(), now=s3.now, grace=timedelta())
    assert [source.needed for source in collection.sources] == [False]
    assert sources.keep(client, BUCKET, TENANT, models[0], s3.now)
    delete_garbage(client, collection, held, bucket=BUCKET, now=s3.now, look_again=Deployed)
    assert collection.sources_deleted == []
    assert len(s3.keys("source/")) == 1


def test_a_crash_before_the_artefact_leaves_nothing_half_written(models: list[bytes], archives: list[bytes]) -> None:
    """The source comes first: an artefact in the bucket always has its own."""
    s3 = VersionedS3()
    calls: list[str] = []

    def gate(operation: str) -> None:
        calls.append(operation)
        if calls.count("put_object") == 2:
            raise ConnectionError("the process ends")

    with pytest.raises(ConnectionError):
        publish(s3.client(gate), bucket=BUCKET, tenant=TENANT, version="1", archive=archives[0], source=models[0])
    assert s3.keys("models/") == s3.keys("catalog/") == []
    published(s3, "1", archives[0], models[0])
    assert len(s3.keys("source/")) == len(s3.keys("models/")) == len(s3.keys("catalog/")) == 1


def test_what_was_made_from_an_older_version_replaces_nothing_newer(models: list[bytes], archives: list[bytes]) -> None:
    s3 = VersionedS3()
    published(s3, "1", archives[0], models[0])
    published(s3, "2", archives[1], models[1])
    with pytest.raises(LostRaceError, match=r"m01/2\.tar\.gz is current; run the command again"):
        published(s3, "1-forest", archives[0], models[0], replacing="m01/1.tar.gz")
    assert "models/m01/1-forest.tar.gz" not in s3.keys("models/")
    published(s3, "2-forest", archives[1], models[1], replacing="m01/2.tar.gz")
    published(s3, "2-forest", archives[1], models[1], replacing="m01/2.tar.gz")  # again, after a lost reply
