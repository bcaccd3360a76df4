"""Publishing for a multi-container endpoint: an artefact for each container; the pointer names the primary one's."""

from pathlib import Path
from typing import Any

import pytest
from small_models import small_model
from versioned_s3 import VersionedS3

from local_cloud.testing.fleets import CONFIG, ROOT, fleet
from tierfleet.cli.local.deployment import a_call
from tierfleet.config import FleetConfig, load
from tierfleet.models import pointer
from tierfleet.models.container_models import leave_pointers, packaging_for, validate_for
from tierfleet.models.files import ModelFile
from tierfleet.models.listing import list_models
from tierfleet.models.package import Package
from tierfleet.models.publish_many import publish_all
from tierfleet.models.sample_models import train_sample_models
from tierfleet.models.target import DENSE, Target, stock_target

OWN = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/velocity:1"
BUCKET = "shop--test--models--123456789012--eu-west-1"


def shop(version: int = 1, primary: str = "card") -> FleetConfig:
    """c1 has a stock, a dense and an own image; `card` comes first by name and is primary."""
    images: dict[str, dict[str, Any]] = {
        "card": {"image": "sagemaker-xgboost", "version": "1.7-1"},
        "document": {"image": "tierfleet"},
        "velocity": {"image": OWN},
    }
    containers = [{"hostname": name, "model": f"c1/{name}-{version}.tar.gz", **image} for name, image in images.items()]
    trio = {
        "hosting": "multi-container",
        "instance_type": "ml.m5.large",
        "instances": {"min": 2, "max": 2, "initial": 2},
        "scaling": {"max_requests_per_second": 50},
        "alarms": {"max_model_latency_p99_milliseconds": 100},
        "tenants": {"c1": {"primary": primary, "containers": containers}},
    }
    return fleet(network_isolation=False, tiers={"trio": trio})


def archives(directory: Path, *names: str) -> list[ModelFile]:
    (directory / "c1").mkdir(exist_ok=True)
    models = []
    for name in names:
        file = directory / "c1" / f"{name}.tar.gz"
        file.write_bytes(name.encode())
        models.append(ModelFile("c1", name, file))
    return models


def as_it_is(model: ModelFile, _target: Target | None) -> Package:
    return Package(model.file.read_bytes())


def run(s3: VersionedS3, config: FleetConfig, models: list[ModelFile]) -> dict[str, str]:
    outcomes = publish_all(
        s3.client(),
        bucket=BUCKET,
        models=models,
        jobs=2,
        package_of=packaging_for(config, as_it_is),
        leave_pointers=leave_pointers(config),
    )
    return {outcome.model.version: outcome.status for outcome in outcomes}


def test_only_the_primary_containers_artefact_becomes_current_and_a_rerun_completes_the_rest(tmp_path: Path) -> None:
    s3, config = VersionedS3(), shop()
    models = archives(tmp_path, "velocity-1", "card-1", "document-1")
    assert run(s3, config, models) == dict.fromkeys(("velocity-1", "card-1", "document-1"), "published")
    assert pointer.read(s3.client(), BUCKET, "c1").entry.version == "card-1"
    assert run(s3, config, models) == dict.fromkeys(("velocity-1", "card-1", "document-1"), "unchanged")
    # A later version of a further container is stored although the primary one stays as it is.
    later = archives(tmp_path, "velocity-2", "card-1")
    assert run(s3, shop(2), [later[0]]) == {"velocity-2": "published"}
    assert pointer.read(s3.client(), BUCKET, "c1").entry.version == "card-1"
    assert sorted(s3.keys("models/")) == [
        f"models/c1/{name}.tar.gz" for name in ("card-1", "document-1", "velocity-1", "velocity-2")
    ]


def test_each_model_is_packaged_for_its_own_containers_image(tmp_path: Path) -> None:
    targets: dict[str, Target | None] = {}

    def make(model: ModelFile, target: Target | None) -> Package:
        targets[model.version] = target
        return Package(b"made")

    package_one = packaging_for(shop(), make)
    made = {
        m.version: package_one(m).archive for m in archives(tmp_path, "card-1", "document-1", "velocity-1", "other-1")
    }
    assert targets == {"card-1": stock_target("1.7-1"), "document-1": DENSE, "other-1": None}
    assert made["velocity-1"] == b"velocity-1"
    with pytest.raises(ValueError, match=r"reads a \.tar\.gz of its own"):
        package_one(ModelFile("c1", "velocity-1", tmp_path / "velocity-1.ubj"))


def test_the_fleets_probe_is_no_row_of_a_single_container(tmp_path: Path) -> None:
    """The probe has three columns, the model five."""
    file = tmp_path / "document-1.ubj"
    file.write_bytes(small_model(5))
    (checked,) = validate_for(shop(), [ModelFile("c1", "document-1", file)], jobs=1)
    assert [finding for finding in checked.findings if finding.severity == "error"] == []


def test_the_list_names_every_pinned_artefact_that_is_missing(tmp_path: Path) -> None:
    s3, config = VersionedS3(), shop()
    run(s3, config, archives(tmp_path, "card-1", "velocity-1"))
    (row,) = (row for row in list_models(s3.client(), bucket=BUCKET, fleet=config).rows if row.tenant == "c1")
    assert (row.pinned, row.version, row.broken) == ("card-1", "card-1", True)
    assert row.problems == ("the pin names document-1, which is not in the bucket",)


def test_every_container_gets_a_sample_model(tmp_path: Path) -> None:
    config = shop()
    train_sample_models(config, tmp_path)
    assert sorted(file.name for file in (tmp_path / "c1").iterdir()) == [
        "card-1.ubj",
        "document-1.ubj",
        "velocity-1.ubj",
    ]


def test_the_command_to_try_next_names_a_container_only_where_no_other_tenant_can_be_called() -> None:
    assert a_call(load(CONFIG / "showcase-dev.toml")) == "tierfleet invoke m01 --local"
    alone = load(ROOT / "examples" / "contract_server" / "trio-dev.toml")
    assert a_call(alone) == "tierfleet invoke m12 --local --container primary"
