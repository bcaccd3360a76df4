"""Instance types, images, routes and quotas: what a fleet file means, without CDK."""

import re
from pathlib import Path

import botocore.session
import pytest
from jsonschema import Draft4Validator

from local_cloud.testing.fleets import FLEET_FILES, ROOT, fleet
from tierfleet import images
from tierfleet.config import load, routes
from tierfleet.config.quotas import quota_table, quotas
from tierfleet.instance_types import describe, hosting_types


@pytest.mark.parametrize(
    ("name", "vcpus", "memory_gib", "nvme"),
    [
        ("ml.m5.large", 2, 8, False),
        ("ml.m5.xlarge", 4, 16, False),
        ("ml.r5.2xlarge", 8, 64, False),
        ("ml.c5.9xlarge", 36, 72, False),
        ("ml.m5d.4xlarge", 16, 64, True),
        ("ml.t2.medium", 2, 4, False),
        ("ml.m7i.48xlarge", 192, 768, False),
    ],
)
def test_an_instance_types_name_says_its_size(name: str, vcpus: int, memory_gib: int, nvme: bool) -> None:
    instance_type = describe(name)
    assert (instance_type.vcpus, instance_type.memory_gib, instance_type.local_nvme) == (vcpus, memory_gib, nvme)


def test_the_types_we_host_on_are_those_sagemaker_knows() -> None:
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("ProductionVariantInstanceType")
    assert hosting_types() == {name for name in shape.enum if re.match(r"ml\.([cmr]([5-9]|\d\d)|t2)", name)}
    assert all(describe(name).vcpus >= 1 for name in hosting_types())


@pytest.mark.parametrize("name", ["ml.p3.2xlarge", "ml.inf2.xlarge", "m5.large", "ml.m5", "ml.m5.8xlarge", ""])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"not a CPU type|use a CPU type|begin with ml"):
        describe(name)


def test_stock_images_are_published_in_every_partition_by_twelve_digit_accounts_of_their_own() -> None:
    accounts = images.publishing_accounts()
    assert len(accounts) == 33
    assert all(re.fullmatch(r"[0-9]{12}", account) for account in accounts.values())
    assert len(set(accounts.values())) == len(accounts)
    known = {region for partition in ("aws", "aws-cn", "aws-us-gov") for region in _regions(partition)}
    assert accounts.keys() <= known


def _regions(partition: str) -> list[str]:
    session = botocore.session.get_session()
    return session.get_available_regions("sagemaker", partition) + session.get_available_regions("s3", partition)


@pytest.mark.parametrize(
    ("image", "version", "region", "uri"),
    [
        (
            "sagemaker-xgboost",
            "1.7-1",
            "eu-west-1",
            "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1",
        ),
        (
            "sagemaker-scikit-learn",
            "1.2-1",
            "us-east-1",
            "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
        ),
        (
            "sagemaker-xgboost",
            "3.0-5",
            "cn-north-1",
            "450853457545.dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-xgboost:3.0-5",
        ),
    ],
)
def test_a_stock_image_resolves_to_its_published_uri(image: str, version: str, region: str, uri: str) -> None:
    assert images.stock_image_uri(image, version, region) == uri
    assert images.is_ecr_uri(uri)
    assert images.repository_arn(uri, images.partition_of(region)).endswith(f":repository/{image}")


@pytest.mark.parametrize("file", FLEET_FILES, ids=lambda file: file.stem)
def test_the_route_document_satisfies_the_draft_04_schema_appconfig_checks(file: Path) -> None:
    config = load(file)
    Draft4Validator.check_schema(routes.route_schema(config))
    Draft4Validator(routes.route_schema(config)).validate(routes.route_document(config))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("models_bucket",), ""),
        (("tenants", "w1", "model_version"), ""),
        (("ttl_seconds",), 14),
        (("ttl_seconds",), 3601),
        (("tiers", "tail"), {"hosting": "multi-model"}),
        (("tiers", "whale"), {"hosting": "dedicated", "endpoint": "e"}),
        (("tenants", "w1"), {"tier": "whale"}),
        (("warm_up", "tiers", "tail", "concurrency"), 0),
        (("surprise",), True),
    ],
)
def test_the_schema_refuses_a_broken_document(path: tuple[str, ...], value: object) -> None:
    document = routes.route_document(fleet())
    table = document
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    assert not Draft4Validator(routes.ROUTE_SCHEMA).is_valid(document)


def test_routes_name_only_the_exceptions() -> None:
    document = routes.route_document(fleet())
    endpoint = "shop--test--whale--w1--dedicated-m5-large"
    assert document["tenants"] == {"w1": {"tier": "whale", "endpoint": endpoint, "model_version": "2027-01-01"}}
    assert document["tiers"]["tail"]["endpoint"] == "shop--test--tail--all--mme-m5-xlarge"
    assert document["default_tier"] == "tail"


def test_routes_name_the_models_bucket_and_how_long_they_may_be_used() -> None:
    document = routes.route_document(fleet(routes={"ttl_seconds": 90}))
    assert document["models_bucket"] == "shop--test--models--123456789012--eu-west-1"
    assert document["ttl_seconds"] == 90


def test_a_document_of_before_the_bucket_stays_deployable() -> None:
    document = routes.route_document(fleet())
    del document["models_bucket"], document["ttl_seconds"], document["tenants"]["w1"]["model_version"]
    assert Draft4Validator(routes.ROUTE_SCHEMA).is_valid(document)


def test_a_promoted_tenant_leaves_the_warm_up_of_its_old_tier() -> None:
    promoted = fleet(tiers={"whale": {"tenants": {"t2": {"model": "t2/1.tar.gz"}}}})
    assert routes.route_document(promoted)["warm_up"]["tiers"]["tail"]["tenants"] == ["t1", "t3"]


def test_a_warm_up_loads_as_many_models_at_once_as_the_first_instances_have_vcpus() -> None:
    assert routes.route_document(fleet())["warm_up"]["tiers"]["tail"]["concurrency"] == 8


def test_quotas_count_every_endpoint_at_its_maximum_and_twice_while_updating() -> None:
    by_name = {quota.name: quota for quota in quotas(load(ROOT / "config" / "fraud-prod.toml"))}
    large = by_name["ml.m5.large for endpoint usage"]
    assert (large.at_maximum, large.while_updating, large.default) == (5 * 8, 80, 0)
    fleet_wide = by_name["Number of instances across active endpoints"]
    assert (fleet_wide.at_maximum, fleet_wide.while_updating, fleet_wide.default) == (46, 92, 4)


def test_the_quota_table_says_what_to_request_and_only_where_needed() -> None:
    config = load(ROOT / "config" / "fraud-dev.toml")
    lines = quota_table(config, quotas(config)).splitlines()
    assert "request 12" in lines[2]
    assert "request" not in lines[-1]


def test_a_schedule_that_raises_the_maximum_raises_the_quota() -> None:
    evening = {"evening": {"schedule": "cron(0 18 * * ? *)", "min": 2, "max": 20}}
    config = fleet(tiers={"tail": {"scaling": {"schedules": evening}}})
    by_name = {quota.name: quota for quota in quotas(config)}
    assert by_name["ml.m5.xlarge for endpoint usage"].at_maximum == 20
