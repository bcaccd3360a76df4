"""The public linters: cdk-nag's AwsSolutions and cfn-lint find nothing in any fleet."""

import re
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks
from synthesis import FLAGS

from local_cloud.testing.fleets import CONFIG, EVERYTHING_ON
from stacks.fleet_stage import FleetStage
from tests.nag_acknowledgements import acknowledge, acknowledgements
from tierfleet.aws_limits import REGIONS_WITHOUT_TYPES
from tierfleet.config import load_all
from tierfleet.instance_types import hosting_regions


def app_with_nag(outdir: Path) -> cdk.App:
    app = cdk.App(context=FLAGS, outdir=str(outdir), analytics_reporting=False, tree_metadata=False)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app


def test_cdk_nag_finds_nothing_that_is_not_acknowledged(tmp_path: Path) -> None:
    app = app_with_nag(tmp_path)
    for config in [*load_all(CONFIG), EVERYTHING_ON]:
        acknowledge(FleetStage(app, config), config)
    app.synth()


def test_each_acknowledgement_answers_a_finding_and_gives_a_reason(tmp_path: Path) -> None:
    app = app_with_nag(tmp_path)
    given = [finding for _, finding in acknowledgements(FleetStage(app, EVERYTHING_ON), EVERYTHING_ON)]
    with pytest.raises(RuntimeError) as failure:
        app.synth()
    asked_for = set(re.findall(r"Acknowledge with 'AwsSolutions::(.+)'", str(failure.value)))
    assert {acknowledgment.id for acknowledgment in given} == asked_for
    assert all(len(acknowledgment.reason) > 40 for acknowledgment in given)


def cfn_lint(regions: list[str], templates: list[Path]) -> subprocess.CompletedProcess[str]:
    # W3005: CDK writes DependsOn next to a reference that implies it.
    command = [Path(sys.executable).with_name("cfn-lint"), "--ignore-checks", "W3005", "--regions", *regions]
    return subprocess.run([*command, "--", *templates], capture_output=True, text=True, check=False)


def test_cfn_lint_finds_nothing_but_cdks_own_redundant_dependencies_in_any_region(assembly: Path) -> None:
    templates = sorted(assembly.rglob("*.template.json"))
    assert templates
    offered = sorted(hosting_regions() - REGIONS_WITHOUT_TYPES)
    assert len(offered) > 30
    result = cfn_lint(offered, templates)
    assert (result.returncode, result.stdout) == (0, ""), result.stdout + result.stderr


def test_the_regions_that_are_not_offered_are_those_without_the_resource_types(assembly: Path) -> None:
    template = next(file for file in sorted(assembly.rglob("*.template.json")) if "Fleet" in file.name)
    result = cfn_lint(sorted(REGIONS_WITHOUT_TYPES), [template])
    missing = set(re.findall(r"Resource type '(\S+)' does not exist in '(\S+)'", result.stdout))
    assert {region for _, region in missing} == REGIONS_WITHOUT_TYPES
    assert all(kind.startswith("AWS::SageMaker::") for kind, _ in missing)
