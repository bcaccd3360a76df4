"""Flat forests from the command line: packaged with a model or instead of it, and validated."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
import tierfleet_forest
from small_models import small_model
from typer.testing import CliRunner

from tierfleet.cli import app
from tierfleet.models.files import find_models
from tierfleet.models.package import package

runner = CliRunner()
pytestmark = pytest.mark.skipif(not tierfleet_forest.available, reason="the compiled reader is not built")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    file = tmp_path / "models" / "acme" / "v1.ubj"
    file.parent.mkdir(parents=True)
    file.write_bytes(small_model(3))
    return tmp_path / "models"


def run(*words: object, code: int = 0) -> str:
    done = runner.invoke(app, ["models", *map(str, words)])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


@pytest.mark.parametrize(
    ("forest", "names"),
    [
        ("none", [".tierfleet/metadata.json", "xgboost-model"]),
        ("beside", [".tierfleet/metadata.json", ".tierfleet/model.forest", "xgboost-model"]),
        ("alone", [".tierfleet/metadata.json", "model.forest"]),
    ],
)
def test_a_packaged_forest_validates(forest: str, names: list[str], models: Path, tmp_path: Path) -> None:
    run("package", models, "-o", tmp_path / "out", "--for", "tierfleet", "--forest", forest)
    with tarfile.open(tmp_path / "out" / "acme" / "v1.tar.gz") as archive:
        assert archive.getnames() == names
    assert "1 of 1 model can be published" in run("validate", tmp_path / "out")


def test_the_stock_image_gets_none_alone(models: Path, tmp_path: Path) -> None:
    told = run("package", models, "-o", tmp_path / "out", "--for", "3.0-5", "--forest", "alone", code=2)
    assert "reads no flat forests; pack both (--forest beside), or none" in told
    run("package", models, "-o", tmp_path / "both", "--for", "3.0-5", "--forest", "beside")
    run("package", models, "-o", tmp_path / "alone", "--forest", "alone")
    assert "1 of 1 model" in run("validate", tmp_path / "both", "--for", "3.0-5")
    assert "which AWS's image does not read" in run("validate", tmp_path / "alone", "--for", "3.0-5", code=2)


def test_a_damaged_forest_is_found(models: Path, tmp_path: Path) -> None:
    for forest, name in (("alone", "model.forest"), ("beside", ".tierfleet/model.forest")):
        run("package", models, "-o", tmp_path / forest, "--forest", forest)
        file = tmp_path / forest / "acme" / "v1.tar.gz"
        with tarfile.open(file) as archive:
            members = {path: archive.extractfile(path).read() for path in archive.getnames()}  # type: ignore[union-attr]
        damaged = bytearray(members[name])
        damaged[len(damaged) // 2] ^= 1
        members[name] = bytes(damaged)
        with tarfile.open(file, "w:gz") as archive:
            for path, content in members.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        assert "CRC-32" in run("validate", tmp_path / forest, code=2)


def test_a_forest_is_the_default_and_keeps_its_source(models: Path, tmp_path: Path) -> None:
    run("package", models, "-o", tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "acme" / "v1.tar.gz") as archive:
        assert "model.forest" in archive.getnames()
    content = (models / "acme" / "v1.ubj").read_bytes()
    [kept] = (tmp_path / "out" / ".source").iterdir()
    assert kept.read_bytes() == content
    assert kept.name == f"{hashlib.sha256(content).hexdigest()}.ubj"
    # What is published from there brings its source along.
    [packaged] = find_models(tmp_path / "out")
    assert package(packaged).source == content
    kept.write_bytes(content[:-1])
    assert package(packaged).source == b""


def test_contributions_are_a_choice_and_cost_memory(models: Path, tmp_path: Path) -> None:
    sizes = []
    for options in ([], ["--contribs"]):
        run("package", models, "-o", tmp_path / "out", *options)
        with tarfile.open(tmp_path / "out" / "acme" / "v1.tar.gz") as archive:
            data = archive.extractfile("model.forest").read()  # type: ignore[union-attr]
        assert (tierfleet_forest.loads(data).no_contributions == "") == bool(options)
        sizes.append(len(data))
    assert sizes[0] < sizes[1]
    told = run("package", models, "-o", tmp_path / "out", "--forest", "none", "--contribs", code=2)
    assert "leave one out" in told


def test_what_was_packaged_before_is_taken_as_it_is_and_said(models: Path, tmp_path: Path) -> None:
    run("package", models, "-o", tmp_path / "once")
    told = run("package", tmp_path / "once", "-o", tmp_path / "twice", "--forest", "alone")
    assert "was packaged before and stays as it is" in told
    once, twice = (tmp_path / name / "acme" / "v1.tar.gz" for name in ("once", "twice"))
    assert once.read_bytes() == twice.read_bytes()


def test_another_word_is_refused(models: Path, tmp_path: Path) -> None:
    told = run("package", models, "-o", tmp_path / "out", "--forest", "both", code=2)
    assert "--forest both: give none, beside or alone" in told


def test_a_forest_that_convert_made_is_published_as_it_is(tmp_path: Path) -> None:
    # As one of LightGBM or scikit-learn, which packaging does not convert.
    forest = tierfleet_forest.convert(small_model(3))
    file = tmp_path / "made" / "acme" / "v1.tar.gz"
    file.parent.mkdir(parents=True)
    with tarfile.open(file, "w:gz") as archive:
        member = tarfile.TarInfo("model.forest")
        member.size = len(forest)
        archive.addfile(member, io.BytesIO(forest))
    assert "1 of 1 model can be published" in run("validate", tmp_path / "made")
    [model] = find_models(tmp_path / "made")
    made = package(model)
    assert (made.archive, made.warnings, made.source) == (file.read_bytes(), (), b"")
    assert "holds a flat forest and stays as it is" in run("package", file, "-o", tmp_path / "o", "--forest", "alone")
    told = run("package", file, "-o", tmp_path / "p", "--missing", "-999", code=2)
    assert "holds a flat forest and stays as it is; package the file that training wrote to give it another" in told
    told = run("package", file, "-o", tmp_path / "q", "--for", "1.7-1", code=2)
    assert "AWS's image reads no flat forests; package the file that training wrote" in told
