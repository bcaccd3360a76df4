"""References to artefacts other than the pointers, and when gc looks for them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from versioned_s3 import VersionedS3

from local_cloud.testing.fleets import fleet
from tierfleet.models.collection.delete import delete_garbage
from tierfleet.models.collection.find import find_garbage
from tierfleet.models.publish import publish
from tierfleet.models.references import Deployed, pins, read_deployed
from tierfleet.models.remove import RemoveError, check_removed, obstacles, remove
from tierfleet.models.rollback import RollbackError, roll_back
from tierfleet.runtime.route_parsing import parse_routes

BUCKET = "shop--test--models--1--eu-west-1"


class SageMaker:
    """Models by name; one that is None was deleted after it was listed."""

    class exceptions:  # noqa: N801 - as boto3 has it
        ClientError = ClientError

    def __init__(self, **models: dict[str, Any] | None) -> None:
        self.models = models
        self.described: list[str] = []

    def get_paginator(self, _operation: str) -> "SageMaker":
        return self

    def paginate(self) -> Iterator[dict[str, Any]]:
        for name in self.models:
            yield {"Models": [{"ModelName": name}]}

    def describe_model(self, *, ModelName: str) -> dict[str, Any]:  # noqa: N803
        self.described.append(ModelName)
        model = self.models[ModelName]
        if model is None:
            error = {"Code": "ValidationException", "Message": f'Could not find model "arn:aws:…:model/{ModelName}".'}
            raise ClientError({"Error": error}, "DescribeModel")
        return model


def url(key: str, bucket: str = BUCKET) -> str:
    return f"s3://{bucket}/{key}"


def container(data_url: str) -> dict[str, Any]:
    return {"PrimaryContainer": {"ModelDataUrl": data_url}}


def source(uri: str) -> dict[str, Any]:
    return {"S3DataSource": {"S3Uri": uri}}


def test_every_way_a_sagemaker_model_names_an_artefact_counts() -> None:
    sagemaker: Any = SageMaker(
        tail=container(url("models/")),
        whale=container(url("models/w1/1.tar.gz")),
        pipeline={"Containers": [{"ModelDataUrl": url("models/p1/1.tar.gz")}, {"Image": "x"}]},
        modern={"PrimaryContainer": {"ModelDataSource": source(url("models/n1/1.tar.gz"))}},
        adapters={"PrimaryContainer": {"AdditionalModelDataSources": [source(url("models/a1/"))]}},
        by_hand=container(url("models/h1/")),
        elsewhere=container(url("models/e1/1.tar.gz", "another-bucket")),
        deleted=None,
    )
    deployed = read_deployed(sagemaker, BUCKET)
    assert deployed.targets.keys() == {"w1/1.tar.gz", "p1/1.tar.gz", "n1/1.tar.gz"}
    assert deployed.why("h1/7.tar.gz") == "under the prefix of SageMaker model by_hand"
    assert deployed.why("a1/7.tar.gz") == "under the prefix of SageMaker model adapters"
    assert deployed.why("e1/1.tar.gz") is None
    assert deployed.why("t1/1.tar.gz") is None


def test_a_model_over_the_whole_bucket_keeps_everything() -> None:
    sagemaker: Any = SageMaker(wide=container(url("")))
    assert read_deployed(sagemaker, BUCKET).why("t1/1.tar.gz") == "under the prefix of SageMaker model wide"


def test_a_second_look_describes_only_what_came_since() -> None:
    sagemaker: Any = SageMaker(one=container(url("models/w1/1.tar.gz")))
    known = read_deployed(sagemaker, BUCKET)
    sagemaker.models["two"] = container(url("models/w2/1.tar.gz"))
    again = read_deployed(sagemaker, BUCKET, known=known)
    assert sagemaker.described == ["one", "two"]
    assert again.targets.keys() == {"w1/1.tar.gz", "w2/1.tar.gz"}


def test_an_artefact_that_is_deployed_while_gc_runs_is_kept() -> None:
    s3 = VersionedS3()
    for version in "123":
        publish(s3.client(), bucket=BUCKET, tenant="t1", version=version, archive=version.encode(), now=s3.now)
    keywords: dict[str, Any] = {"bucket": BUCKET, "now": s3.now}
    collection, held = find_garbage(s3.client(), pins={}, deployed=Deployed(), grace=timedelta(), **keywords)
    assert [item.target_model for item in collection.of("garbage")] == ["t1/1.tar.gz"]
    now_deployed = Deployed(targets={"t1/1.tar.gz": "deployed as SageMaker model new"})
    delete_garbage(s3.client(), collection, held, look_again=lambda: now_deployed, **keywords)
    assert collection.of("deleted") == []
    assert s3.content("models/t1/1.tar.gz") == b"1"


def test_the_pins_of_all_fleets_count() -> None:
    other = fleet(tiers={"whale": {"tenants": {"w1": {"model": "w1/old.tar.gz"}}}})
    assert pins([fleet(), other]).keys() == {"w1/2027-01-01.tar.gz", "w1/old.tar.gz"}


def test_what_keeps_a_tenant_from_being_removed() -> None:
    whale = {"tier": "whale", "endpoint": "shop--test--whale--t9--dedicated-m5-large"}
    routes = parse_routes(
        '{"version": 1, "fleet": "shop", "environment": "test", "default_tier": "tail", "tiers": {"tail": {"hosting":'
        ' "multi-model", "endpoint": "e"}, "whale": {"hosting": "dedicated"}}, "tenants": {"t9": '
        f'{{"tier": "{whale["tier"]}", "endpoint": "{whale["endpoint"]}"}}}}}}'
    )
    deployed = Deployed(targets={"t9/1.tar.gz": "deployed as SageMaker model x", "t90/1.tar.gz": "another's"})
    refusals, warnings = obstacles(fleet(), "t9", routes=routes, deployed=deployed)
    assert refusals == [
        "the deployed routes send t9 to shop--test--whale--t9--dedicated-m5-large; deploy the fleet without it first",
        "a model of t9 is deployed as SageMaker model x; deploy the fleet without it first",
    ]
    assert warnings == []
    assert obstacles(fleet(), "t5", routes=None, deployed=Deployed()) == ([], [])
    assert "on the warm-up list" in obstacles(fleet(), "t1", routes=None, deployed=Deployed())[1][0]


def test_an_artefact_that_is_named_by_https_counts_too() -> None:
    sagemaker: Any = SageMaker(
        host=container(f"https://{BUCKET}.s3.eu-west-1.amazonaws.com/models/w1/1.tar.gz"),
        path=container(f"https://s3.eu-west-1.amazonaws.com/{BUCKET}/models/w2/1.tar.gz"),
        prefix=container(f"https://s3.eu-west-1.amazonaws.com/{BUCKET}/models/w3/"),
        other=container(f"https://s3.eu-west-1.amazonaws.com/another-bucket/{BUCKET}/models/w4/1.tar.gz"),
    )
    deployed = read_deployed(sagemaker, BUCKET)
    assert deployed.targets.keys() == {"w1/1.tar.gz", "w2/1.tar.gz"}
    assert deployed.prefixes.keys() == {"w3/"}


@pytest.mark.parametrize("tenant", ["", "../m01", "M01", "m01/"])
def test_what_is_no_tenant_id_removes_nothing(tenant: str) -> None:
    s3 = VersionedS3()
    publish(s3.client(), bucket=BUCKET, tenant="t1", version="1", archive=b"1")
    for step in (remove, check_removed):
        with pytest.raises(RemoveError, match=f"{tenant!r} is not a tenant id"):
            step(s3.client(), bucket=BUCKET, tenant=tenant)
    assert s3.keys("catalog/") == ["catalog/t1.json"]


def test_a_rollback_to_an_empty_version_is_refused() -> None:
    s3 = VersionedS3()
    for version in ("1", "2"):
        publish(s3.client(), bucket=BUCKET, tenant="t1", version=version, archive=version.encode())
    with pytest.raises(RollbackError, match="version '' must match"):
        roll_back(s3.client(), bucket=BUCKET, tenant="t1", to="")
