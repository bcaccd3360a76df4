"""Publishing for a pipeline: a model for its own stage, anything else as it is, and a pointer for the model alone."""

from pathlib import Path
from typing import Any

import pytest
from small_models import small_model

from local_cloud.testing.fleets import fleet
from tierfleet.config import FleetConfig
from tierfleet.models.container_models import container_artefacts, leave_pointers, validate_for
from tierfleet.models.files import ModelFile
from tierfleet.models.references import pins
from tierfleet.models.validation.validate import validate

OWN = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/steps:1"


def shop(*, shared: bool = False) -> FleetConfig:
    score: dict[str, Any] = {"name": "score", "image": "tierfleet"}
    stages = [
        {"name": "words", "image": OWN, "model": "words/1.tar.gz"},
        {"name": "features", "image": OWN},
        {**score, "mode": "MultiModel"} if shared else {**score, "model": "tenant"},
    ]
    own = {"model": "p1/3.tar.gz", "stage_models": {"features": "p1/features-2.tar.gz"}}
    decided = {
        "hosting": "pipeline",
        "instance_type": "ml.m5.large",
        "instances": {"min": 2, "max": 2, "initial": 2},
        "scaling": {"max_requests_per_second": 50},
        "alarms": {"max_model_latency_p99_milliseconds": 100},
        "stages": stages,
        "tenants": {"p1": {} if shared else own},
    }
    return fleet(network_isolation=False, tiers={"decided": decided})


def test_only_the_tenants_model_becomes_its_current_version() -> None:
    artefacts = container_artefacts(shop())
    assert {name: each.container.image for name, each in artefacts.items()} == {
        "words/1.tar.gz": OWN,
        "p1/3.tar.gz": "tierfleet",
        "p1/features-2.tar.gz": OWN,
    }
    assert leave_pointers(shop()) == {"words/1.tar.gz", "p1/features-2.tar.gz"}


def test_no_artefact_that_a_pipeline_pins_is_collected() -> None:
    assert pins([shop()]).keys() >= {"words/1.tar.gz", "p1/3.tar.gz", "p1/features-2.tar.gz"}
    assert pins([shop(shared=True)])["words/1.tar.gz"] == "pinned by [tiers.decided]"


@pytest.mark.parametrize("shared", [False, True])
def test_a_model_behind_another_stage_is_not_asked_for_the_fleets_probe(tmp_path: Path, *, shared: bool) -> None:
    """The fleet's probe has three columns. What the stages before the model make of a request is not known."""
    file = tmp_path / "p1" / "3.ubj"
    file.parent.mkdir()
    file.write_bytes(small_model(5))
    config, model = shop(shared=shared), ModelFile("p1", "3", file)
    (checked,) = validate_for(config, [model], jobs=1)
    assert [finding for finding in checked.findings if finding.severity == "error"] == []
    # On the default tier the same model does not fit.
    (elsewhere,) = validate([ModelFile("t1", "3", file)], fleet=config, jobs=1)
    assert [finding.check for finding in elsewhere.findings if finding.severity == "error"] == ["probe"]


def test_the_artefact_of_an_own_image_is_uploaded_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    packed, loose = tmp_path / "words" / "1.tar.gz", tmp_path / "words" / "1.json"
    packed.write_bytes(b"whatever the image reads")
    loose.write_text("{}")
    sound, unsound = validate_for(shop(), [ModelFile("words", "1", packed), ModelFile("words", "1", loose)], jobs=1)
    assert [finding.severity for finding in sound.findings] == ["note"]
    assert [finding.severity for finding in unsound.findings] == ["error"]
