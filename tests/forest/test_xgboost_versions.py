"""Files of XGBoost 1.2 to 3.4 give the margins and scores that the version which saved them gave."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tierfleet_forest.tree_model import ConvertError
from tierfleet_forest.xgboost_model import tree_model
from tierfleet_server.publishing.document import read_document

from tests.forest.compiled import needs_compiled
from tests.forest.exactness import forests, near, reader, same

pytestmark = needs_compiled

_ZIP = Path(__file__).resolve().parents[1] / "xgboost_versions" / "models.zip"
with zipfile.ZipFile(_ZIP) as _archive:
    _FILES = {name: _archive.read(name) for name in _archive.namelist()}
# Old binary files are read by packaging; what is read is converted like any other document.
_MODELS = sorted(name for name in _FILES if name.endswith((".json", ".ubj", ".bin")))
_REFUSED = {"linear": "gblinear", "3.4.1/quantileerror-3": "quantiles"}


@pytest.mark.parametrize(
    "name", ["vector-leaves-saved-by-3.4.1", "categories-scored-by-1.5.2", "categories-scored-by-1.6.2"]
)
def test_what_only_some_versions_have(name: str) -> None:
    """Leaf vectors in a table of their own; where categories go that no tree lists, or that are none."""
    case = json.loads(Path(__file__).with_name(f"{name}.json").read_text())
    rows = np.array([[np.nan if value is None else value for value in row] for row in case["rows"]], np.float32)
    for forest in forests(tree_model(case["model"])).values():
        assert same(reader(forest)(rows)[0], np.array(case["margins"], np.float32)).all()


def _array(name: str) -> np.ndarray:
    return np.load(io.BytesIO(_FILES[name]))


@pytest.mark.parametrize("name", _MODELS)
def test_a_file_of_any_version_keeps_its_scores(name: str) -> None:
    document = read_document(_FILES[name])
    for part, why in _REFUSED.items():
        if part in name:
            with pytest.raises(ConvertError, match=why):
                tree_model(document)
            return
    model, rows = tree_model(document), _array("rows.npy")
    margins, scores = (_array(f"{name}.{what}.npy").reshape(len(rows), -1) for what in ("margins", "scores"))
    for forest in forests(model).values():
        own_margins, own_scores = reader(forest)(rows)
        assert same(own_margins, margins.astype(np.float32)).all()
        assert near(own_scores, scores.astype(np.float32)).all()
