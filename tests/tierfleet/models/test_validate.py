"""Validating model files: every finding of every file, whatever the files do."""

import gzip
import io
import json
import pickle
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from small_models import small_model
from tierfleet_server.model.archive import pack, unpack
from tierfleet_server.model.refusal import BadModel
from tierfleet_server.publishing.packaging import package_model

from local_cloud.testing.fleets import fleet
from tests.fuzz import archives
from tierfleet.models.files import ModelFile, every_model
from tierfleet.models.validation.findings import Validated
from tierfleet.models.validation.fleet_fit import fleet_findings
from tierfleet.models.validation.unpacking import unpack_with_findings
from tierfleet.models.validation.validate import CheckProcess, validate

MAX_BYTES = 50_000_000


@pytest.fixture(scope="module")
def saved() -> bytes:
    """A real model of three features, as many as the small fleet's probe row has."""
    return small_model(3)


def tar_gz(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for member, content in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def older(saved: bytes, *version: int) -> bytes:
    """The same model as another XGBoost would have stamped it."""
    text = json.loads(bytes(xgboost.Booster(model_file=bytearray(saved)).save_raw("json")))
    return json.dumps({**text, "version": version}, separators=(",", ":")).encode()


def bomb(model: bytes, size_mib: int) -> bytes:
    """A gzip that goes on long after the tar has ended."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = member("xgboost-model")
        info.size = len(model)
        tar.addfile(info, io.BytesIO(model))
    return gzip.compress(archive.getvalue() + bytes(size_mib << 20), 1)


def fat_header() -> bytes:
    """An extended header that a tar reader would take into memory whole."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 64 << 20
    return gzip.compress(info.tobuf() + bytes(64 << 20), 1)


def nested_headers() -> bytes:
    """Long-name headers of long-name headers: a tar reader calls itself for each."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 5
    return gzip.compress((info.tobuf() + b"name".ljust(512, b"\0")) * 1500, 1)


Corpus = dict[str, tuple[Callable[[bytes], bytes], set[tuple[str, str]], str]]
CORPUS: Corpus = {
    "good.tar.gz": (lambda m: package_model(m)[0], set(), ""),
    "good.ubj": (lambda m: m, set(), ""),
    "bare.tar.gz": (lambda m: pack({"xgboost-model": m}), set(), ""),
    "pickled.tar.gz": (
        lambda _: pack({"xgboost-model": pickle.dumps({"a": 1})}),
        {("error", "format")},
        "is a pickle, which runs code",
    ),
    "link-and-pickle.tar.gz": (
        lambda _: tar_gz((member("m", tarfile.SYMTYPE, "/etc/passwd"), b""), (member("x"), pickle.dumps([1]))),
        {("error", "archive"), ("error", "format")},
        "'m', which is a symbolic link",
    ),
    "hard-link.tar.gz": (
        lambda m: tar_gz((member("x"), m), (member("y", tarfile.LNKTYPE, "x"), b"")),
        {("error", "archive")},
        "a hard link",
    ),
    "traversal.tar.gz": (
        lambda m: tar_gz((member("xgboost-model"), m), (member("../../evil"), b"x"), (member("/abs"), b"y")),
        {("error", "archive")},
        "'/abs', which leads out of the folder",
    ),
    "code.tar.gz": (
        lambda m: tar_gz((member("xgboost-model"), m), (member("code/inference.py"), b"import os")),
        {("error", "archive")},
        "'code/inference.py'; only one model file at the root",
    ),
    "two.tar.gz": (
        lambda m: pack({"a": m, "b": m}),
        {("error", "layout")},
        "the stock image would average all of them",
    ),
    "none.tar.gz": (lambda _: pack({}), {("error", "layout")}, "holds 0 usable files at its root (none)"),
    "bomb.tar.gz": (lambda m: bomb(m, 64), {("error", "archive")}, "as a decompression bomb does"),
    "header.tar.gz": (lambda _: fat_header(), {("error", "archive")}, "decompression bomb"),
    "nested.tar.gz": (lambda _: nested_headers(), {("error", "archive")}, "truncated or not a tar.gz"),
    "folders.tar.gz": (
        lambda _: tar_gz(*[(member("./", tarfile.DIRTYPE), b"")] * 2000),
        {("error", "archive")},
        "names its folders more than 1000 times",
    ),
    "cut.tar.gz": (lambda m: package_model(m)[0][:-20], {("error", "archive")}, "truncated or not a tar.gz"),
    "text.tar.gz": (lambda _: b"hello", {("error", "archive")}, "truncated or not a tar.gz"),
    "damaged.ubj": (lambda m: m[:200] + b"\xff" + m[201:], {("error", "load")}, "the UBJ model is "),
    "newer.json": (lambda m: older(m, 3, 9, 0), {("error", "version")}, "was saved by XGBoost 3.9.0"),
    "Bad Name!.ubj": (lambda m: m, {("error", "name")}, "version 'Bad Name!' must match"),
    "other-metadata.tar.gz": (
        lambda m: pack({"xgboost-model": m, ".tierfleet/metadata.json": b"{}"}),
        {("error", "layout")},
        "is not of format 1",
    ),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, saved: bytes) -> dict[str, Validated]:
    """Every file of the corpus, validated in one go."""
    folder = tmp_path_factory.mktemp("corpus") / "m01"
    folder.mkdir()
    for name, (make, _, _) in CORPUS.items():
        (folder / name).write_bytes(make(saved))
    models = every_model([folder.parent])
    assert len(models) == len(CORPUS)
    return {item.model.file.name: item for item in validate(models, jobs=1)}


@pytest.mark.parametrize("name", CORPUS)
def test_every_finding_of_a_file(name: str, corpus: dict[str, Validated]) -> None:
    _, expected, sentence = CORPUS[name]
    findings = corpus[name].findings
    assert {(finding.severity, finding.check) for finding in findings} == expected
    assert sentence in " | ".join(finding.message for finding in findings)
    assert not any("\n" in finding.message for finding in findings)
    assert corpus[name].ok == (not expected)


def test_a_sound_model_tells_what_it_is(corpus: dict[str, Validated]) -> None:
    facts = corpus["good.tar.gz"].facts
    assert facts is not None
    assert (facts.features, facts.rounds, facts.trees, facts.objective) == (3, 3, 3, "binary:logistic")
    assert facts.memory_bytes is None or facts.memory_bytes > 0


NAMES = st.sampled_from(["xgboost-model", "b", ".hidden", ".tierfleet/metadata.json", "code/x.py", "../x", "/x", "./y"])
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
)


@given(st.lists(st.tuples(NAMES, KINDS, st.binary(max_size=40)), max_size=5), st.booleans())
def test_it_lets_pass_exactly_what_the_model_server_unpacks(
    tmp_path_factory: pytest.TempPathFactory, recipe: list[tuple[str, bytes, bytes]], whole: bool
) -> None:
    packed = tmp_path_factory.mktemp("recipe") / "a.tar.gz"
    content = tar_gz(*((member(name, kind, "b"), content) for name, kind, content in recipe))
    packed.write_bytes(content if whole else content[: len(content) // 2])
    findings = unpack_with_findings(packed, packed.parent / "ours", max_bytes=MAX_BYTES)
    try:
        unpack(packed, packed.parent / "theirs", max_bytes=MAX_BYTES)
    except BadModel:
        assert findings
    else:
        assert not findings
        assert _tree(packed.parent / "ours") == _tree(packed.parent / "theirs")


def test_it_refuses_every_archive_that_the_model_server_refuses(tmp_path: Path) -> None:
    for label, content in archives.recipes(4):
        (tmp_path / "a.tar.gz").write_bytes(content)
        with pytest.raises(BadModel):
            unpack(tmp_path / "a.tar.gz", tmp_path / "theirs", max_bytes=MAX_BYTES)
        assert unpack_with_findings(tmp_path / "a.tar.gz", tmp_path / label, max_bytes=MAX_BYTES), label


def _tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def with_fleet(tmp_path: Path, saved: bytes, **changes: Any) -> Validated:
    (tmp_path / "t1").mkdir()
    (tmp_path / "t1" / "1.tar.gz").write_bytes(saved)
    [validated] = validate(every_model([tmp_path]), fleet=fleet(**changes))
    return validated


def test_the_fleets_probe_must_fit(tmp_path: Path, saved: bytes) -> None:
    checked = with_fleet(tmp_path, package_model(saved)[0], probe={"content_type": "text/csv", "body": "1,2,3,4"})
    [finding] = [finding for finding in checked.findings if finding.check == "probe"]
    assert finding.severity == "error"
    assert "the fleet's probe row does not fit: row 0 has 4 features; the model has 3" in finding.message


def test_a_model_saved_by_a_newer_xgboost_than_the_image_is_a_note(tmp_path: Path, saved: bytes) -> None:
    """3.0 is newer than 1.7, but only from 3.1 on models are scored wrongly without an error."""
    checked = with_fleet(tmp_path, package_model(saved)[0])
    assert [(finding.severity, finding.check) for finding in checked.findings] == [("note", "version")]
    assert checked.ok


def test_an_image_without_ubj_takes_no_packaged_model(tmp_path: Path, saved: bytes) -> None:
    checked = with_fleet(tmp_path, package_model(saved)[0], container={"version": "1.5-1"})
    assert "is UBJ, which XGBoost reads from 1.6 on" in checked.findings[0].message


def test_a_foreign_image_is_checked_for_its_archive_alone(tmp_path: Path) -> None:
    checked = with_fleet(
        tmp_path, pack({"model.joblib": b"x"}), container={"image": "sagemaker-scikit-learn", "version": "1.2-1"}
    )
    assert [finding.severity for finding in checked.findings] == ["note"]


def test_a_model_must_fit_the_tiers_disk_and_memory(tmp_path: Path, saved: bytes) -> None:
    [item] = validate([_file(tmp_path, saved)], jobs=1)
    assert item.facts is not None
    big = vars(item.facts) | {"size_bytes": 9 * 10**9}
    from tierfleet.models.validation import fleet_fit
    from tierfleet.models.validation.findings import Facts

    config = fleet(tiers={"tail": {"volume_size_in_gb": 10}}, container={"image": "tierfleet", "version": None})
    messages = [
        finding.message for finding in fleet_fit.findings(config, "t1", file_bytes=3 * 10**9, facts=Facts(**big))
    ]
    assert messages == [
        "takes 12.0 GB of disk, packed and unpacked, and tier tail has volume_size_in_gb = 10; raise it",
        "needs about 45.0 GB of memory to load, and an ml.m5.xlarge of tier tail has 15.5 GB for models; "
        "choose a larger instance_type",
    ]
    assert fleet_fit.findings(config, "t1", file_bytes=1000, facts=item.facts) == []


def test_more_models_than_an_instance_holds_are_a_warning_of_the_fleet(tmp_path: Path, saved: bytes) -> None:
    validated = validate([_file(tmp_path, saved)], jobs=1)
    assert fleet_findings(fleet(), validated) == []
    [finding] = fleet_findings(fleet(tiers={"tail": {"models_per_instance": 600}}), validated)
    assert finding.severity == "warning"
    assert "tier tail counts on models_per_instance = 600; these 1 models take 154.1 MB each" in finding.message


def test_a_file_that_ends_the_process_is_a_finding_and_the_next_file_is_checked() -> None:
    code = "import sys, os; sys.stdin.readline(); os.kill(os.getpid(), 11)"
    process = CheckProcess([sys.executable, "-c", code])
    for _ in range(2):
        [finding], facts = process.check({"file": "x"})
        assert facts is None
        assert finding.message == "ended the process that checked it (signal 11); it would end a server"


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    [validated] = validate([ModelFile("m01", "1", tmp_path / "gone.ubj")])
    assert validated.findings[0].message == "cannot be read: No such file or directory"


def _file(tmp_path: Path, saved: bytes) -> ModelFile:
    file = tmp_path / "t1" / "1.tar.gz"
    file.parent.mkdir()
    file.write_bytes(package_model(saved)[0])
    return ModelFile("t1", "1", file)
