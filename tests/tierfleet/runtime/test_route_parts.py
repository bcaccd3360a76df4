"""Parts of the routes in S3: read once, checked, asked for again after a failure; and how they get there."""

import io
import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from loopback import BUCKET, ENVIRONMENT, FLEET, SECOND, SHARED, FakeAws, split_route_document, whale

from tierfleet.runtime import route_parts
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import RoutesUnavailableError
from tierfleet.runtime.route_parts import PartReader, RoutePartError, copy_parts, part_key

TENANTS = {"m07": {"tier": "second", "endpoint": SECOND}}


class Bucket:
    """S3 as far as parts need it. `denied`: so many calls are refused first."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = dict(objects)
        self.denied = 0
        self.calls: list[str] = []

    def _refuse(self, operation: str, status: int, code: str) -> None:
        answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, operation)

    def _note(self, operation: str) -> None:
        self.calls.append(operation)
        if self.denied and operation != "HeadObject":
            self.denied -= 1
            self._refuse(operation, 403, "AccessDenied")

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self._note("GetObject")
        if f"{Bucket}/{Key}" not in self.objects:
            self._refuse("GetObject", 404, "NoSuchKey")
        return {"Body": io.BytesIO(self.objects[f"{Bucket}/{Key}"])}

    def head_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803
        self._note("HeadObject")
        if f"{Bucket}/{Key}" not in self.objects:
            # A function that may not list the bucket gets no 404.
            self._refuse("HeadObject", 403, "403")

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str, **_: str) -> None:  # noqa: N803
        self._note("PutObject")
        assert IfNoneMatch == "*"
        if f"{Bucket}/{Key}" in self.objects:
            self._refuse("PutObject", 412, "PreconditionFailed")
        self.objects[f"{Bucket}/{Key}"] = Body


def asset(content: bytes, name: str = "asset.json") -> dict[str, str]:
    return {"Key": part_key(content), "SourceBucket": "assets", "SourceKey": name}


def copy(bucket: Bucket, *parts: dict[str, str]) -> tuple[int, list[float]]:
    pauses: list[float] = []
    return copy_parts(bucket, bucket="models", parts=parts, sleep=pauses.append), pauses  # type: ignore[arg-type]


def test_a_part_is_copied_once_under_the_name_of_its_content() -> None:
    bucket = Bucket(**{"assets/asset.json": b"{}"})
    assert copy(bucket, asset(b"{}")) == (1, [])
    assert bucket.objects[f"models/{part_key(b'{}')}"] == b"{}"
    del bucket.objects["assets/asset.json"]
    # On the way back to an older document its asset may be gone.
    assert copy(bucket, asset(b"{}")) == (0, [])


def test_two_deployments_may_copy_the_same_part_at_once() -> None:
    bucket = Bucket(**{"assets/asset.json": b"{}"})
    head = bucket.head_object

    def overtaken(**names: str) -> None:
        try:
            head(**names)
        finally:
            bucket.objects[f"models/{part_key(b'{}')}"] = b"{}"

    bucket.head_object = overtaken  # type: ignore[method-assign, assignment]
    assert copy(bucket, asset(b"{}")) == (0, [])


def test_permissions_that_are_not_known_everywhere_yet_are_waited_for() -> None:
    bucket = Bucket(**{"assets/asset.json": b"{}"})
    bucket.denied = 3
    assert copy(bucket, asset(b"{}")) == (1, [10.0] * 3)
    bucket = Bucket(**{"assets/asset.json": b"{}"})
    bucket.denied = 100
    with pytest.raises(ClientError, match="AccessDenied"):
        copy(bucket, asset(b"{}"))
    assert bucket.denied == 100 - 13


def test_an_asset_of_other_bytes_is_not_copied() -> None:
    bucket = Bucket(**{"assets/asset.json": b"other"})
    with pytest.raises(RoutePartError, match="SHA-256 is not the one in its name"):
        copy(bucket, asset(b"{}"))
    assert list(bucket.objects) == ["assets/asset.json"]


def test_a_part_is_read_once_and_only_the_last_ones_are_kept() -> None:
    contents = [json.dumps({"n": number}).encode() for number in range(6)]
    bucket = Bucket(**{f"models/{part_key(content)}": content for content in contents})
    read = PartReader(lambda: bucket)  # type: ignore[arg-type, return-value]
    for content in (contents[0], contents[0], contents[1], contents[0]):
        assert read("models", part_key(content)) == content
    assert len(bucket.calls) == 2
    for content in contents:
        read("models", part_key(content))
    assert len(read._kept) == route_parts._KEPT


# --- the client ---


def client(aws: FakeAws, session: boto3.Session) -> FleetClient:
    aws.endpoints.add(SECOND)
    return FleetClient(FLEET, ENVIRONMENT, session=session)


def test_a_caller_finds_the_tenants_of_a_large_fleet_in_the_bucket(
    aws: FakeAws, url: str, boto_session: boto3.Session
) -> None:
    aws.routes = split_route_document(aws, TENANTS)
    with client(aws, boto_session) as fleet:
        tiers = {tenant: fleet.invoke(tenant, b"1").tier for tenant in ("m07", "m01", "m37")}
    assert tiers == {"m07": "second", "m01": "whale", "m37": "tail"}
    # The part of the warm-up is not in the bucket, and was not asked for.
    assert (aws.count("GetObject"), len(aws.parts)) == (1 + 2, 1)


def test_a_rollback_brings_the_old_part_back_and_reads_nothing_twice(
    aws: FakeAws, url: str, boto_session: boto3.Session
) -> None:
    first = split_route_document(aws, TENANTS)
    second = split_route_document(aws, {})
    aws.routes = first
    with client(aws, boto_session) as fleet:
        seen = []
        for document in (first, second, first):
            aws.routes = document
            fleet._services.routes._read(new_session=True)
            seen.append(fleet.invoke("m07", b"1").tier)
    assert seen == ["second", "tail", "second"]
    assert aws.count("GetObject") == 2 + 1


def test_routes_whose_part_cannot_be_read_are_asked_for_again_and_the_old_ones_serve(
    aws: FakeAws, url: str, boto_session: boto3.Session
) -> None:
    aws.routes = split_route_document(aws, TENANTS)
    with client(aws, boto_session) as fleet:
        assert fleet.invoke("m07", b"1").tier == "second"
        parts, aws.parts = aws.parts, {}
        aws.routes = split_route_document(aws, {})
        aws.parts, new_parts = {}, aws.parts
        with pytest.raises(ClientError, match="NoSuchKey"):
            fleet._services.routes._read(new_session=False)
        assert fleet.invoke("m07", b"1").tier == "second"
        aws.parts = {**parts, **new_parts}
        # AppConfig has handed the document out already: only a new session brings it again.
        fleet._services.routes._read(new_session=False)
        assert fleet.invoke("m07", b"1").tier == "tail"


def test_a_caller_that_never_had_routes_says_which_part_is_wrong(
    aws: FakeAws, url: str, boto_session: boto3.Session
) -> None:
    aws.routes = split_route_document(aws, TENANTS)
    aws.parts = dict.fromkeys(aws.parts, "{}")
    with (
        client(aws, boto_session) as fleet,
        pytest.raises(RoutesUnavailableError, match="SHA-256 is not the one in its name"),
    ):
        fleet.invoke("m07", b"1", deadline_seconds=3)


def test_a_routes_file_may_name_parts_too(aws: FakeAws, url: str, boto_session: boto3.Session, tmp_path: Any) -> None:
    file = tmp_path / "routes.json"
    file.write_text(json.dumps(split_route_document(aws, TENANTS)))
    aws.endpoints.add(SECOND)
    with FleetClient(FLEET, ENVIRONMENT, session=boto_session, routes_file=file) as fleet:
        assert (fleet.invoke("m07", b"1").endpoint, fleet.invoke("m01", b"1").endpoint) == (SECOND, whale("m01"))
        assert fleet.invoke("m37", b"1").endpoint == SHARED
    assert aws.buckets == {BUCKET}
