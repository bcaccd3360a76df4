"""The tierfleet command, as a user and as a script calls it."""

import json
from pathlib import Path

import pytest
import tomlkit
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG, ROOT, Synth, document, fleet
from tierfleet.cli import app
from tierfleet.config.reference import configuration_markdown, json_schema

runner = CliRunner()


def test_check_without_files_checks_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = runner.invoke(app, ["config", "check"])
    assert result.exit_code == 0
    assert result.stdout.count("ok: config/") == 4


def test_check_in_a_folder_without_fleet_files_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["config", "check"])
    assert result.exit_code == 2
    assert "no fleet files" in result.output


def test_check_prints_every_problem_and_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "shop-test.toml"
    file.write_text(tomlkit.dumps(document(region="xx-nowhere-1", routes={"ttl_seconds": 300})))
    result = runner.invoke(app, ["config", "check", str(file)])
    assert result.exit_code == 2
    assert "not a region that SageMaker hosts models in" in result.stdout
    assert "[routes] bake_minutes = 5: must be at least 670 s" in result.stdout
    assert "Traceback" not in result.output


def test_check_speaks_json_to_scripts(tmp_path: Path) -> None:
    file = tmp_path / "shop-test.toml"
    file.write_text(tomlkit.dumps(document(routes={"ttl_seconds": 300})))
    result = runner.invoke(app, ["config", "check", str(file), "--json"])
    answer = json.loads(result.stdout)
    assert result.exit_code == 2
    assert not answer["ok"]
    assert [(p["severity"], p["table"], p["key"]) for p in answer["problems"]] == [("error", "routes", "bake_minutes")]


def test_show_names_every_endpoint_and_the_quotas() -> None:
    result = runner.invoke(app, ["config", "show", str(CONFIG / "fraud-prod.toml")])
    assert result.exit_code == 0
    assert "fraud--prod--whale--m01--dedicated-m5-large" in result.stdout
    assert "request 92" in result.stdout


def test_show_as_json_is_the_whole_configuration_with_its_defaults() -> None:
    result = runner.invoke(app, ["config", "show", str(CONFIG / "fraud-prod.toml"), "--json"])
    assert json.loads(result.stdout)["tiers"]["whale"]["scaling"]["scale_in_cooldown_seconds"] == 300


def test_show_of_a_broken_file_ends_with_2(tmp_path: Path) -> None:
    result = runner.invoke(app, ["config", "show", str(tmp_path / "absent.toml")])
    assert result.exit_code == 2
    assert "cannot be read" in result.output


def test_the_checked_in_schema_is_fresh() -> None:
    assert (CONFIG / "fleet.schema.json").read_text() == json_schema(), "run make schema"
    assert runner.invoke(app, ["config", "schema"]).stdout == json_schema()


def test_every_fleet_file_names_the_schema_for_editors() -> None:
    for file in CONFIG.glob("*.toml"):
        assert file.read_text().startswith("#:schema ./fleet.schema.json\n"), file


def test_the_configuration_page_holds_the_reference_of_every_key() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    begin, end = "<!-- reference: tierfleet config reference -->\n", "<!-- end of reference -->"
    assert begin in page
    block = page.split(begin)[1].split(end)[0]
    assert block.strip() == configuration_markdown().strip(), "run make schema"


def test_diff_shows_an_edit_resource_by_resource(synth: Synth) -> None:
    promoted = fleet(tiers={"whale": {"tenants": {"t2": {"model": "t2/1.tar.gz"}}}})
    before, after = synth(fleet()), synth(promoted)
    result = runner.invoke(app, ["diff", str(before), str(after)])
    assert result.exit_code == 0
    assert "14 added, 0 removed, 3 modified" in result.stdout
    changes = json.loads(runner.invoke(app, ["diff", str(before), str(after), "--json"]).stdout)
    assert {"change": "modified", "resource_type": "AWS::CloudWatch::Dashboard"}.items() <= next(
        change for change in changes if change["resource_type"] == "AWS::CloudWatch::Dashboard"
    ).items()


def test_diff_of_a_folder_without_an_assembly_says_what_to_do(tmp_path: Path) -> None:
    result = runner.invoke(app, ["diff", str(tmp_path), str(tmp_path)])
    assert result.exit_code == 2
    assert "cdk synth" in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["invoke", "m01", "--deadline-seconds", "inf"], "inf is not a finite number"),
        (["local", "drive", "--seconds", "inf"], "inf is not a finite number"),
        (["plan", "synthesize", "churn", "--out", "x", "--days", "inf"], "less than or equal to 3660"),
        (["cost", str(CONFIG / "fraud-dev.toml"), "--cold-share", "nan"], "nan is not a finite number"),
        (["models", "package", "x", "-o", "y", "--missing", "nan"], "NaN and empty cells always mean missing"),
        (["invoke", "m01", "--body", "\udcff"], "it is not UTF-8 text"),
        (["models", "remove", str(CONFIG / "fraud-dev.toml"), "\udcff"], "it is not UTF-8 text"),
    ],
)
def test_no_option_takes_infinity_or_bytes_that_are_no_text(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())
