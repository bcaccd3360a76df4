"""What is served and what is refused: the layout, the format, the version, damage, archives, metadata."""

import gzip
import io
import json
import os
import pickle
import random
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from running_server import ROOT, RunningServer
from tierfleet_server.checker import Checker
from tierfleet_server.model import native
from tierfleet_server.model.archive import unpack
from tierfleet_server.model.booster import open_model
from tierfleet_server.model.loading import load_model, size_on_disk
from tierfleet_server.model.model_file import check_ubj, file_format, refuse_newer
from tierfleet_server.model.preprocessing import Preprocessing
from tierfleet_server.model.refusal import BadModel, Refusal
from tierfleet_server.publishing.packaging import package_model
from trained_models import Trained

PINNED = (3, 0, 5)


def directory_of(tmp_path: Path, files: dict[str, bytes]) -> Path:
    root = tmp_path / "model"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_xgboost_is_the_version_that_predicts_fast_and_right() -> None:
    """3.1-3.3 predict one row of a big model 20 times slower; docs/adr/0011 has the figures."""
    assert native.version() == PINNED
    pins = (ROOT / "requirements-container.txt").read_text()
    assert re.findall(r"^xgboost-cpu==(\S+)", pins, re.M) == ["3.0.5"]


def test_no_python_package_of_xgboost_is_imported() -> None:
    code = "import sys, tierfleet_server.__main__; print({'xgboost', 'scipy', 'pandas'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "container")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "set()"


def test_what_a_model_says_of_itself(trained: dict[str, Trained]) -> None:
    facts = check_ubj(trained["early-stopped"].saved)
    booster = trained["early-stopped"].booster
    assert (facts.booster, facts.objective, facts.features, facts.outputs) == (
        "gbtree",
        "binary:logistic",
        8,
        1,
    )
    assert facts.rounds == facts.trees == booster.num_boosted_rounds()
    assert facts.best_iteration == booster.best_iteration
    assert facts.version == PINNED
    several = check_ubj(trained["multi-class"].saved)
    assert (several.outputs, several.rounds, several.trees) == (3, 15, 45)
    for kind, model in trained.items():
        if kind not in ("json", "old-json", "linear"):
            depths = [max(1, tree.count("\t") and max(_levels(tree))) for tree in model.booster.get_dump()]
            facts = check_ubj(model.saved)
            assert (facts.depth, facts.path_length) == (max(depths), sum(depths))
    linear = check_ubj(trained["linear"].saved)
    assert (linear.trees, linear.depth, linear.path_length) == (0, 0, 0)


def _levels(dump: str) -> list[int]:
    # A node's depth is its indentation in XGBoost's own text.
    return [len(line) - len(line.lstrip("\t")) for line in dump.splitlines()]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the model file is empty"),
        (b"binf\0\0", "XGBoost's old binary format"),
        (pickle.dumps({"a": 1}), "is a pickle, which runs code"),
        (pickle.dumps([1], protocol=0), "is a pickle, which runs code"),
        (b"import os", "begins with b'import o', which is neither UBJ nor JSON"),
        (b"PK\x03\x04", "neither UBJ nor JSON"),
        (b"\x7fELF", "neither UBJ nor JSON"),
        (b"{", "the UBJ model is damaged"),
        (b'{"learner": 1}', "names no XGBoost version"),
        (b'{"learner": {}, "version": [3, 0, 5]}', "XGBoost does not load this model"),
        (b'{"version": [3, 0, 5], "x": {"version": [3,0,5]}}', "names more than one XGBoost version"),
    ],
)
def test_a_file_that_is_no_model(content: bytes, sentence: str) -> None:
    with pytest.raises(BadModel) as caught:
        open_model(content)
    assert sentence in caught.value.message


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_of_a_booster_is_opened(protocol: int, trained: dict[str, Trained]) -> None:
    with pytest.raises(BadModel):
        file_format(pickle.dumps(trained["binary"].booster, protocol=protocol))


@pytest.mark.parametrize(
    ("saved_by", "server", "refused"),
    [
        ((3, 1, 0), (3, 0, 5), True),
        ((3, 4, 1), (3, 0, 5), True),
        ((4, 0, 0), (3, 4, 1), True),
        ((3, 0, 9), (3, 0, 5), False),
        ((1, 7, 6), (3, 0, 5), False),
        ((3, 0, 5), (3, 4, 1), False),
        ((3, 4, 9), (3, 4, 1), False),
    ],
)
def test_models_of_a_newer_xgboost(saved_by: tuple[int, int, int], server: tuple[int, int, int], refused: bool) -> None:
    if refused:
        with pytest.raises(BadModel, match="would score it wrongly without an error"):
            refuse_newer(saved_by, server)
    else:
        refuse_newer(saved_by, server)


@pytest.mark.skipif(native.version() >= (3, 1, 0), reason="this XGBoost reads such models rightly")
def test_a_newer_model_is_refused_by_the_server(
    server: RunningServer, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """Without the refusal the model loads and returns wrong scores with 200."""
    newer = trained["json"].saved
    newer = re.sub(rb'"base_score":"([^"]+)"', rb'"base_score":"[\1]"', newer)
    newer = newer.replace(b'"version":[3,0,5]', b'"version":[3,1,0]')
    unguarded = xgboost.Booster()
    unguarded.load_model(bytearray(newer))
    scores = unguarded.predict(xgboost.DMatrix(trained["json"].rows))
    assert not np.array_equal(scores, trained["json"].scores)
    answer = server.load("newer", directory_of(tmp_path, {"model.json": newer}))
    assert answer.status == 400
    assert "saved by XGBoost 3.1.0 and this server has 3.0.5" in answer.json["message"]
    version = b"version[#L\0\0\0\0\0\0\0\x03"
    ubj = trained["binary"].saved.replace(version + b"i\x03i\x00i\x05", version + b"i\x03i\x01i\x00")
    assert ubj != trained["binary"].saved
    assert server.load("newer", directory_of(tmp_path, {"model.json": ubj})).status == 400


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.ubj": b"{", "b.ubj": b"{"}, "2 files at its root (['a.ubj', 'b.ubj']); it must be exactly one"),
        ({"code/inference.py": b"", "m.ubj": b"{"}, "holds 'code', which is not a regular file"),
        ({".tierfleet/metadata.json": b"{}"}, "holds 0 files at its root"),
        ({"m.ubj": b"{", ".tierfleet/metadata.json": b"["}, ".tierfleet/metadata.json is not JSON"),
        ({"m.ubj": b"{", ".tierfleet/metadata.json": b"{}"}, "is not of format 1"),
        ({"m.ubj": b"{", ".tierfleet/metadata.json": b'{"format": 1}'}, "lacks or does not know"),
    ],
)  # fmt: skip
def test_a_layout_that_is_not_ours(files: dict[str, bytes], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadModel) as caught:
        load_model(str(directory_of(tmp_path, files)))
    assert sentence in caught.value.message


def test_links_and_devices_are_not_followed(trained: dict[str, Trained], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(trained["binary"].saved)
    link = tmp_path / "model"
    link.mkdir()
    (link / "xgboost-model").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadModel, match="not a regular file"):
        load_model(str(link))
    (link / "xgboost-model").unlink()
    os.mkfifo(link / "xgboost-model")
    with pytest.raises(BadModel, match="not a regular file"):
        load_model(str(link))
    with pytest.raises(Refusal, match="no model at"):
        load_model(str(tmp_path / "nothing"))


MUTATIONS = """
import random, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from tierfleet_server.model.booster import BoosterModel, Rows, open_model
from tierfleet_server.model.preprocessing import Preprocessing
from tierfleet_server.model.refusal import BadModel
form, seed, count = sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
original = open(sys.argv[2], "rb").read()
served = refused = 0
for number in range(count):
    r = random.Random(seed * 1_000_000 + number)
    data = bytearray(original)
    for _ in range(r.choice([1, 1, 2, 8])):
        at = r.randrange(len(data))
        data[at] = r.randrange(256) if form == "ubj" else r.choice(b"0123456789-[]{},.e")
    if r.random() < 0.1:
        data = data[: r.randrange(len(data))]
    print(number, flush=True, file=sys.stderr)
    try:
        handle, facts = open_model(bytes(data))
        rows = np.zeros((3, facts.features), np.float32)
        BoosterModel(handle, facts, Preprocessing()).predict(Rows(rows.ctypes.data, 3, facts.features, rows))
        served += 1
    except (BadModel, MemoryError):
        refused += 1
print(served, refused)
"""


@pytest.mark.parametrize(
    ("kind", "form", "count"),
    [
        ("binary", "ubj", 1500),
        ("categorical", "ubj", 1500),
        ("dart-multi-class", "ubj", 800),
        ("pruned", "ubj", 800),
        ("linear", "ubj", 300),
        ("json", "json", 30),
    ],
)
def test_no_damaged_model_ends_the_process(
    kind: str, form: str, count: int, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """XGBoost alone crashes on one damaged UBJ file in seven, and with it every tenant's model."""
    (tmp_path / "model").write_bytes(trained[kind].saved)
    arguments = [str(ROOT / "container"), str(tmp_path / "model"), form, "1", str(count)]
    done = subprocess.run([sys.executable, "-c", MUTATIONS, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr.splitlines()[-3:])
    served, refused = map(int, done.stdout.split())
    assert served + refused == count
    assert refused > count // 20


@given(data=st.data())
def test_a_truncated_model_is_refused(data: st.DataObject, trained: dict[str, Trained]) -> None:
    saved = trained["binary"].saved
    with pytest.raises(BadModel):
        open_model(saved[: data.draw(st.integers(0, len(saved) - 1))])


def packed(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ([(member("../escaped"), b"x")], "holds '../escaped'; only one model file"),
        ([(member("/tmp/escaped"), b"x")], "holds '/tmp/escaped'; only one model file"),  # noqa: S108
        ([(member(".tierfleet/../../escaped"), b"x")], "only one model file"),
        ([(member("code/inference.py"), b"x")], "for code use an inference pipeline"),
        ([(member("m", tarfile.SYMTYPE, "/etc/passwd"), b"")], "holds 'm', which is not a regular file"),
        ([(member("m", tarfile.LNKTYPE, "n"), b"")], "not a regular file"),
        ([(member("m", tarfile.CHRTYPE), b"")], "not a regular file"),
        ([(member("m", tarfile.FIFOTYPE), b"")], "not a regular file"),
        ([(member("m"), b"x"), (member("m"), b"y")], "holds 'm' twice"),
        ([(member("m"), b"\0" * 3_000_000)], "unpacks to more than"),
        ([(member(f"m{number}"), b"") for number in range(20)], "unpacks to more than 16 files"),
    ],
)
def test_an_archive_that_is_not_safe(
    members: list[tuple[tarfile.TarInfo, bytes]], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "model.tar.gz").write_bytes(packed(members))
    with pytest.raises(BadModel) as caught:
        unpack(tmp_path / "model.tar.gz", tmp_path / "out" / "model", max_bytes=1_000_000)
    assert sentence in caught.value.message
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["model.tar.gz", "out"]


def nul_in_a_name() -> bytes:
    info = member("m")
    info.pax_headers = {"path": "a\0b"}
    return packed([(info, b"x")])


def nested_headers() -> bytes:
    """Long-name headers of long-name headers: a tar reader calls itself for each."""
    info = member("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    info.size = 5
    return gzip.compress((info.tobuf() + b"name".ljust(512, b"\0")) * 1500)


@pytest.mark.parametrize("content", [nul_in_a_name(), nested_headers()], ids=["nul", "nested"])
def test_an_archive_that_a_tar_reader_chokes_on_is_refused_and_leaves_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(content)
    with pytest.raises(BadModel, match="is truncated or not a tar"):
        unpack(tmp_path / "model.tar.gz", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_truncated_archive_is_refused_and_leaves_nothing(trained: dict[str, Trained], tmp_path: Path) -> None:
    whole, _ = package_model(trained["linear"].saved)
    for kept in range(len(whole)):
        (tmp_path / "model.tar.gz").write_bytes(whole[:kept])
        with pytest.raises(BadModel, match="truncated"):
            unpack(tmp_path / "model.tar.gz", tmp_path / "model")
        assert not (tmp_path / "model").exists()


def test_an_archive_whose_extended_header_is_damaged(tmp_path: Path) -> None:
    """Python's tarfile lets some of its own errors through as ValueError."""
    info = member("m")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    (tmp_path / "model.tar.gz").write_bytes(packed([(info, b"abc")]))
    with pytest.raises(BadModel, match="truncated or not a tar"):
        unpack(tmp_path / "model.tar.gz", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_archive_is_the_same_bytes_every_time(trained: dict[str, Trained]) -> None:
    assert package_model(trained["binary"].saved) == package_model(trained["binary"].saved)


def test_an_archive_fits_the_stock_image(trained: dict[str, Trained]) -> None:
    """That image loads every file at the root without a leading dot as a booster."""
    archive, metadata = package_model(trained["json"].saved, feature_names=[f"f{n}" for n in range(8)])
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == [".tierfleet/metadata.json", "xgboost-model"]
        model = tar.extractfile("xgboost-model")
        assert model is not None
        booster = xgboost.Booster()
        booster.load_model(bytearray(model.read()))
    assert np.array_equal(booster.predict(xgboost.DMatrix(trained["json"].rows)), trained["json"].scores)
    assert metadata.feature_names[3] == "f3"
    assert gzip.decompress(archive)


def unpacked(tmp_path: Path, archive: bytes) -> Path:
    (tmp_path / "model.tar.gz").write_bytes(archive)
    unpack(tmp_path / "model.tar.gz", tmp_path / "model")
    return tmp_path / "model"


def test_a_model_file_that_was_changed_after_packaging(trained: dict[str, Trained], tmp_path: Path) -> None:
    directory = unpacked(tmp_path, package_model(trained["binary"].saved)[0])
    file = directory / "xgboost-model"
    content = bytearray(file.read_bytes())
    at = content.index(b"split_conditions[$d#L") + 30
    content[at + 2] ^= 1  # the lowest bits of a threshold: still a sound model, with other scores
    check_ubj(bytes(content))
    file.write_bytes(content)
    with pytest.raises(BadModel, match="its checksum differs"):
        load_model(str(directory))
    file.write_bytes(trained["linear"].saved)
    with pytest.raises(BadModel, match="not the one that was packaged"):
        load_model(str(directory))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("features", "8"),
        ("feature_names", 7),
        ("feature_names", [1]),
        ("feature_names", ["a", "b"]),
        ("preprocessing", []),
        ("size_bytes", None),
    ],
)
def test_metadata_of_another_type(field: str, value: object, trained: dict[str, Trained], tmp_path: Path) -> None:
    directory = unpacked(tmp_path, package_model(trained["binary"].saved)[0])
    path = directory / ".tierfleet" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(BadModel, match="publish the model again"):
        load_model(str(directory))


NAMES = ["country", "age", "income", "d", "e", "f", "g", "h"]
STEPS: dict[str, Any] = {
    "categories": {"country": {"GB": 0, "FR": 1.5}},
    "fill": {"age": -1, "3": 0.25},
    "clip": {"income": [0, 100]},
    "scale": {"income": {"center": 50, "width": 25}, "age": {"center": 1, "width": 2}},
}


def test_declared_preprocessing_is_applied(server: RunningServer, trained: dict[str, Trained], tmp_path: Path) -> None:
    model = trained["binary"]
    archive, _ = package_model(model.saved, feature_names=NAMES, preprocessing=STEPS)
    assert server.load("steps", unpacked(tmp_path, archive)).status == 200
    expected = np.array([[1.5, -1.0, 2.0, 0.25, 5, 6, 7, 8], [np.nan, 1.0, -2.0, 4, 5, 6, 7, 8]], np.float32)
    scores = model.booster.predict(xgboost.DMatrix(expected)).tolist()
    sent = b"FR,,1e9,,5,6,7,8\n,3,-7,4,5,6,7,8"
    assert [float(line) for line in server.invoke("steps", sent).body.split()] == scores
    as_json = json.dumps([["FR", None, 1e9, None, 5, 6, 7, 8], [None, 3, -7, 4, 5, 6, 7, 8]]).encode()
    assert [float(s) for s in server.invoke("steps", as_json, "application/json").body.split()] == scores
    unknown = server.invoke("steps", b"DE,,1,1,1,1,1,1")
    assert (unknown.status, "not one of its 2 categories" in unknown.json["message"]) == (400, True)
    assert server.invoke("steps", b"0 0:1", "text/libsvm").status == 415


def test_a_value_that_scaling_takes_beyond_float32(
    server: RunningServer, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """XGBoost refuses an infinite value for DART, which must not look like a fault of the server."""
    steps = {"scale": {"7": {"center": 0, "width": 1e-3}}}
    archive, _ = package_model(trained["dart"].saved, preprocessing=steps)
    assert server.load("scaled", unpacked(tmp_path, archive)).status == 200
    assert server.invoke("scaled", b"1,2,3,4,5,6,7,8").status == 200
    answer = server.invoke("scaled", b"1,2,3,4,5,6,7,3e38")
    assert answer.status == 400
    assert "row 0, feature 7 is beyond float32 (3.4e38) once" in answer.json["message"]


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ({"python": {"age": "x + 1"}}, "for anything richer put a container of your own before the model"),
        ({"fill": {"age": "mean"}}, "holds 'mean'; it must be a finite number"),
        ({"fill": {"age": float("nan")}}, "must be a finite number"),
        ({"fill": {"age": 1e39}}, "must be a finite number within float32"),
        ({"clip": {"age": [0, 10**400]}}, "must be a finite number within float32"),
        ({"scale": {"age": {"center": 0, "width": 1e-50}}}, "must not be zero"),
        ({"fill": {"absent": 1}}, "names the feature 'absent'"),
        ({"fill": {"8": 1}}, "a column number from 0 to 7"),
        ({"fill": [1]}, "must be a table by feature"),
        ({"clip": {"age": [2, 1]}}, "the lowest comes first"),
        ({"clip": {"age": 1}}, "must be [lowest, highest]"),
        ({"scale": {"age": {"center": 0, "width": 0}}}, "must not be zero"),
        ({"scale": {"age": {"center": 0}}}, "must be {center, width}"),
        ({"categories": {"age": {"a": "b"}}}, "must be a finite number"),
        ({"categories": {"age": ["a"]}}, "must be a table by feature"),
    ],
)
def test_preprocessing_that_is_not_data(steps: dict[str, Any], sentence: str, trained: dict[str, Trained]) -> None:
    with pytest.raises(BadModel) as caught:
        package_model(trained["binary"].saved, feature_names=NAMES, preprocessing=steps)
    assert sentence in caught.value.message


@pytest.mark.parametrize("names", [["a"], ["a"] * 8])
def test_feature_names_that_do_not_fit(names: list[str], trained: dict[str, Trained]) -> None:
    with pytest.raises(BadModel, match="different feature names for a model of 8 features"):
        package_model(trained["binary"].saved, feature_names=names)


def change(name: bytes, index: int, value: int) -> Callable[[bytes], bytes]:
    """A model whose first tree has another node number in one of its arrays."""

    def changed(model: bytes) -> bytes:
        at = model.index(name + b"[$l#L") + len(name) + 5 + 8 + 4 * index
        return model[:at] + value.to_bytes(4, "big", signed=True) + model[at + 4 :]

    return changed


@pytest.mark.parametrize(
    "damage",
    [
        change(b"left_children", 0, 0),  # a circle
        change(b"left_children", 0, 10_000),
        change(b"left_children", 0, -2),
        change(b"left_children", 0, -1),  # half a branch
        change(b"right_children", 0, 5),
        change(b"parents", 0, 3),
        change(b"parents", 1, 2),
        change(b"split_indices", 0, 8),
        change(b"split_indices", 0, -1),
        lambda model: model.replace(b"\x02idi\x03", b"\x02idi\x02"),
        lambda model: model.replace(b"\tnum_nodesSL\0\0\0\0\0\0\0\x02", b"\tnum_nodesSL\0\0\0\0\0\0\0\x03", 1),
        lambda model: model.replace(
            b"{L" + (12).to_bytes(8, "big") + b"base_weights", b"[L" + (12).to_bytes(8, "big") + b"base_weights", 1
        ),
    ],
)
def test_a_tree_that_does_not_end_is_refused(damage: Callable[[bytes], bytes], trained: dict[str, Trained]) -> None:
    with pytest.raises(BadModel, match="the UBJ model is damaged: "):
        check_ubj(damage(trained["binary"].saved))


def test_the_short_way_through_a_tree_finds_what_the_long_way_finds(
    trained: dict[str, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in trained.values():
        if model.saved[1:2] == b"L":
            short = check_ubj(model.saved)
            with monkeypatch.context() as patch:
                patch.setattr("tierfleet_server.model.model_file.read_tree", lambda _data, _at: None)
                assert check_ubj(model.saved) == short


def test_random_bytes_are_no_model() -> None:
    random_bytes = random.Random(3)  # noqa: S311
    for length in (1, 2, 3, 100, 10_000):
        with pytest.raises(BadModel):
            open_model(b"{L" + random_bytes.randbytes(length))


@given(
    st.dictionaries(
        st.integers(0, 99), st.dictionaries(st.text(max_size=3), st.floats(-9, 9), max_size=1200), max_size=2
    ),
    st.dictionaries(st.integers(0, 99), st.floats(-9, 9)),
    st.dictionaries(st.integers(0, 99), st.tuples(st.floats(-9, 0), st.floats(0, 9))),
)
@settings(max_examples=40, deadline=None)
def test_steps_come_from_another_process_as_they_were(
    categories: dict[int, dict[str, float]], fill: dict[int, float], pairs: dict[int, tuple[float, float]]
) -> None:
    steps = Preprocessing(categories, fill, pairs, pairs)
    lines = [*steps.pieces()]
    assert Preprocessing.from_pieces(lines) == steps
    assert not any(b"\n" in line for line in lines)


def test_categories_are_counted_with_their_model(
    server: RunningServer, trained: dict[str, Trained], tmp_path: Path
) -> None:
    codes = {f"{number:x}": number for number in range(100_000)}
    archive, _ = package_model(trained["binary"].saved, preprocessing={"categories": {"0": codes}})
    directory = unpacked(tmp_path, archive)
    before = server.metric("memory_used_bytes")
    assert server.load("hundred-thousand", directory).status == 200
    size = server.ask("GET", "/models/hundred-thousand").json["sizeBytes"]
    grown = server.metric("memory_used_bytes") - before
    assert size > 70 * len(codes), "a text and a number each"
    assert grown > 100 * len(codes), "and a place in the table"
    assert server.invoke("hundred-thousand", b"1869f,2,3,4,5,6,7,8").status == 200
    assert server.unload("hundred-thousand").status == 200
    assert server.metric("memory_used_bytes") - before < 10 * len(codes)


def test_many_names_are_looked_up_at_once(tmp_path: Path) -> None:
    features = 60_000
    names = [f"n{number}" for number in range(features)]
    rows = np.zeros((2, features), np.float32)
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(rows, [0, 1]), 1)
    archive, _ = package_model(
        bytes(booster.save_raw()), feature_names=names, preprocessing={"fill": dict.fromkeys(names, 1)}
    )
    directory = unpacked(tmp_path, archive)
    checker = Checker(native.version())
    try:
        prepared = checker.prepare(str(directory), size_on_disk(str(directory)))
    finally:
        checker.close()
    assert prepared.preprocessing.fill == dict.fromkeys(range(features), 1.0)


def test_a_category_that_no_row_can_hold_is_refused(trained: dict[str, Trained]) -> None:
    with pytest.raises(BadModel, match="a text of 5000 characters; it may have 4096"):
        package_model(trained["binary"].saved, preprocessing={"categories": {"0": {"x" * 5000: 1}}})
    with pytest.raises(BadModel, match="names the feature '00000"):
        package_model(trained["binary"].saved, preprocessing={"fill": {"0" * 5000: 1}})


def test_metadata_that_says_two_things(trained: dict[str, Trained], tmp_path: Path) -> None:
    """A duplicate name, key or column: whichever counts, the other would be skipped silently."""
    directory = unpacked(tmp_path, package_model(trained["binary"].saved, feature_names=NAMES)[0])
    path = directory / ".tierfleet" / "metadata.json"
    text = path.read_text()
    fields = json.loads(text)
    twice = json.dumps({**fields, "preprocessing": {"fill": {"0": 1}}}).replace('{"0": 1}', '{"0": 1, "0": 2}')
    for changed, sentence in (
        (text.replace('"features"', '"features": 9, "features"'), "holds 'features' twice"),
        (twice, "holds '0' twice"),
        (json.dumps({**fields, "feature_names": ["a"] * 8}), "the same name"),
        (json.dumps({**fields, "preprocessing": {"fill": {"0": 1, "country": 2}}}), "names feature 0 twice"),
        (json.dumps({**fields, "preprocessing": {"clip": {"1": [0, 1], "01": [0, 2]}}}), "names feature 1 twice"),
        (json.dumps({**fields, "preprocessing": {"fill": {"9" * 5000: 1}}}), "a column number from 0 to 7"),
    ):
        path.write_text(changed)
        with pytest.raises(BadModel, match=sentence):
            load_model(str(directory))


def test_metadata_that_cannot_be_looked_for(trained: dict[str, Trained], tmp_path: Path) -> None:
    """It may be there, and without it the model would be served without its preprocessing."""
    (tmp_path / "m").write_bytes(trained["binary"].saved)
    (tmp_path / ".tierfleet").write_bytes(b"")
    with pytest.raises(BadModel, match="cannot look for"):
        load_model(str(tmp_path))


def test_a_folder_of_very_many_files(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number:04}").touch()
    with pytest.raises(BadModel, match="more than 64 files"):
        load_model(str(tmp_path))


def test_a_file_that_the_system_cannot_read() -> None:
    with pytest.raises(Refusal, match="cannot read the file") as caught:
        load_model("/proc/self/mem")
    assert caught.value.status == 404
