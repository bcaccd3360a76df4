"""From a model file on disk to the artefact that is published."""

import pickle
import resource
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from small_models import small_model
from tierfleet_server.model.archive import pack
from typer.testing import CliRunner

from tests.forest.compiled import needs_compiled
from tierfleet.cli import app
from tierfleet.config import FleetConfig
from tierfleet.models.files import ModelFile, find_models
from tierfleet.models.package import PackageOptions, package, package_file
from tierfleet.models.target import named_target, target_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real model as `acme/v1.ubj`."""
    file = tmp_path_factory.mktemp("models") / "acme" / "v1.ubj"
    file.parent.mkdir()
    file.write_bytes(small_model(2))
    return file


@needs_compiled
def test_a_model_is_packaged_with_its_metadata(model: Path) -> None:
    [model_file] = find_models(model.parent.parent)
    assert model_file == ModelFile("acme", "v1", model)
    for forest, file in (("auto", "model.forest"), ("none", "xgboost-model")):
        made = package(model_file, options=PackageOptions(forest=forest))
        with tarfile.open(fileobj=BytesIO(made.archive)) as archive:
            assert archive.getnames() == [".tierfleet/metadata.json", file]
        assert made.source == (model.read_bytes() if forest == "auto" else b"")


@needs_compiled
def test_the_stock_image_and_one_that_is_not_known_get_no_forest_by_themselves(model: Path) -> None:
    [model_file] = find_models(model.parent.parent)
    for image in ("sagemaker-xgboost", "registry/own:1"):
        fleet = SimpleNamespace(container=SimpleNamespace(image=image, version="3.0-5"))
        made = package(model_file, target_of(cast("FleetConfig", fleet)))
        with tarfile.open(fileobj=BytesIO(made.archive)) as archive:
            assert "xgboost-model" in archive.getnames()
    assert target_of(None) == named_target("tierfleet")


def test_one_file_is_found_by_its_own_path(model: Path) -> None:
    assert find_models(model) == [ModelFile("acme", "v1", model)]


def test_a_pickle_is_refused_with_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "acme" / "v1.ubj"
    file.parent.mkdir()
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="is a pickle, which runs code when it is loaded; save it with") as caught:
        package_file(ModelFile("acme", "v1", file))
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_an_artefact_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "acme" / "v2.tar.gz"
    file.parent.mkdir()
    file.write_bytes(b"whatever was packaged elsewhere")
    [model_file] = find_models(tmp_path)
    assert (model_file.version, model_file.packaged) == ("v2", True)
    assert package_file(model_file) == file.read_bytes()


def test_a_misnamed_folder_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no models; expected <tenant>/<version>"):
        find_models(tmp_path)
    with pytest.raises(ValueError, match="nowhere does not exist"):
        find_models(tmp_path / "nowhere")
    (tmp_path / "No Tenant").mkdir()
    (tmp_path / "No Tenant" / "v1.ubj").write_bytes(b"{")
    with pytest.raises(ValueError, match="the folder must be the tenant's id"):
        find_models(tmp_path)


def test_what_is_asked_for_the_rows_of_an_artefact_is_in_it_or_refused(model: Path, tmp_path: Path) -> None:
    asked = PackageOptions(missing=0.0, libsvm_base=1)
    made = package(ModelFile("acme", "v1", model), options=asked)
    file = tmp_path / "acme" / "v1.tar.gz"
    file.parent.mkdir()
    file.write_bytes(made.archive)
    artefact = ModelFile("acme", "v1", file)
    assert package(artefact, options=asked).archive == made.archive
    for other, named in (
        (PackageOptions(missing=-999), "missing"),
        (PackageOptions(missing=0.0, preprocessing={"fill": {"0": 1}}), "preprocessing"),
    ):
        with pytest.raises(ValueError, match=f"was packaged before and stays as it is; .* another {named}"):
            package(artefact, options=other)


def test_a_damaged_artefact_is_taken_as_it_is_and_another_step_is_refused(model: Path, tmp_path: Path) -> None:
    """Whatever is wrong with it: its gzip, a file's bytes, or its metadata."""
    whole = pack({"xgboost-model": model.read_bytes(), ".tierfleet/metadata.json": b"{}"})
    cut, other_bytes = bytearray(whole), bytearray(whole)
    cut[len(cut) // 2 :] = b""
    other_bytes[200:260] = bytes(60)  # gzip's blocks then make no sense, which is zlib's own exception
    file = tmp_path / "acme" / "v1.tar.gz"
    file.parent.mkdir()
    for damaged in (whole, bytes(cut), bytes(other_bytes)):
        file.write_bytes(damaged)
        artefact = ModelFile("acme", "v1", file)
        assert package(artefact).archive == damaged
        with pytest.raises(ValueError, match=r"was packaged before and stays as it is; .* another missing"):
            package(artefact, options=PackageOptions(missing=-999))


@pytest.mark.parametrize("missing", [0.0, -0.0, -999])
def test_the_stock_image_takes_no_missing_value_not_even_0(model: Path, missing: float) -> None:
    with pytest.raises(ValueError, match="missing cannot be applied by the stock image"):
        package(ModelFile("acme", "v1", model), named_target("1.7-1"), PackageOptions(missing=missing))


def test_a_missing_value_that_is_0_as_a_float32_is_refused(model: Path) -> None:
    with pytest.raises(ValueError, match="so every 0 would be missing"):
        package(ModelFile("acme", "v1", model), options=PackageOptions(missing=1e-50))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1]", "is no object; write"),
        ('"fill"', "is no object; write"),
        ("null", "is no object; write"),
        ("[" * 20_000, "is not JSON"),
        ('{"fill": {"0": 1}, "fill": {"1": 2}}', "'fill' occurs twice in one object"),
        ('{"missing": 5}', "holds missing, which is no step; give --missing"),
    ],
)
def test_a_preprocessing_file_that_is_no_table_of_steps(model: Path, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "steps.json").write_text(text)
    arguments = ["package", str(model), "-o", str(tmp_path / "out"), "--preprocessing", str(tmp_path / "steps.json")]
    result = CliRunner().invoke(app, ["models", *arguments])
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())


@pytest.mark.parametrize(("command", "file"), [("package --for tierfleet", ""), ("convert --to 3.0-5", "new.ubj")])
def test_a_disk_without_room_leaves_no_part_of_a_file(model: Path, tmp_path: Path, command: str, file: str) -> None:
    line = [str(Path(sys.executable).parent / "tierfleet"), "models", *command.split(), str(model)]
    ended = subprocess.run(
        [*line, "-o", str(tmp_path / "out" / file)], capture_output=True, text=True, check=False,
        # The limit is the command's alone.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )  # fmt: skip
    assert ended.returncode in (1, 2)
    assert "File too large" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
