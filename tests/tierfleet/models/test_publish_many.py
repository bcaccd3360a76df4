"""Publishing many models: at the same time, in order within a tenant, stopped by a fault that affects all of them."""

import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from versioned_s3 import VersionedS3

from tierfleet.aws_problem import AwsProblemError
from tierfleet.models import pointer
from tierfleet.models.files import ModelFile, every_model
from tierfleet.models.publish import publish
from tierfleet.models.publish_many import Outcome, publish_all

BUCKET = "shop--test--models--1--eu-west-1"


def files(tmp_path: Path, *names: str) -> list[ModelFile]:
    for name in names:
        file = tmp_path / f"{name}.tar.gz"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(name.encode())
    return every_model([tmp_path])


def run(s3: Any, models: list[ModelFile], jobs: int = 4) -> dict[str, str]:
    outcomes = publish_all(s3, bucket=BUCKET, models=models, jobs=jobs)
    return {f"{item.model.tenant}/{item.model.version}": item.status for item in outcomes}


def current(s3: VersionedS3, tenant: str) -> str | None:
    return pointer.read(s3.client(), BUCKET, tenant).entry.version


def test_every_tenant_is_published_and_a_rerun_uploads_nothing(tmp_path: Path) -> None:
    s3, names = VersionedS3(), [f"t{number}/1" for number in range(30)]
    models = files(tmp_path, *names)
    assert run(s3.client(), models) == dict.fromkeys(names, "published")
    puts: list[str] = []
    client = s3.client(lambda operation: puts.append(operation) if operation == "put_object" else None)
    assert run(client, models) == dict.fromkeys(names, "unchanged")
    assert puts == []


def test_the_versions_of_a_tenant_keep_their_order(tmp_path: Path) -> None:
    s3 = VersionedS3()
    models = files(tmp_path, "t1/1", "t1/2", "t1/3")
    assert set(run(s3.client(), models).values()) == {"published"}
    history = [text for text in s3.history("catalog/t1.json") if text]
    assert len(history) == 3
    assert run(s3.client(), models) == {"t1/1": "older", "t1/2": "older", "t1/3": "unchanged"}
    assert [text for text in s3.history("catalog/t1.json") if text] == history, "the pointer never goes back"


def test_an_earlier_version_of_the_directory_is_not_made_current_again(tmp_path: Path) -> None:
    s3 = VersionedS3()
    publish(s3.client(), bucket=BUCKET, tenant="t1", version="2", archive=b"t1/2")
    assert run(s3.client(), files(tmp_path, "t1/1", "t1/2", "t1/3")) == {
        "t1/1": "older",
        "t1/2": "unchanged",
        "t1/3": "published",
    }
    assert current(s3, "t1") == "3"


def test_what_was_uploaded_before_a_crash_is_completed(tmp_path: Path) -> None:
    s3, models = VersionedS3(), files(tmp_path, "t1/1", "t2/1")
    s3.put_object(Bucket=BUCKET, Key="models/t1/1.tar.gz", Body=b"t1/1")
    assert run(s3.client(), models) == {"t1/1": "completed", "t2/1": "published"}


def test_one_models_failure_stops_no_other(tmp_path: Path) -> None:
    s3, models = VersionedS3(), files(tmp_path, "t1/1", "t2/1", "t3/1")
    s3.put_object(Bucket=BUCKET, Key="models/t1/1.tar.gz", Body=b"other")
    s3.put_object(Bucket=BUCKET, Key="catalog/t2.json", Body=b"{")
    (tmp_path / "t4").mkdir()
    models += [ModelFile("t4", "1", tmp_path / "t4" / "gone.tar.gz"), ModelFile("T5", "1", models[0].file)]
    outcomes = list(publish_all(s3.client(), bucket=BUCKET, models=models, jobs=3))
    by_tenant = {item.model.tenant: (item.status, item.message) for item in outcomes}
    assert {tenant: status for tenant, (status, _) in by_tenant.items()} == {
        "t1": "refused",
        "t2": "refused",
        "t3": "published",
        "t4": "failed",
        "T5": "refused",
    }
    assert "exists with other bytes" in by_tenant["t1"][1]
    assert "catalog/t2.json is malformed" in by_tenant["t2"][1]
    assert "cannot be read: No such file or directory" in by_tenant["t4"][1]


def test_what_every_model_would_meet_is_said_once(tmp_path: Path) -> None:
    calls = 0
    lock = threading.Lock()

    def refuse(operation: str) -> None:
        nonlocal calls
        with lock:
            calls += 1
        raise ClientError({"Error": {"Code": "NoSuchBucket", "Message": ""}}, operation)

    models = files(tmp_path, *(f"t{number}/1" for number in range(50)))
    with pytest.raises(AwsProblemError, match="there is no such bucket"):
        publish_all(VersionedS3().client(refuse), bucket=BUCKET, models=models, jobs=4)
    assert calls <= 8, "the others were not tried"


def test_two_publishers_of_one_directory_lose_nothing(tmp_path: Path) -> None:
    """Both publish every tenant, other versions: each tenant ends with one of them, the other one is stored or told."""
    s3 = VersionedS3()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = files(tmp_path / "a", *(f"t{number}/1" for number in range(20)))
    second = files(tmp_path / "b", *(f"t{number}/2" for number in range(20)))
    lock, outcomes = threading.Lock(), list[Outcome]()

    class Atomic:
        """S3 answers one request at a time; threads switch between requests."""

        def __getattr__(self, operation: str) -> Any:
            method = getattr(s3, operation)

            def call(**request: Any) -> Any:
                with lock:
                    return method(**request)

            return call

    def publisher(models: list[ModelFile]) -> None:
        outcomes.extend(publish_all(Atomic(), bucket=BUCKET, models=models, jobs=4))  # type: ignore[arg-type]

    threads = [threading.Thread(target=publisher, args=(models,)) for models in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 40
    assert {item.status for item in outcomes} <= {"published", "lost race"}
    for number in range(20):
        won = [item.model.version for item in outcomes if item.model.tenant == f"t{number}" and not item.failed]
        assert current(s3, f"t{number}") in won
        for version in ("1", "2"):
            assert s3.content(f"models/t{number}/{version}.tar.gz") == f"t{number}/{version}".encode()


def test_versions_are_ordered_by_their_names_whatever_their_files_endings(tmp_path: Path) -> None:
    s3, directory = VersionedS3(), tmp_path / "t1"
    directory.mkdir()
    for name in ("1.tar.gz", "1.1.tar.gz", "2.tar.gz", "2.1.tar.gz"):
        (directory / name).write_bytes(name.encode())
    outcomes = publish_all(s3.client(), bucket=BUCKET, models=every_model([tmp_path]), jobs=1)
    assert [item.model.version for item in outcomes] == ["1", "1.1", "2", "2.1"]
    assert current(s3, "t1") == "2.1"
