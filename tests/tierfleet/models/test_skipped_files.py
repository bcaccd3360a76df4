"""Files that are not taken for models are named, with what each is and what to do."""

import json
import os
import re
import tarfile
from pathlib import Path

import pytest
from small_models import small_model
from typer.testing import CliRunner

from tierfleet.cli import app
from tierfleet.models.files import every_model, skipped_files

runner = CliRunner()


@pytest.fixture(scope="module")
def model() -> bytes:
    """A real model of ten features."""
    return small_model(10)


def write(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def test_every_skipped_file_is_named_and_the_exit_code_is_1(tmp_path: Path, model: bytes) -> None:
    files = {
        "m01/v1.ubj": model,
        "m02/v1.bst": model,
        "m03/v1.model": model,
        "m04/v1.pkl": b"x\n",
        "xgboost-model": model,
    }
    write(tmp_path, files)
    (tmp_path / "m08").mkdir()
    with tarfile.open(tmp_path / "m08" / "v1.tgz", "w:gz") as archive:
        archive.add(tmp_path / "xgboost-model", "xgboost-model")
    result = runner.invoke(app, ["models", "validate", str(tmp_path)])
    assert result.exit_code == 1
    output = " ".join(result.output.split())
    for name, sentence in {
        "m02/v1.bst": "it is a UBJ model under another ending; name it <tenant>/<version>.ubj",
        "m03/v1.model": "it is a UBJ model under another ending; name it <tenant>/<version>.ubj",
        "m04/v1.pkl": "it is named like a pickle, which runs code when it is loaded",
        "m08/v1.tgz": "it is an archive under another ending; name it <tenant>/<version>.tar.gz",
        "xgboost-model": "it is a UBJ model under another ending; name it <tenant>/<version>.ubj",
    }.items():
        assert f"{name} is skipped: {sentence}" in output
    assert "1 of 1 model can be published" in output


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m/v1.UBJ", None, "name it <tenant>/<version>.ubj"),
        ("m/deeper/v1.ubj", None, "is one folder too deep; move it to <tenant>/<version>.ubj"),
        ("v1.json", b'{"learner": {}}', "is next to the tenants' folders; move it"),
        ("m/v1", None, "is a UBJ model under another ending"),
        ("m/v1.bin", b"binf\x00\x00", "is a model in XGBoost's old binary format under another ending"),
        ("m/dump.txt", b"booster[0]:\n0:[f0<1]", "is a text dump (dump_model)"),
        ("m/v1.onnx", b"\x08\x07\x12\x08skl2onnx", "is an ONNX model"),
        ("m/lgb.txt", b"tree\nversion=v4\n", "is a LightGBM model"),
        ("m/lgb.txt", b"tree\nversion=v4\n", "make a flat forest of it with tierfleet_forest.convert"),
        ("m/v1.forest", b"FLATFRST\x01\0\0\0", "is a flat forest already; pack it alone, as model.forest, into"),
        ("m/v1.cbm", b"CBM1\x00", "is a CatBoost model"),
        ("m/v1.joblib", b"\x80\x04\x95", "is a pickle, which runs code"),
        ("m/v1.pt", b"PK\x03\x04", "is a zip file"),
        ("m/v1.weights", b"hello", "is not a known kind of model"),
    ],
)
def test_what_a_file_is_and_what_to_do(
    tmp_path: Path, model: bytes, name: str, content: bytes | None, sentence: str
) -> None:
    write(tmp_path, {name: model if content is None else content, "ok/v1.ubj": model})
    [skipped] = skipped_files([tmp_path])
    assert (skipped.file, sentence in skipped.why) == (tmp_path / name, True), skipped.why


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m/v1", None, "is a UBJ model under another ending; name it <tenant>/<version>.ubj"),
        ("m/lgb.txt", b"tree\nversion=v4\n", "make a flat forest of it with tierfleet_forest.convert"),
        ("m/v1.forest", b"FLATFRST\x01\0\0\0", "is a flat forest already; pack it alone"),
        ("m/notes.txt", b"hello", "has another ending than .tar.gz, .ubj, .json; save it with Booster.save_model"),
    ],
)
def test_a_file_that_is_named_itself_is_called_what_it_is_too(
    tmp_path: Path, model: bytes, name: str, content: bytes | None, sentence: str
) -> None:
    write(tmp_path, {name: model if content is None else content})
    with pytest.raises(ValueError, match=re.escape(sentence)):
        every_model([tmp_path / name])


def test_who_names_a_tenants_own_folder_is_told_to_name_the_file(tmp_path: Path, model: bytes) -> None:
    write(tmp_path, {"acme/v1.ubj": model})
    result = runner.invoke(app, ["models", "validate", str(tmp_path / "acme")])
    assert result.exit_code == 2
    assert f"or give {tmp_path / 'acme' / 'v1.ubj'} itself if acme is its tenant" in " ".join(result.output.split())


def test_what_is_no_plain_file_is_named_and_never_waited_for(tmp_path: Path, model: bytes) -> None:
    write(tmp_path, {"ok/v1.ubj": model, "m03/readme.md": b""})
    (tmp_path / "m01").mkdir()
    os.mkfifo(tmp_path / "m01" / "v1.ubj")
    (tmp_path / "m02" / "v1.tar.gz").mkdir(parents=True)
    os.mkfifo(tmp_path / "m03" / "pipe")
    pipe, folder = "it is a pipe, a socket or a device; save the model to a plain file", "it is a directory"
    for command in (["validate", str(tmp_path)], ["package", str(tmp_path), "-o", str(tmp_path / "out")]):
        result = runner.invoke(app, ["models", *command])
        output = " ".join(result.output.split())
        assert result.exit_code == 2, output
        assert f"{tmp_path / 'm03' / 'pipe'} is skipped: {pipe}" in output
        assert re.search(rf"m01/v1\.ubj: (cannot be read: )?{pipe}", output), output
        assert re.search(rf"m02/v1\.tar\.gz: (cannot be read: )?{folder}", output), output
    alone = runner.invoke(app, ["models", "validate", str(tmp_path / "m01" / "v1.ubj")])
    assert pipe in " ".join(alone.output.split())


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m01/v1.tar.gz", b"no archive", "m01/v1.tar.gz: the artefact is truncated or not a tar.gz"),
        ("m01/a b.ubj", None, "version 'a b' must match"),
        ("m01/.v1.ubj", None, "version '.v1' must match"),
    ],
)
def test_package_writes_no_artefact_that_cannot_be_published(
    tmp_path: Path, model: bytes, name: str, content: bytes | None, sentence: str
) -> None:
    write(tmp_path / "in", {name: content or model, "m02/v1.ubj": model})
    result = runner.invoke(app, ["models", "package", str(tmp_path / "in"), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())
    assert [file.name for file in (tmp_path / "out").glob("m*/*")] == ["v1.tar.gz"]


def test_texts_tables_and_hidden_files_are_left_alone(tmp_path: Path, model: bytes) -> None:
    write(tmp_path, {"README.md": b"x", "m/notes.txt": b"x", "m/v1.ubj": model, ".git/x.ubj": model, "m/.v1.swp": b"x"})
    assert skipped_files([tmp_path]) == []


def test_packaging_says_each_cut_and_conversion(tmp_path: Path, model: bytes) -> None:
    cases = Path(__file__).parents[2] / "model_cases"
    write(
        tmp_path / "m",
        {
            "t1/1.ubj": (cases / "02-continued-after-early-stopping-3.0.5.ubj").read_bytes(),
            "t2/1.ubj": (cases / "04-regression-saved-by-3.4.1.ubj").read_bytes(),
            "t3/1.json": (cases / "07-no-rounds-saved-by-1.7.6.json").read_bytes(),
        },
    )
    result = runner.invoke(
        app, ["models", "package", str(tmp_path / "m"), "-o", str(tmp_path / "out"), "--rounds", "best"]
    )
    output = " ".join(result.output.split())
    assert result.exit_code == 2
    assert "40 rounds, kept 5 (asked for by --rounds best)" in output
    assert "converted from XGBoost 3.4.1 for 3.0.5" in output
    assert "it has no boosting rounds" in output
    assert sorted(file.parent.name for file in (tmp_path / "out").rglob("*.tar.gz")) == ["t1", "t2"]


def test_a_model_is_converted_by_hand(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "model_cases" / "04-regression-saved-by-3.4.1.ubj"
    result = runner.invoke(app, ["models", "convert", str(source), "--to", "1.5-1", "-o", str(tmp_path / "m.json")])
    assert result.exit_code == 0
    assert (tmp_path / "m.json").read_bytes()[:1] == b"{"
    result = runner.invoke(app, ["models", "convert", str(source), "-o", str(tmp_path / "m.ubj"), "--json"])
    assert json.loads(result.stdout)["size_bytes"] == len((tmp_path / "m.ubj").read_bytes())
    for arguments, sentence in {
        ("--to", "1.5-1", "-o", "m.ubj"): "reads no UBJ; write .json",
        ("--to", "newest", "-o", "m.json"): "is not an image",
        ("-o", "m.bin"): "must end in .ubj or .json",
        ("-o", "m.ubj", "--rounds", "some"): "give all or best",
    }.items():
        result = runner.invoke(app, ["models", "convert", str(source), *arguments])
        assert result.exit_code == 2
        assert sentence in " ".join(result.output.split())
