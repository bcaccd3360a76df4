"""Random mixes of hosting shapes: templates that AWS takes, or exit code 2 and every problem. Long: make mixes."""

import copy
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from local_cloud.testing.fleets import Synth, fleet, serverless_tier
from tests.fuzz.random_mixes import CONTRADICTIONS, MIXED, check_mixes, random_mix
from tests.fuzz.shape_checks import check_shapes
from tests.fuzz.toml_mutations import toml_of
from tierfleet.assembly_diff import read_template
from tierfleet.cli import app
from tierfleet.config import check_file
from tierfleet.runtime.hosting import SHAPES


def test_mixes_have_every_shape() -> None:
    assert set(MIXED) == set(SHAPES)


def test_a_mix_gives_templates_that_aws_takes_or_names_the_problem() -> None:
    summary = check_mixes(60, 7, most_synthesised=4)
    assert summary.faults == []
    assert set(summary.shapes) == set(SHAPES)
    assert min(summary.accepted, summary.refused) >= 10


def test_every_contradiction_is_made_and_refused_with_exit_code_2(tmp_path: Path) -> None:
    left = set(CONTRADICTIONS)
    for number in range(500):
        document = random_mix(random.Random(number))  # noqa: S311 - no secret
        made = {text for text in left if CONTRADICTIONS[text](document)}
        if made:
            file = tmp_path / "mix-test.toml"
            file.write_bytes(toml_of(document))
            assert check_file(file).config is None
            assert CliRunner().invoke(app, ["config", "check", str(file)]).exit_code == 2
            left -= made
        if not left:
            return
    pytest.fail(f"never made: {left}")


def test_the_checks_of_shapes_find_what_they_are_for(synth: Synth) -> None:
    rare = serverless_tier(memory_size_in_mb=1024, max_concurrency=1)
    assembly = synth(fleet(network_isolation=False, routes={"bake_minutes": 7}, tiers={"rare": rare}))
    (file,) = assembly.rglob("*Whalesr1*.template.json")
    template = read_template(file)
    assert check_shapes(template) == []

    def broken(kind: str, **properties: object) -> str:
        changed = copy.deepcopy(template)
        resource = next(item for item in changed["Resources"].values() if item["Type"] == f"AWS::{kind}")
        resource["Properties"] |= properties
        (finding,) = check_shapes(changed)
        return finding

    assert "VPC" in broken("SageMaker::Model", VpcConfig={"Subnets": []})
    assert "no InvocationsPerInstance" in broken(
        "CloudWatch::Alarm", MetricName="InvocationsPerInstance", Namespace="AWS/SageMaker", Statistic="Sum",
        Dimensions=[{"Name": "EndpointName", "Value": "shop--test--rare--r1--serverless"}], Metrics=[],
    )  # fmt: skip
    assert "under ('EndpointName', 'VariantName')" in broken(
        "CloudWatch::Alarm", MetricName="Invocations", Namespace="AWS/SageMaker", Statistic="Sum",
        Dimensions=[{"Name": "EndpointName", "Value": "shop--test--rare--r1--serverless"}], Metrics=[],
    )  # fmt: skip
