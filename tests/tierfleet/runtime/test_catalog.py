"""Reading one tenant's pointer."""

import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from loopback import BUCKET

from tierfleet.runtime.catalog import CatalogError, NoSuchModelError, Pointer, read_pointer

KEY = {"Bucket": BUCKET, "Key": "catalog/m37.json"}
POINTER = {
    "tenant": "m37",
    "version": "2027-09-14",
    "target_model": "m37/2027-09-14.tar.gz",
    "sha256": "extra",
}


@pytest.fixture(scope="module")
def s3_client() -> Any:
    return boto3.Session("test", "test", region_name="eu-west-1").client("s3")


@pytest.fixture
def s3(s3_client: Any) -> Iterator[Stubber]:
    with Stubber(s3_client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def add_pointer(s3: Stubber, content: str) -> None:
    s3.add_response("get_object", {"Body": StreamingBody(io.BytesIO(content.encode()), len(content.encode()))}, KEY)


def test_the_pointer_says_which_model_is_current(s3: Stubber) -> None:
    add_pointer(s3, json.dumps(POINTER))
    pointer = read_pointer(s3.client, bucket=BUCKET, tenant="m37")
    assert pointer == Pointer("m37", "2027-09-14", "m37/2027-09-14.tar.gz")


def test_a_tenant_without_a_pointer_has_no_model(s3: Stubber) -> None:
    s3.add_client_error("get_object", "NoSuchKey", "The specified key does not exist.")
    with pytest.raises(NoSuchModelError, match=f"m37 .* s3://{BUCKET}/catalog/m37.json"):
        read_pointer(s3.client, bucket=BUCKET, tenant="m37")


def test_a_removed_tenant_has_no_model(s3: Stubber) -> None:
    add_pointer(s3, json.dumps({"tenant": "m37", "removed_at": "2027-09-14T12:00:00+00:00"}))
    with pytest.raises(NoSuchModelError, match="m37 was removed at 2027-09-14T12:00:00"):
        read_pointer(s3.client, bucket=BUCKET, tenant="m37")


def test_a_denied_read_stays_what_it_is(s3: Stubber) -> None:
    s3.add_client_error("get_object", "AccessDenied", "Access Denied")
    with pytest.raises(ClientError, match="AccessDenied"):
        read_pointer(s3.client, bucket=BUCKET, tenant="m37")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "malformed"),
        ("[]", "malformed"),
        ('{"tenant": "m37"}', "malformed: KeyError"),
        (json.dumps({**POINTER, "tenant": "m38"}), "belongs to tenant 'm38'"),
        (json.dumps({**POINTER, "target_model": "m38/1.tar.gz"}), "points to 'm38/1.tar.gz'"),
        (json.dumps({**POINTER, "target_model": "m37"}), "points to"),
        (json.dumps({**POINTER, "target_model": "m37/"}), "points to"),
        (json.dumps({**POINTER, "target_model": "m37/../m38/1.tar.gz"}), "points to"),
        (json.dumps({**POINTER, "target_model": "m37-b/1.tar.gz"}), "points to"),
        (json.dumps({**POINTER, "target_model": None}), "points to None"),
    ],
)
def test_a_pointer_that_cannot_be_used_is_one_clear_error(s3: Stubber, content: str, message: str) -> None:
    add_pointer(s3, content)
    with pytest.raises(CatalogError, match=message):
        read_pointer(s3.client, bucket=BUCKET, tenant="m37")


@pytest.mark.parametrize("tenant", ["", "../m38", "m37/", "M37", "m--37", "m37\n"])
def test_a_text_that_is_no_tenant_id_is_never_sent(s3: Stubber, tenant: str) -> None:
    with pytest.raises(CatalogError, match="not a tenant id"):
        read_pointer(s3.client, bucket=BUCKET, tenant=tenant)
