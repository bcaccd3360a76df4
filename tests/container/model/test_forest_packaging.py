"""Packaging writes a flat forest next to a model or in its place, if and only if it gives the file's scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tierfleet_forest
from tierfleet_server.model import flat_forest, loading
from tierfleet_server.model.archive import unpack
from tierfleet_server.model.artefact import FOREST, METADATA, MODEL_FILE
from tierfleet_server.model.booster import BoosterModel, Rows
from tierfleet_server.model.flat_forest import ForestModel
from tierfleet_server.model.refusal import BadModel
from tierfleet_server.publishing import packaged_forest, packaging
from tierfleet_server.publishing.document import read_document, to_ubj
from tierfleet_server.publishing.packaging import package_model
from tierfleet_server.publishing.served_model import Forest, served_model
from trained_models import KINDS, Trained

CASES = Path(__file__).resolve().parents[2] / "model_cases"


def load(archive: bytes, directory: Path) -> Any:
    packed = directory.with_suffix(".tar.gz")
    packed.write_bytes(archive)
    unpack(packed, directory)
    return loading.load_model(str(directory))


def scores(model: Any, rows: Any) -> Any:
    rows = np.ascontiguousarray(rows)
    return np.array(model.predict(Rows(rows.ctypes.data, *rows.shape, rows)), np.float32)


@pytest.mark.parametrize("forest", ["beside", "alone"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "linear"])
def test_a_packaged_forest_gives_the_models_scores(
    kind: str, forest: Forest, trained: dict[str, Trained], tmp_path: Path
) -> None:
    model = trained[kind]
    archive, metadata = package_model(model.saved, forest=forest)
    loaded = load(archive, tmp_path / "m")
    assert isinstance(loaded, ForestModel)
    names = {str(path.relative_to(tmp_path / "m")) for path in (tmp_path / "m").rglob("*") if path.is_file()}
    assert names == {str(METADATA), *([FOREST.name] if forest == "alone" else [MODEL_FILE, str(FOREST)])}
    assert metadata.size_bytes == (tmp_path / "m" / (FOREST.name if forest == "alone" else MODEL_FILE)).stat().st_size
    plain = load(package_model(model.saved)[0], tmp_path / "plain")
    assert isinstance(plain, BoosterModel)
    assert np.array_equal(scores(loaded, model.rows), scores(plain, model.rows), equal_nan=True)


def test_what_no_forest_holds_stays_a_booster(trained: dict[str, Trained], tmp_path: Path) -> None:
    served = served_model(trained["linear"].saved, forest=True)
    assert served.forest == b""
    assert "no flat forest, XGBoost serves it: the booster is 'gblinear'" in served.notes[-1]
    for forest in ("beside", "alone"):
        archive, _ = package_model(trained["linear"].saved, forest=forest)
        assert isinstance(load(archive, tmp_path / forest), BoosterModel)


def test_a_forest_that_the_server_would_refuse_is_not_packaged(
    trained: dict[str, Trained], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A row of a forest has more steps than it visits nodes, so XGBoost may serve what a forest may not."""
    monkeypatch.setattr(flat_forest, "MAX_PATH_LENGTH", 10)
    served = served_model(trained["binary"].saved, forest="alone")
    assert served.forest == b""
    assert "no flat forest, XGBoost serves it: the forest has" in served.notes[-1]
    assert isinstance(load(package_model(trained["binary"].saved, forest="alone")[0], tmp_path / "m"), BoosterModel)


def test_a_forest_that_scores_otherwise_is_left_out_with_a_warning(
    trained: dict[str, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tierfleet_forest.convert(trained["json"].saved)
    document = json.loads(trained["json"].saved)
    tree = document["learner"]["gradient_booster"]["model"]["trees"][3]
    leaf = tree["left_children"].index(-1)
    tree["split_conditions"][leaf] = float(np.nextafter(np.float32(tree["split_conditions"][leaf]), np.float32(9)))
    wrong = tierfleet_forest.convert(json.dumps(document).encode())
    for made, exact in ((other, True), (wrong, False)):
        monkeypatch.setattr(packaged_forest, "convert_document", lambda *_, made=made, **__: made)
        served = served_model(trained["json"].saved, forest=True)
        assert bool(served.forest) == exact
        assert any("rows would be scored otherwise" in warning for warning in served.warnings) == (not exact)


def test_next_to_a_model_of_the_stock_image_it_names_that_very_file(
    trained: dict[str, Trained], tmp_path: Path
) -> None:
    archive, metadata = package_model(trained["binary"].saved, reader=(1, 5, 2), stock=True, forest="beside")
    packed = tmp_path / "m.tar.gz"
    packed.write_bytes(archive)
    unpack(packed, tmp_path / "m")
    assert (tmp_path / "m" / MODEL_FILE).read_bytes()[:2] == b'{"'
    forest = tierfleet_forest.load(str(tmp_path / "m" / FOREST))
    assert json.loads(forest.metadata)["source"]["sha256"] == metadata.sha256
    with pytest.raises(packaging.BadModel, match="--forest beside"):
        package_model(trained["binary"].saved, stock=True, forest="alone")


def test_without_the_compiled_reader_there_is_none(
    trained: dict[str, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged_forest.tierfleet_forest, "available", False)
    served = served_model(trained["binary"].saved, forest=True)
    assert served.forest == b""
    assert served.notes[-1].startswith("no flat forest: ")


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.glob("*.expected.json")))
def test_models_of_every_version_and_rounds_that_are_cut(name: str, tmp_path: Path) -> None:
    expected = json.loads((CASES / name).read_text())
    saved = (CASES / name.removesuffix(".expected.json")).read_bytes()
    try:
        archive, _ = package_model(saved, forest="alone")
    except packaging.BadModel:  # what is refused today is refused for forests too
        return
    loaded = load(archive, tmp_path / "m")
    assert isinstance(loaded, ForestModel)
    plain = load(package_model(saved)[0], tmp_path / "plain")
    rows = np.random.default_rng(1).standard_normal((200, loaded.features)).astype(np.float32)
    assert np.array_equal(scores(loaded, rows), scores(plain, rows))
    assert expected


def test_categories_of_1_6_are_refused_with_a_forest_too() -> None:
    case = json.loads((CASES.parent / "forest" / "categories-scored-by-1.6.2.json").read_text())
    saved = to_ubj(read_document(json.dumps(case["model"]).encode()))
    for forest in ("none", "beside", "alone"):
        with pytest.raises(BadModel, match=r"XGBoost 1\.6 sends a category that training did not have another way"):
            package_model(saved, forest=forest)


def test_only_the_best_rounds_are_kept_where_asked(trained: dict[str, Trained], tmp_path: Path) -> None:
    served = served_model(trained["early-stopped"].saved, rounds="best", forest=True)
    forest = tierfleet_forest.loads(served.forest)
    assert served.kept.cut
    assert forest.trees == served.kept.trees
