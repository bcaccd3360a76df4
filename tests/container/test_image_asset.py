"""`container.image = "tierfleet"`: the fleet synthesises with the server's image as an asset of its own."""

import json
import shutil
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ecr_assets as ecr_assets
from running_server import ROOT

from local_cloud.testing.fleets import DELETE, Synth, fleet
from tierfleet import images

OURS = {"container": {"image": images.TIERFLEET_IMAGE, "version": DELETE}}


def asset_hash(directory: Path) -> str:
    stack = cdk.Stack(cdk.App(analytics_reporting=False), "Test")
    return str(ecr_assets.DockerImageAsset(stack, "Server", directory=str(directory)).asset_hash)


def test_a_fleet_with_our_own_image_synthesises(synth: Synth) -> None:
    assembly = synth(fleet(**OURS))
    sources = [
        image["source"]
        for file in assembly.rglob("*.assets.json")
        for image in json.loads(file.read_text()).get("dockerImages", {}).values()
    ]
    assert sources
    assert {source["platform"] for source in sources} == {"linux/amd64"}
    models = [
        resource["Properties"]
        for file in assembly.rglob("*.template.json")
        for resource in json.loads(file.read_text()).get("Resources", {}).values()
        if resource["Type"] == "AWS::SageMaker::Model"
    ]
    assert models
    for properties in models:
        container = properties.get("PrimaryContainer") or properties["Containers"][0]
        assert "container-assets" in json.dumps(container["Image"])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """container/ as it is in a fresh clone."""
    return shutil.copytree(
        ROOT / "container",
        tmp_path / "container",
        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache"),
    )


def test_caches_do_not_change_the_hash_of_the_image(copy: Path) -> None:
    before = asset_hash(copy)
    for name in ("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", "tierfleet_server.egg-info"):
        for parent in (copy, copy / "tierfleet_server"):
            (parent / name).mkdir(exist_ok=True)
            (parent / name / "something.pyc").write_bytes(b"1")
            (parent / name / "something").write_bytes(b"1")
    assert asset_hash(copy) == before


def test_the_code_does_change_the_hash_of_the_image(copy: Path) -> None:
    before = asset_hash(copy)
    (copy / "tierfleet_server" / "server.py").write_text("# other code\n")
    assert asset_hash(copy) != before
