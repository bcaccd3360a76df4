"""`tierfleet preflight` as a process against the local emulator: an empty, a prepared and a used account."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from real_fleet import Fleet

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from local_cloud.testing.fleets import FLEET_FILES, document
from tierfleet.config import load
from tierfleet.images import TIERFLEET_IMAGE
from tierfleet.runtime.names import models_bucket

ACCOUNT, REGION = "123456789012", "eu-west-1"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("preflight")


@pytest.fixture(scope="module")
def cloud(directory: Path) -> Iterator[LocalCloud]:
    """Where the command looks for it: below the directory it is called in."""
    with start(directory / ".local-cloud", account=ACCOUNT) as running:
        yield running


def preflight(directory: Path, file: Path) -> tuple[int, list[dict[str, str]]]:
    """Exit code and findings."""
    command = [Path(sys.executable).with_name("tierfleet"), "preflight", str(file), "--local", "--json"]
    environment = {**os.environ, "COLUMNS": "200"}
    run = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in run.stdout + run.stderr, run.stderr
    said = json.loads(run.stdout)
    assert len(said["assumptions"]) > 30
    findings: list[dict[str, str]] = said["findings"]
    assert all(finding["remedy"] for finding in findings if finding["status"] == "problem")
    return run.returncode, findings


def problems(findings: list[dict[str, str]]) -> set[str]:
    return {finding["area"] for finding in findings if finding["status"] != "ok"}


@pytest.mark.parametrize("file", FLEET_FILES, ids=lambda file: file.stem)
def test_each_shipped_fleet_in_an_empty_account_needs_a_bootstrap_and_quotas(
    cloud: LocalCloud, directory: Path, file: Path
) -> None:
    code, findings = preflight(directory, file)
    # The images of examples/ are pushed before the showcase is deployed. The image `tierfleet` needs Docker, which may
    # not be here.
    images = {"image"} if file.stem == "showcase-dev" else set()
    docker = {"image"} if load(file).container.image == TIERFLEET_IMAGE else set()
    assert (code, problems(findings) - docker) == (1, {"bootstrap", "quotas", *images})
    areas = {finding["area"] for finding in findings}
    assert areas == {"credentials", "bootstrap", "stacks", "bucket", "image", "quotas"}
    assert not [finding for finding in findings if finding["status"] == "unknown"]


def a_network(cloud: LocalCloud) -> dict[str, Any]:
    """A VPC of two zones with a gateway endpoint for S3."""
    ec2 = cloud.client("ec2", ACCOUNT, region=REGION)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]
        for number, zone in enumerate("ab")
    ]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    for subnet in subnets:
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet["SubnetId"])
    service = f"com.amazonaws.{REGION}.s3"
    ec2.create_vpc_endpoint(VpcId=vpc, ServiceName=service, VpcEndpointType="Gateway", RouteTableIds=[table])
    group = ec2.create_security_group(GroupName="models", Description="models", VpcId=vpc)["GroupId"]
    return {"subnets": [subnet["SubnetId"] for subnet in subnets], "security_group_ids": [group]}


def a_key(cloud: LocalCloud) -> str:
    """A key that CloudWatch and EventBridge may use."""
    services = {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]}
    actions = ["kms:Decrypt", "kms:GenerateDataKey*"]
    statement = {"Effect": "Allow", "Principal": services, "Action": actions, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = cloud.client("kms", ACCOUNT, region=REGION).create_key(Policy=policy)
    arn: str = made["KeyMetadata"]["Arn"]
    return arn


def test_a_fleet_in_a_vpc_with_keys_is_proven_before_and_after_its_deployment(
    cloud: LocalCloud, directory: Path, synth: Any
) -> None:
    key = a_key(cloud)
    encryption = {"bucket_kms_key_arn": key, "volume_kms_key_arn": key, "topic_kms_key_arn": key}
    changes: dict[str, Any] = {"network": a_network(cloud), "encryption": encryption}
    file = directory / "shop-test.toml"
    file.write_text(tomlkit.dumps(document(account=ACCOUNT, **changes)))
    shop = Fleet(Account(cloud, ACCOUNT), synth)

    code, findings = preflight(directory, file)
    assert (code, problems(findings)) == (1, {"bootstrap", "quotas"}), findings
    assert [finding["area"] for finding in findings].count("network") == 3
    assert [finding["area"] for finding in findings].count("keys") == 3

    # ministack would skip a topic's key, so the local emulator refuses one.
    shop.create(network=changes["network"], encryption={"bucket_kms_key_arn": key, "volume_kms_key_arn": key})
    code, findings = preflight(directory, file)
    assert (code, problems(findings)) == (1, {"quotas"}), findings
    said = [finding["message"] for finding in findings if finding["area"] in ("stacks", "models")]
    assert said == [
        "shop-test-Models is CREATE_COMPLETE",
        "shop-test-Fleet is CREATE_COMPLETE",
        "there are models below models/",
        "the artefacts of 1 dedicated tenants exist",
    ]


def test_an_account_with_something_amiss_says_each_thing_at_once(cloud: LocalCloud, directory: Path) -> None:
    s3 = cloud.client("s3", ACCOUNT, region=REGION)
    bucket = models_bucket("torn", "test", ACCOUNT, REGION)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    content = document(
        account=ACCOUNT,
        fleet="torn",
        container={"image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mine:1"},
        network={"subnets": ["subnet-0123abcd", "subnet-0123abce"], "security_group_ids": ["sg-0123abcd"]},
        encryption={"bucket_kms_key_arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"},
    )
    del content["container"]["version"]
    file = directory / "torn-test.toml"
    file.write_text(tomlkit.dumps(content))
    code, findings = preflight(directory, file)
    assert code == 1
    assert problems(findings) >= {"stacks", "image", "network", "keys", "models", "quotas"}
    assert not [finding for finding in findings if finding["status"] == "unknown"], findings


def test_a_pipeline_of_own_and_awss_images_needs_a_repository_policy(cloud: LocalCloud, directory: Path) -> None:
    ecr, image = cloud.client("ecr", ACCOUNT, region=REGION), f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/team/steps:1"
    ecr.create_repository(repositoryName="team/steps")
    pipeline = {
        "hosting": "pipeline",
        "instance_type": "ml.m5.large",
        "instances": {"min": 2, "max": 2, "initial": 2},
        "scaling": {"max_requests_per_second": 50},
        "alarms": {"max_model_latency_p99_milliseconds": 100},
        "stages": [
            {"name": "features", "image": image},
            {"name": "score", "image": "sagemaker-xgboost", "version": "1.7-1", "model": "tenant"},
        ],
        "tenants": {"p1": {"model": "p1/1.tar.gz"}},
    }
    file = directory / "mixed-test.toml"
    content = document(account=ACCOUNT, fleet="mixed", network_isolation=False, tiers={"decided": pipeline})
    file.write_text(tomlkit.dumps(content))

    def said() -> dict[str, str]:
        return {each["message"]: each["status"] for each in preflight(directory, file)[1] if each["area"] == "image"}

    before = said()
    assert before[f"{image} cannot be pulled: Requested image not found"] == "problem"
    (missing,) = [message for message in before if "the policy of team/steps" in message]
    assert (
        "does not allow sagemaker.amazonaws.com ecr:BatchCheckLayerAvailability, ecr:BatchGetImage, ecr:Get" in missing
    )
    actions = ["ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"]
    statement = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": actions}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ecr.set_repository_policy(repositoryName="team/steps", policyText=policy)
    assert said()["the policy of team/steps lets SageMaker pull"] == "ok"
