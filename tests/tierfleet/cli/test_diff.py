"""`tierfleet diff` and `tierfleet cost --diff` of a fleet file in a git repository."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from local_cloud.testing.fleets import ROOT, document, fleet
from tierfleet import edit_diff
from tierfleet.assembly_diff import create_only_properties
from tierfleet.cli import app
from tierfleet.config.generation import generation
from tierfleet.git_versions import GitVersionsError, changed_versions
from tierfleet.synthesis import synthesise

runner = CliRunner()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("assemblies")


@pytest.fixture(autouse=True)
def each_version_is_synthesised_once(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files give the same assembly, so these tests run the app once for each content of a folder."""

    def synthesise_once(folders: Sequence[Path], outdirs: Sequence[Path]) -> None:
        assemblies = [kept / digest(folder) for folder in folders]
        new = {assembly: folder for assembly, folder in zip(assemblies, folders, strict=True) if not assembly.exists()}
        if new:
            synthesise(list(new.values()), list(new))
        for assembly, outdir in zip(assemblies, outdirs, strict=True):
            shutil.copytree(assembly, outdir)

    monkeypatch.setattr(edit_diff, "synthesise", synthesise_once)


def digest(folder: Path) -> str:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    content = [(str(file.relative_to(folder)), file.read_bytes().hex()) for file in files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose only commit has config/shop-test.toml and its list of tenants."""
    for name, value in (
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@example.com"),
        ("GIT_COMMITTER_NAME", "a"),
        ("GIT_COMMITTER_EMAIL", "a@example.com"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    write(tmp_path)
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    git("tag", "start")
    return tmp_path


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def write(repository: Path, **changes: object) -> Path:
    file = repository / "config" / "shop-test.toml"
    file.write_text(tomlkit.dumps(document(**changes)))
    return file


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def promote(repository: Path) -> None:
    write(repository, tiers={"whale": {"tenants": {"t2": {"model": "t2/1.tar.gz"}}}})


def test_an_edit_is_compared_with_the_last_commit(repository: Path) -> None:
    assert run("diff") == "config is the same as in HEAD: nothing changes\n"
    promote(repository)

    lines = run("diff").splitlines()

    assert lines[0] == "shop-test against HEAD: 14 added, 0 removed, 3 modified"
    assert lines[1] == "replaced: 1 Deployment, 1 HostedConfigurationVersion"
    assert lines[2].startswith("cost: +$")
    assert lines[3] == ""
    assert len(lines) == 4 + 17
    assert run("diff", "config/shop-test.toml").splitlines() == lines
    assert run("diff", "--config", "config/shop-test.toml").splitlines() == lines
    git("commit", "--quiet", "--all", "--message", "second")
    assert run("diff") == "config is the same as in HEAD: nothing changes\n"
    assert run("diff", "--against", "start").splitlines()[1:] == lines[1:]


def test_what_is_replaced_is_told_endpoints_first(repository: Path) -> None:
    write(repository, tiers={"tail": {"instance_type": "ml.m5.large"}})

    output = run("diff")
    changes = json.loads(run("diff", "--json"))

    assert output.splitlines()[1].startswith("replaced: 1 Endpoint, 1 EndpointConfig, ")
    replaced = {change["resource_type"] for change in changes if change["replaced"]}
    assert {"AWS::SageMaker::Endpoint", "AWS::SageMaker::EndpointConfig"} <= replaced
    assert {change["replaced"] for change in changes if change["resource_type"] == "AWS::CloudWatch::Dashboard"} == {
        False
    }


NAME = "shop--test--tail--all--mme-m5-xlarge"


def test_a_new_multi_model_endpoint_is_reported_with_its_name(repository: Path) -> None:
    write(repository, container={"version": "3.0-5"})
    line = run("diff").splitlines()[2]
    assert re.fullmatch(
        f"tier tail: new endpoint {NAME}-[a-z2-7]{{6}}, warm before its callers come; {NAME} goes after the bake", line
    )


def test_a_first_generation_that_is_edited_with_its_settings_is_a_cold_update_and_told(repository: Path) -> None:
    config = fleet(container={"version": "3.0-5"})
    suffix = generation(config, config.multi_model_tiers["tail"])
    write(repository, container={"version": "3.0-5"}, tiers={"tail": {"first_generation": suffix}})
    line = run("diff").splitlines()[2]
    assert line.startswith(f"tier tail: endpoint {NAME} is updated in place, and its callers meet an empty cache")
    assert suffix in line


def test_the_cost_of_an_edit_is_compared_with_the_last_commit(repository: Path) -> None:
    assert run("cost", "--diff") == "config is the same as in HEAD: no change\n"
    promote(repository)

    output = run("cost", "--diff")
    change = json.loads(run("cost", "--diff", "config/shop-test.toml", "--json"))

    assert "comes from tail" in output
    assert change["usd_a_month"]["change"] > 0
    assert f"cost: +${change['usd_a_month']['change']:,.2f} a month" in run("diff")
    assert run("cost", "--diff", "--against", "HEAD").splitlines() == output.splitlines()


def test_a_new_fleet_and_a_removed_one_are_told(repository: Path) -> None:
    file = repository / "config" / "shop-test.toml"
    (repository / "config" / "shop-other.toml").write_text(tomlkit.dumps(document(environment="other")))
    file.unlink()

    lines = run("diff").splitlines()

    added, removed, modified = (int(number) for number in re.findall(r"(\d+) \w+ed", lines[0]))
    assert lines[0].startswith("shop-other, shop-test against HEAD: ")
    assert (added, modified) == (removed, 0)
    assert sum(line.startswith("cost: shop-") for line in lines) == 2


def test_a_list_of_tenants_in_a_file_of_its_own_belongs_to_the_fleet(repository: Path, tmp_path: Path) -> None:
    changes = {"tiers": {"tail": {"warm_up": {"tenants_file": "hot.txt"}}}}
    content = document(**changes)
    del content["tiers"]["tail"]["warm_up"]["tenants"]
    (repository / "config" / "shop-test.toml").write_text(tomlkit.dumps(content))
    (repository / "config" / "hot.txt").write_text("t1\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "list")
    (repository / "config" / "hot.txt").write_text("t1\nt2\n")

    assert run("diff").splitlines()[0] == "shop-test against HEAD: 0 added, 0 removed, 1 modified"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["diff", "--against", "nowhere"], "git has no commit 'nowhere'"),
        (["diff", "--against", "--help"], "git has no commit '--help'"),
        (["diff", "config/absent.toml"], "config/absent.toml exists neither here nor in HEAD"),
        (["diff", "absent/x.toml"], "there is no directory absent"),
        (["diff", "/usr"], "is not in a git repository"),
        (["diff", "a", "b", "c"], "give one fleet file, or two assemblies"),
        (["diff", "a", "b", "--against", "main", "--region", "x"], "for which --against, --region mean nothing"),
        (["cost", "--diff", "--against", "nowhere"], "git has no commit 'nowhere'"),
        (["cost"], "no fleet file is given"),
    ],
)
def test_what_git_does_not_know_is_one_sentence_and_2(repository: Path, arguments: list[str], words: str) -> None:
    output = run(*arguments, code=2)

    assert words in " ".join(output.split())
    assert output.count("error") == 1


@pytest.mark.parametrize("command", [["diff"], ["cost", "--diff"], ["cost", "--diff", "--json"]])
@pytest.mark.parametrize(
    ("below", "path", "now"),
    [
        ("", "config", "config/shop-test.toml"),
        ("", "config/shop-test.toml", "config/shop-test.toml"),
        ("config", "shop-test.toml", "shop-test.toml"),
        ("config", ".", "shop-test.toml"),
        ("", "ABSOLUTE", "ABSOLUTE/shop-test.toml"),
    ],
)
def test_a_version_that_cannot_be_used_is_named_by_its_commit_and_path(
    repository: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], below: str, path: str, now: str
) -> None:
    """As `git show` takes it; and the other one by its path. Never by the path of a copy."""
    absolute = str(repository / "config")
    monkeypatch.chdir(repository / below)
    write(repository, region="xx-nowhere-1")
    git("commit", "--quiet", "--all", "--message", "broken")
    write(repository, account="12")

    output = run(*command, path.replace("ABSOLUTE", absolute), code=2)

    assert re.findall(r"error: (\S+\.toml): ", output)[0] == "HEAD:config/shop-test.toml"
    assert f"{now.replace('ABSOLUTE', absolute)}: " in output
    assert "tierfleet-" not in output
    git("show", "HEAD:config/shop-test.toml")


def test_a_list_and_a_price_of_a_commit_are_named_so_too(repository: Path) -> None:
    content = document(tiers={"tail": {"warm_up": {"tenants_file": "hot.txt"}}})
    del content["tiers"]["tail"]["warm_up"]["tenants"]
    (repository / "config" / "shop-test.toml").write_text(tomlkit.dumps(content))
    (repository / "config" / "hot.txt").write_text("no/tenant\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "list")
    write(repository)
    for command in (["diff"], ["cost", "--diff"]):
        output = run(*command, code=2)
        assert "HEAD:config/" in output
        assert "tierfleet-" not in output
    write(repository, region="cn-north-1")
    git("commit", "--quiet", "--all", "--message", "no prices")
    (repository / "config" / "shop-test.toml").unlink()
    output = run("cost", "--diff", code=2)
    assert "HEAD:config/shop-test.toml: no price is known in cn-north-1" in output
    assert run("cost", "--diff", "--region", "eu-west-1")


def test_the_cost_of_a_diff_may_be_priced_as_elsewhere(repository: Path) -> None:
    write(repository, region="cn-north-1")
    assert "cost: unknown: shop-test: no price is known in cn-north-1" in run("diff")
    assert "cost: $0.00 a month" in run("diff", "--region", "eu-west-1")


def test_the_create_only_properties_are_those_of_cloudformations_schemas() -> None:
    from create_only import create_only

    assert create_only_properties() == {kind: list(names) for kind, names in create_only().items()}, "run make schema"


names = st.sampled_from(["shop-test.toml", "hot.txt", "x.toml"])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.dictionaries(names, st.binary(max_size=20), max_size=3))
def test_a_file_differs_when_its_bytes_do(repository: Path, edits: dict[str, bytes]) -> None:
    config = repository / "config"
    git("checkout", "--quiet", "--force", "start")
    git("clean", "--quiet", "--force")
    before = {file.name: file.read_bytes() for file in config.iterdir()}
    for name, content in edits.items():
        (config / name).write_bytes(content)

    changed = {f"{version.name}.toml" for version in changed_versions(config, "HEAD", repository.parent / "copies")}

    assert changed == {
        name for name, content in edits.items() if name.endswith(".toml") and before.get(name) != content
    }


def test_outside_a_repository_two_versions_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(GitVersionsError, match="is not in a git repository"):
        changed_versions(ROOT.parent.parent, "HEAD", tmp_path)
