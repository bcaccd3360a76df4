"""Packaging never changes a model: cases that once went wrong, and small models of ten XGBoost versions."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from tierfleet_server.model import native
from tierfleet_server.model.refusal import BadModel
from tierfleet_server.publishing.conversion import converted
from tierfleet_server.publishing.document import read_document, to_json, to_ubj
from tierfleet_server.publishing.packaging import package_model
from tierfleet_server.publishing.reading_rules import differences, version_of
from tierfleet_server.publishing.rounds import kept_rounds
from tierfleet_server.publishing.sample_rows import MIN_ROWS, sample_rows
from tierfleet_server.publishing.served_model import Served, converted_model, served_model
from tierfleet_server.publishing.tree_scores import booster_of, margins
from tierfleet_server.publishing.versions import IMAGE_XGBOOST, Version

from tierfleet.models.files import ModelFile
from tierfleet.models.package import PackageOptions, package
from tierfleet.models.target import STOCK_VERSIONS, named_target, stock_target

CASES = Path(__file__).parents[2] / "model_cases"
STOCK_1_7: Version = (1, 7, 4)
READERS: tuple[Version, ...] = ((1, 3, 3), (1, 5, 2), (1, 7, 4), (2, 1, 4), (3, 0, 5), (3, 2, 0), (3, 4, 1))
_ZIP = zipfile.ZipFile(Path(__file__).parents[2] / "xgboost_versions" / "models.zip")
MODELS = sorted(name for name in _ZIP.namelist() if "/" in name and not name.endswith(".npy"))


def array(name: str) -> Any:
    return np.load(io.BytesIO(_ZIP.read(name)))


def saved_by(name: str) -> Version:
    major, minor, patch = map(int, name.split("/")[0].split("."))
    return major, minor, patch


def case(name: str) -> bytes:
    content = (CASES / name).read_bytes()
    if name.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            [member] = archive.getmembers()
            file = archive.extractfile(member)
            assert file is not None
            return file.read()
    return content


def expected(name: str) -> tuple[Any, Any]:
    fields = json.loads((CASES / f"{name}.expected.json").read_text())
    rows = np.array([[np.nan if cell is None else cell for cell in row] for row in fields["rows"]], np.float32)
    return rows, np.array(fields["expected"], np.float32)


def scores(ubj: bytes, rows: Any) -> Any:
    rows = np.ascontiguousarray(rows, np.float32)
    theirs = native.Handle(ubj).predict_dmatrix(rows.ctypes.data, *rows.shape)
    return np.array(theirs, np.float32).reshape(len(rows), -1)


EXACT = (
    "01-forest-saved-by-1.5.2.json", "02-continued-after-early-stopping-3.0.5.ubj",
    "03-rank-pairwise-saved-by-1.7.6.ubj", "04-regression-saved-by-3.4.1.ubj", "08-gamma-saved-by-1.7.6.ubj",
    "24-logitraw-saved-by-1.2.1.json",
)  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_a_case_is_served_with_the_scores_of_its_own_version(name: str) -> None:
    rows, right = expected(name)
    served = served_model(case(name))
    assert np.array_equal(scores(served.ubj, rows), right.reshape(len(rows), -1))
    stock = served_model(case(name), reader=STOCK_1_7, stock=True)
    assert np.array_equal(scores(stock.ubj, rows), right.reshape(len(rows), -1))


def test_a_forest_keeps_all_its_trees_and_says_nothing_of_a_cut() -> None:
    served = served_model(case("01-forest-saved-by-1.5.2.json"))
    assert (served.facts.trees, served.kept.rounds, served.kept.note) == (5, 1, "")


def test_a_model_that_was_trained_on_keeps_all_rounds_unless_a_cut_is_asked_for() -> None:
    name = "02-continued-after-early-stopping-3.0.5.ubj"
    served = served_model(case(name))
    assert served.data == case(name)
    assert served.notes == [
        "best_iteration is 4; kept all 40 rounds, as Booster.predict scores them. If it was stopped early and not "
        "trained further, --rounds best keeps 5"
    ]
    cut = served_model(case(name), rounds="best")
    assert cut.notes == ["40 rounds, kept 5 (asked for by --rounds best)"]
    rows, _ = expected(name)
    booster = xgboost.Booster(model_file=bytearray(case(name)))
    right = booster.predict(xgboost.DMatrix(rows), iteration_range=(0, 5))
    assert np.array_equal(scores(cut.ubj, rows)[:, 0], right)


@pytest.mark.parametrize("name", ["03-rank-pairwise-saved-by-1.7.6.ubj", "17-json-of-1.7.6-in-a-tar.tar.gz"])
def test_the_stock_image_gets_the_bytes_that_it_reads(name: str) -> None:
    served = served_model(case(name), reader=STOCK_1_7, stock=True)
    assert served.data == case(name)
    assert (served.source, served.notes, served.warnings) == ((1, 7, 6), [], [])


def test_a_training_jobs_output_is_taken_as_it_is_by_the_image_that_serves_it() -> None:
    name = "09-training-output-of-1.7-1.tar.gz"
    model = ModelFile("t", "1", CASES / name)
    made = package(model, stock_target("1.7-1"))
    assert made.archive == model.file.read_bytes()
    dense = package(model)
    assert dense.archive != made.archive
    [note] = dense.notes
    assert note == "converted from XGBoost 1.7.0 for 3.0.5: the dense server reads no old binary format"
    served = served_model(case(name))
    rows = sample_rows(read_document(case(name)))
    right = margins(read_document(case(name)), rows, STOCK_1_7)
    assert np.array_equal(margins(read_document(served.data), rows, IMAGE_XGBOOST), right)


def test_the_binary_format_is_read_under_whatever_name() -> None:
    served = served_model(case("09-save_model-ubj-of-1.5.2.ubj"))
    assert served.source[:2] == (1, 5)
    assert served.data[:1] == b"{"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("07-no-rounds-saved-by-1.7.6.json", "it has no boosting rounds"),
        ("18-no-rounds-three-classes-3.0.5.ubj", "it has no boosting rounds"),
        ("18-vector-leaves-3.0.5.ubj", "its leaves hold vectors"),
    ],
)
@pytest.mark.parametrize("stock", [False, True])
def test_what_cannot_be_served_is_called_by_its_name(name: str, sentence: str, stock: bool) -> None:
    with pytest.raises(BadModel, match=sentence) as caught:
        served_model(case(name), stock=stock)
    assert "damaged" not in caught.value.message
    assert "train it" in caught.value.message


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader >= (1, 5, 0)])
def test_categories_of_1_6_are_refused_since_it_sends_unknown_ones_another_way(reader: Version) -> None:
    with pytest.raises(BadModel, match=r"XGBoost 1\.6 sends a category that training did not have another way"):
        served_model(case("25-categories-saved-by-1.6.2.ubj"), reader=reader, stock=True)


def test_a_changed_meaning_is_a_warning() -> None:
    [warning] = served_model(case("24-logitraw-saved-by-1.2.1.json")).warnings
    assert "XGBoost 1.3 changed the meaning of base_score for binary:logitraw" in warning


def test_a_model_that_an_older_xgboost_saved_again_is_a_warning() -> None:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((200, 3)).astype(np.float32)
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, label=rows[:, 0] * 9 + 40), 3)
    document = read_document(bytes(booster.save_raw("ubj")))
    document = converted(document, version_of(document), IMAGE_XGBOOST)
    assert served_model(to_ubj(document)).warnings == []
    document["learner"]["learner_model_param"]["base_score"] = "5E-1"
    [warning] = served_model(to_ubj(document)).warnings
    assert "an older one loaded and saved it again, and every score is wrong" in warning


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_added_up_as_the_version_of_the_file_adds_them(name: str) -> None:
    document, own = read_document(_ZIP.read(name)), array(f"{name}.margins.npy")
    ours = margins(document, array("rows.npy"), saved_by(name))
    assert np.array_equal(ours, own.reshape(ours.shape))


@pytest.mark.parametrize("name", MODELS)
def test_an_image_is_given_the_models_own_scores_or_nothing(name: str) -> None:
    rows, own = array("rows.npy"), array(f"{name}.margins.npy")
    for reader in READERS:
        try:
            served = served_model(_ZIP.read(name), reader=reader, stock=True)
        except BadModel as error:
            assert any(word in name for word in ("quantile", "targets", "categorical", "aft")), error  # noqa: PT017
            assert reader != IMAGE_XGBOOST or name == "3.4.1/quantileerror-3.ubj", error  # noqa: PT017
            continue
        ours = margins(read_document(served.data), rows, reader)
        assert np.array_equal(ours, own.reshape(ours.shape)), reader


@pytest.mark.parametrize("name", MODELS)
def test_xgboost_itself_gives_the_same_scores_for_what_the_dense_server_gets(name: str) -> None:
    if name == "3.4.1/quantileerror-3.ubj":
        with pytest.raises(BadModel, match=r"several quantiles, which XGBoost 3\.4 and newer sort"):
            served_model(_ZIP.read(name))
        return
    if "quantile" in name and native.version() >= (3, 4, 0):
        pytest.skip("XGBoost 3.4 sorts the quantiles; the image has 3.0.5")
    rows, own = array("rows.npy"), array(f"{name}.scores.npy")
    served = scores(served_model(_ZIP.read(name)).data, rows)
    assert np.array_equal(served, own.reshape(served.shape))


@pytest.mark.parametrize("name", [name for name in MODELS if name.endswith(".ubj")])
def test_a_document_is_written_as_it_was_read(name: str) -> None:
    assert to_ubj(read_document(_ZIP.read(name))) == _ZIP.read(name)


@settings(max_examples=60)
@given(
    base=st.floats(width=32, allow_nan=False, allow_infinity=False),
    objective=st.sampled_from(["reg:squarederror", "binary:logitraw", "reg:absoluteerror", "binary:hinge"]),
    source=st.sampled_from([(1, 2, 1), (1, 5, 2), (1, 7, 6), (3, 0, 5), (3, 4, 1)]),
    reader=st.sampled_from([(1, 7, 4), (3, 0, 5), (3, 4, 1)]),
)
def test_any_base_score_comes_through(base: float, objective: str, source: Version, reader: Version) -> None:
    document = read_document(_ZIP.read("1.2.1/squarederror.json"))
    learner = document["learner"]
    text = np.format_float_positional(np.float32(base), unique=True, trim="-")
    learner["learner_model_param"]["base_score"] = f"[{text}]" if source >= (3, 1, 0) else text
    learner["objective"] = {"name": objective}
    rows = array("rows.npy")
    written = converted(document, source, reader)
    assert differences(written, "ubj", reader, reader) == []
    assert np.array_equal(margins(document, rows, source), margins(written, rows, reader), equal_nan=True)
    again = read_document(to_json(written))
    assert np.array_equal(margins(again, rows, reader), margins(written, rows, reader), equal_nan=True)


def early_stopped(parallel: int = 1) -> tuple[Any, Any]:
    generator = np.random.default_rng(4)
    rows = generator.standard_normal((300, 4)).astype(np.float32)
    label = (rows[:, 0] + generator.standard_normal(300) > 0).astype(np.float32)
    parameters = {"objective": "binary:logistic", "nthread": 1, "eta": 0.7, "num_parallel_tree": parallel}
    train, valid = xgboost.DMatrix(rows[:200], label[:200]), xgboost.DMatrix(rows[200:], label[200:])
    booster = xgboost.train(parameters, train, 50, evals=[(valid, "v")], early_stopping_rounds=6, verbose_eval=False)
    return booster, rows


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_model_that_scikit_learn_saved_is_cut_where_its_own_predict_stops(parallel: int) -> None:
    booster, rows = early_stopped(parallel)
    best, count = booster.best_iteration, booster.num_boosted_rounds()
    booster.set_attr(scikit_learn=json.dumps({"_estimator_type": "classifier"}))
    served = served_model(bytes(booster.save_raw("ubj")))
    assert f"{count} rounds, kept {best + 1} (scikit-learn's predict stops at the best iteration" in served.notes[0]
    right = booster.predict(xgboost.DMatrix(rows), iteration_range=(0, best + 1))
    assert np.array_equal(scores(served.ubj, rows)[:, 0], right)
    whole = served_model(bytes(booster.save_raw("ubj")), rounds="all")
    assert np.array_equal(scores(whole.ubj, rows)[:, 0], booster.predict(xgboost.DMatrix(rows)))


@pytest.mark.parametrize(("waited", "further"), [(6, False), (3, True)])
def test_the_wrappers_own_settings_tell_whether_it_was_trained_further(waited: int, further: bool) -> None:
    booster, _ = early_stopped()
    document = read_document(bytes(booster.save_raw("ubj")))
    settings_of_it = {"early_stopping_rounds": waited, "n_estimators": 50}
    document["learner"]["attributes"]["scikit_learn"] = json.dumps(settings_of_it)
    assert kept_rounds(document, "auto").cut is not further


def test_the_stock_image_of_1_7_does_not_stop_where_the_file_was_not_cut() -> None:
    """It predicts with ntree_limit = best_ntree_limit, where that attribute is in the file."""
    document = read_document(case("02-continued-after-early-stopping-3.0.5.ubj"))
    document["learner"]["attributes"]["best_ntree_limit"] = "5"
    served = served_model(to_ubj(document), reader=STOCK_1_7, stock=True)
    assert "left out the attribute best_ntree_limit" in " ".join(served.notes)
    assert "best_ntree_limit" not in read_document(served.data)["learner"]["attributes"]


def test_the_old_binary_format_is_read_as_xgboost_reads_it() -> None:
    """The attributes and the objective's parameters too: they follow the trees, so a reader may pass over them."""
    files = {file.name: file.read_bytes() for file in CASES.glob("*.bin")}
    files |= {name: _ZIP.read(name) for name in MODELS if name.endswith(".bin")}
    seen = set()
    for file, content in files.items():
        own = read_document(content)["learner"]
        try:
            booster = xgboost.Booster(model_file=bytearray(content))
        except xgboost.core.XGBoostError:
            continue  # XGBoost 3.0 cannot read pseudo-Huber's and others' old files
        theirs = json.loads(booster.save_raw("json"))["learner"]
        assert own["attributes"] == theirs["attributes"], file
        assert own["objective"]["name"] == theirs["objective"]["name"], file
        for name, value in own["objective"].items():
            if isinstance(value, dict):
                seen.add(name)
                shared = value.keys() & theirs["objective"].get(name, {}).keys()
                assert {key: float(value[key]) for key in shared} == {
                    key: float(theirs["objective"][name][key]) for key in shared
                }, file
    assert {"poisson_regression_param", "softmax_multiclass_param"} <= seen
    assert read_document(case("26-early-stopped-saved-by-1.5.2.bin"))["learner"]["attributes"] == {
        "best_iteration": "4", "best_ntree_limit": "5", "best_score": "2.076188",
    }  # fmt: skip


@pytest.mark.parametrize("reader", [(1, 5, 2), (1, 7, 4)])
def test_an_early_stopped_file_in_the_old_binary_format_does_not_stop_the_stock_image(reader: Version) -> None:
    served = served_model(case("26-early-stopped-saved-by-1.5.2.bin"), reader=reader, stock=True)
    assert "left out the attribute best_ntree_limit" in " ".join(served.notes)
    assert "best_ntree_limit" not in read_document(served.data)["learner"]["attributes"]


def test_a_file_that_does_not_say_its_trees_per_round_is_not_cut() -> None:
    document = read_document(case("01-forest-saved-by-1.5.2.json"))
    document["learner"]["attributes"] = {"best_iteration": "1"}
    assert kept_rounds(document, "auto").trees == 5
    with pytest.raises(BadModel, match="does not say how many trees make a round"):
        kept_rounds(document, "best")


def test_the_rows_compared_hold_every_threshold_and_its_neighbours() -> None:
    document = read_document(_ZIP.read("3.0.5/logistic.json"))
    rows = sample_rows(document)
    assert len(rows) >= MIN_ROWS
    for tree in booster_of(document)[1]["trees"]:
        inner = tree["left_children"] != -1
        for feature, threshold in zip(tree["split_indices"][inner], tree["split_conditions"][inner], strict=True):
            column, value = rows[:, feature], np.float32(threshold)
            for wanted in (value, np.nextafter(value, np.float32(-9e9)), np.nextafter(value, np.float32(9e9))):
                assert (column == wanted).any()
            assert np.isnan(column).any()


def test_a_conversion_that_changes_a_score_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> Any:
        document = converted(*arguments)
        tree = booster_of(document)[1]["trees"][0]
        tree["split_conditions"] = np.nextafter(tree["split_conditions"], np.float32(9), dtype=np.float32)
        return document

    monkeypatch.setattr("tierfleet_server.publishing.served_model.converted", wrong)
    with pytest.raises(BadModel, match="compared rows would be scored otherwise"):
        served_model(_ZIP.read("3.4.1/tweedie.ubj"))


def test_a_newer_version_than_any_compared_is_refused_with_advice_that_helps() -> None:
    document = read_document(case("04-regression-saved-by-3.4.1.ubj"))
    document["version"] = [3, 9, 0]
    with pytest.raises(BadModel, match=r"saved by XGBoost 3\.9\.0.*train with 3\.4 or older.*does not help"):
        served_model(to_ubj(document))


def test_a_converted_model_loads_in_either_form(tmp_path: Path) -> None:
    rows = array("rows.npy")
    ubj = converted_model(_ZIP.read("3.4.1/softprob.ubj"), "ubj", reader=IMAGE_XGBOOST)
    text = converted_model(_ZIP.read("3.4.1/softprob.ubj"), "json", reader=IMAGE_XGBOOST)
    own = array("3.4.1/softprob.ubj.scores.npy")
    for form, done in (("ubj", ubj), ("json", text)):
        file = tmp_path / f"model.{form}"
        file.write_bytes(done.data)
        assert np.array_equal(xgboost.Booster(model_file=file).predict(xgboost.DMatrix(rows)), own)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x80\x04\x95abc", "is a pickle, which runs code"),
        (b"booster[0]:\n0:[f0<1] yes=1,no=2", "is a text dump"),
        (b'[\n  { "nodeid": 0, "depth": 0 }]', "is a JSON dump"),
        (b'{"learner": {"generic_param": {}, "gradient_booster": {}}, "version": [3, 0, 5]}', "is a configuration"),
        (b"tree\nversion=v4\nnum_class=1", "is a LightGBM model"),
        (b"FLATFRST\x01\0\0\0", "is a flat forest already"),
        (b"CBM1\x00\x01", "is a CatBoost model"),
        (b"\x08\x09\x12\x08skl2onnx\x1a\x06", "is an ONNX model"),
        (b"<?xml version='1.0'?><PMML/>", "is XML, such as PMML"),
        (b"PK\x03\x04abcd", "is a zip file"),
        (b"bs64 AAAA", "is XGBoost's base64 format"),
        (b"CONFIG-offset:\x00\x00", "is the inside of a pickled Booster"),
        (b"", "is empty"),
        (b"hello there", "is no format of XGBoost's"),
        (b'{"a": 1}', "no XGBoost model"),
        (b'{"learner": {"learner_model_param": {}}, "version": [3, 0, 5]}', "is not a whole model"),
        (b'{"learner": ', "the JSON model is damaged"),
    ],
)
def test_what_is_no_saved_model_is_called_by_its_name(content: bytes, sentence: str) -> None:
    with pytest.raises(BadModel, match=sentence):
        served_model(content)


@pytest.mark.parametrize("name", [name for name in MODELS if name.endswith((".bin", ".json", ".ubj"))][::4])
def test_a_file_that_ends_early_or_has_a_byte_changed_is_one_sentence(name: str) -> None:
    content = _ZIP.read(name)
    generator = np.random.default_rng(9)
    for _ in range(60):
        damaged = bytearray(content[: generator.integers(1, len(content))] if generator.random() < 0.3 else content)
        damaged[generator.integers(len(damaged))] = generator.integers(256)
        try:
            served: Served | BadModel = served_model(bytes(damaged), stock=True, verify=False)
        except BadModel as error:
            served = error
        assert isinstance(served, Served) or "\n" not in served.message


def test_every_stock_image_of_aws_is_a_target() -> None:
    for tag, version in STOCK_VERSIONS.items():
        target = named_target(tag)
        assert (target.stock, target.reader) == (True, version)
    assert named_target("tierfleet").reader == IMAGE_XGBOOST
    with pytest.raises(ValueError, match="is not an image"):
        named_target("latest")


def test_the_images_version_is_what_the_container_installs() -> None:
    pins = (Path(__file__).parents[3] / "container" / "requirements.txt").read_text()
    assert f"xgboost-cpu=={'.'.join(map(str, IMAGE_XGBOOST))} " in pins


def test_what_the_stock_image_cannot_apply_is_refused_for_it(tmp_path: Path) -> None:
    file = tmp_path / "t" / "1.ubj"
    file.parent.mkdir()
    file.write_bytes(_ZIP.read("2.1.4/poisson.ubj"))
    with pytest.raises(ValueError, match="missing cannot be applied by the stock image"):
        package(ModelFile("t", "1", file), stock_target("3.0-5"), PackageOptions(missing=-999))
    _, metadata = package_model(file.read_bytes(), missing=-999, libsvm_base=1)
    assert metadata.steps == {"missing": -999, "libsvm_base": 1}
