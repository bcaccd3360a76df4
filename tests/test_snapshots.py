"""One normalised snapshot per environment: the review of every change of a fleet file.

Rewrite them with `make snapshot-update` and read the diff.
"""

import difflib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from local_cloud.testing.fleets import CONFIG, FLEET_FILES
from tierfleet.config import load
from tierfleet.config.generation import generation
from tierfleet.images import TIERFLEET_IMAGE

SNAPSHOTS = Path(__file__).parent / "snapshots"


def normalised(templates: dict[str, Any], stem: str) -> str:
    """Every template of one environment, without what depends on CDK's version or on asset contents."""
    prefix = stem.replace("-", "")
    kept = {}
    for name, template in templates.items():
        if name.startswith(prefix):
            template = {key: value for key, value in template.items() if key != "Rules"}
            template["Parameters"] = {
                key: value for key, value in template.get("Parameters", {}).items() if key != "BootstrapVersion"
            }
            kept[name] = template
    text = json.dumps(kept, indent=1, sort_keys=True) + "\n"
    for suffix in _generations_of_sources(stem):
        text = re.sub(rf"\b{suffix}\b", "<generation>", text)
    return re.sub(r"[0-9a-f]{64}", "<asset>", text)


def _generations_of_sources(stem: str) -> list[str]:
    """The generations that depend on the sources of the image `tierfleet`."""
    fleet = load(CONFIG / f"{stem}.toml")
    if fleet.container.image != TIERFLEET_IMAGE:
        return []
    return [generation(fleet, tier) for tier in fleet.multi_model_tiers.values()]


@pytest.mark.parametrize("stem", [file.stem for file in FLEET_FILES])
def test_the_templates_are_those_of_the_snapshot(
    stem: str, templates: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    snapshot = SNAPSHOTS / f"{stem}.json"
    current = normalised(templates, stem)
    if request.config.getoption("--update-snapshots"):
        snapshot.write_text(current)
    expected = snapshot.read_text() if snapshot.exists() else ""
    if current != expected:
        lines = difflib.unified_diff(expected.splitlines(), current.splitlines(), "snapshot", "now", lineterm="", n=4)
        pytest.fail("\n".join([f"{snapshot.name} differs; if you meant it: make snapshot-update", *list(lines)[:200]]))
