"""A route document too large for its template, deployed with IAM enforced; who may delete what the bucket holds."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from real_fleet import FLEET, MODELS, TAIL, Fleet

from local_cloud import start
from local_cloud.testing.account import Account
from local_cloud.testing.fleets import document
from tierfleet.cli.aws import read_routes
from tierfleet.runtime import names

ACCOUNT = "300000000003"
SECOND = "shop--test--second--all--mme-m5-xlarge"
BUCKET = names.models_bucket("shop", "test", ACCOUNT, "eu-west-1")


def large(*warmed: str, count: int = 9000) -> dict[str, Any]:
    """Changes that add a shared tier of so many tenants; these of them are warmed."""
    tail = document()["tiers"]["tail"]
    warm_up = {**tail["warm_up"], "tenants": list(warmed)}
    tenants = [f"tenant-{number:05}" for number in range(count)]
    return {"tiers": {"second": {**tail, "default": False, "tenants": tenants, "warm_up": warm_up}}}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, synth: Any) -> Iterator[Fleet]:
    with start(tmp_path_factory.mktemp("route-parts"), account=ACCOUNT, enforce_iam=True) as cloud:
        shop = Fleet(Account(cloud, ACCOUNT), synth)
        stacks = shop.synthesise(**large("tenant-00001", "tenant-08999"))
        assert shop.deploy(stacks[MODELS]) == "CREATE_COMPLETE"
        shop.publish("t1/1", "w1/2027-01-01", "tenant-00001/1", "tenant-08999/1")
        assert shop.deploy(stacks[FLEET]) == "CREATE_COMPLETE", shop.reasons()
        yield shop


def session(shop: Fleet) -> boto3.Session:
    return boto3.Session(ACCOUNT, "test", region_name="eu-west-1")


def seen(shop: Fleet) -> Any:
    """The routes as a command reads them."""
    return read_routes("shop", "test", session=session(shop), endpoint_url=shop.account.cloud.endpoint_url)


def test_lists_in_the_bucket_are_routes_and_warm_ups_and_a_rollback_brings_them_back(shop: Fleet) -> None:
    hosted = shop.served_routes()
    assert (set(hosted["tenants"]), set(hosted["parts"])) == ({"w1"}, {"tenants", "warm_up"})
    routes = seen(shop)
    assert (routes.route_of("tenant-08999").endpoint, routes.route_of("t1").endpoint) == (SECOND, TAIL)
    assert routes.warm_ups["second"].tenants == ("tenant-00001", "tenant-08999")
    # The gate read the list from the bucket.
    assert set(shop.warmed(SECOND)) == {"tenant-00001/1.tar.gz", "tenant-08999/1.tar.gz"}

    s3 = shop.account.client("s3")
    # A deployment that fails after its own parts are in the bucket.
    broken = large("tenant-00001", count=9001)
    broken["tiers"]["whale"] = {"tenants": {"w2": {"model": "w2/never-published.tar.gz"}}}
    assert shop.update(**broken) == "UPDATE_ROLLBACK_COMPLETE"
    assert shop.served_routes() == hosted
    assert seen(shop).route_of("tenant-08999").endpoint == SECOND
    assert len(s3.list_objects_v2(Bucket=BUCKET, Prefix="routes/")["Contents"]) > len(hosted["parts"])

    # Small enough again: the document is whole, and its parts stay for callers that still hold the old one.
    assert shop.update(**large("tenant-00001", count=10)) == "UPDATE_COMPLETE", shop.reasons()
    whole = shop.served_routes()
    assert ("parts" in whole, "tenant-00009" in whole["tenants"]) == (False, True)
    kept = {item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix="routes/")["Contents"]}
    assert set(hosted["parts"].values()) <= kept


def acting_as(shop: Fleet, role: str) -> Any:
    """S3 as a session of a role that its own policy allows everything."""
    iam, anybody = shop.account.client("iam"), {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": anybody, "Action": "sts:AssumeRole"}],
    }
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=json.dumps(everything))
    keys = shop.account.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return boto3.client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=shop.account.cloud.endpoint_url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.mark.parametrize("prefix", ["models/t8/1.tar.gz", "routes/8.json"])
def test_no_role_can_delete_a_key_and_write_it_again(shop: Fleet, prefix: str) -> None:
    name = prefix.partition("/")[0]
    publisher, collector = (acting_as(shop, f"{role}-{name}") for role in ("publisher", "gc"))
    named = {"models": {"gc_principal_arns": [f"arn:aws:iam::{ACCOUNT}:role/gc-{name}"]}}
    assert shop.deploy(shop.synthesise(**named)[MODELS]) == "UPDATE_COMPLETE", shop.reasons()

    def refused(client: Any, operation: str, **request: Any) -> str:
        with pytest.raises(ClientError) as error:
            getattr(client, operation)(Bucket=BUCKET, Key=prefix, **request)
        return str(error.value.response["Error"]["Code"])

    publisher.put_object(Bucket=BUCKET, Key=prefix, Body=b"one", IfNoneMatch="*")
    version = publisher.head_object(Bucket=BUCKET, Key=prefix)["VersionId"]
    assert refused(publisher, "put_object", Body=b"two") == "AccessDenied"
    assert refused(publisher, "put_object", Body=b"two", IfNoneMatch="*") == "PreconditionFailed"
    assert refused(publisher, "delete_object") == "AccessDenied"
    assert refused(publisher, "delete_object", VersionId=version) == "AccessDenied"
    assert refused(collector, "put_object", Body=b"two", IfNoneMatch="*") == "AccessDenied"
    collector.delete_object(Bucket=BUCKET, Key=prefix)
    assert refused(collector, "put_object", Body=b"two", IfNoneMatch="*") == "AccessDenied"
    # Pointers change all the time.
    for client in (publisher, collector):
        client.put_object(Bucket=BUCKET, Key="catalog/t8.json", Body=b"{}")
    publisher.delete_object(Bucket=BUCKET, Key="catalog/t8.json")
