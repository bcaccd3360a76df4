"""Contributions are Shapley values by their definition, and XGBoost's own bit for bit."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tierfleet_forest
import xgboost
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from tierfleet_forest import ConvertError, ForestError, convert
from tierfleet_forest.layout import COLUMN, FORM_A, FORM_B, Parts, assemble
from tierfleet_forest.writer import write_forest

from tests.forest.compiled import needs_compiled
from tests.forest.exactness import explained, same_contributions, telling_rows, trained
from tests.forest.generated_models import OBJECTIVES, Description, descriptions
from tests.forest.page_reader import PageForest
from tests.forest.random_files import random_parts
from tests.forest.random_files import telling_rows as file_rows
from tests.forest.test_exactness import replaced
from tests.forest.test_writer import grown

pytestmark = needs_compiled
VECTORS = json.loads((Path(__file__).resolve().parents[2] / "docs" / "flat-forest-vectors.json").read_text())


def contributions(data: bytes, rows: Any) -> Any:
    """(rows, outputs, features + 1)."""
    forest = tierfleet_forest.loads(data)
    return np.frombuffer(forest.contributions(rows), np.float32).reshape(len(rows), forest.outputs, -1)


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=3, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_contributions_are_xgboosts(objective: str, data: Any) -> None:
    description: Description = data.draw(descriptions(objective))
    assume(not description.vector_leaves)
    try:
        booster, rows, model = trained(description)
    except xgboost.core.XGBoostError:
        reject()
    asked = telling_rows(model, rows, 20, description.seed)
    expected = explained(booster, asked)
    for form in (FORM_A, FORM_B):
        try:
            written = write_forest(model, node_bytes=form, contributions=True)
        except ConvertError:  # thousands of different sets of categories
            reject()
        assert same_contributions(contributions(written, asked), expected)


def test_a_feature_that_a_path_meets_again_and_children_without_data() -> None:
    """Deep trees of two features, and of leaves that no training row reached."""
    for changes in (
        {"features": 2, "depth": 11, "rows": 1500, "min_child_weight": 0.0},
        {"features": 30, "depth": 11, "rows": 1500, "eta": 1.0, "rounds": 20, "objective": "binary:logistic"},
    ):
        booster, rows, model = trained(replaced(**changes))
        shares = contributions(write_forest(model, contributions=True), rows[:50])
        assert same_contributions(shares, explained(booster, rows[:50]))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_contributions_are_shapley_values(seed: int) -> None:
    random = np.random.default_rng(seed)
    parts = random_parts(random, sum_bytes=4, vector_leaves=False, with_covers=True)
    assume(parts.features <= 5 and len(parts.first) <= 80)
    data = assemble(parts)
    page, rows = PageForest(data), file_rows(random, parts, 3)
    shares = contributions(data, rows)
    for row, own in zip(rows.tolist(), shares, strict=True):
        expected = np.array(page.contributions(row))
        size = np.abs(expected).sum() + 1
        assert np.abs(own - expected).max() <= 1e-5 * size
        margins = np.array(page.margins(row), np.float64)
        assert np.abs(own.astype(np.float64).sum(axis=1) - margins).max() <= 1e-4 * size


def test_contributions_of_the_vectors() -> None:
    explained_vectors = [vector for vector in VECTORS["vectors"] if "contributions" in vector]
    assert len(explained_vectors) >= 4
    for vector in explained_vectors:
        rows = np.array([[float.fromhex(value) for value in row] for row in vector["rows"]], np.float32)
        expected = np.array([[float.fromhex(value) for value in row] for row in vector["contributions"]])
        shares = contributions(bytes.fromhex("".join(vector["file"])), rows).reshape(len(rows), -1)
        assert np.abs(shares - expected).max() <= 1e-5 * (1 + np.abs(expected).sum(axis=1).max()), vector["name"]


@pytest.mark.parametrize("kind", [{"sum_bytes": 8}, {"vector_leaves": True}])
def test_a_forest_that_can_have_no_covers_is_not_to_be_converted_again(kind: dict[str, Any]) -> None:
    forest = tierfleet_forest.loads(assemble(random_parts(np.random.default_rng(2), **kind)))
    assert forest.no_contributions == "contributions are for XGBoost's models with one value in a leaf"


def test_a_forest_without_covers_says_so(tmp_path: Path) -> None:
    booster, rows, model = trained(replaced())
    forest = tierfleet_forest.loads(write_forest(model))
    assert "covers" in forest.no_contributions
    assert (forest.contribution_work, forest.contribution_bytes) == (0, 0)
    with pytest.raises(ForestError, match="convert the model again with contributions"):
        forest.contributions(rows)
    booster.save_model(tmp_path / "model.ubj")
    forest = tierfleet_forest.loads(convert(tmp_path / "model.ubj", contributions=True))
    assert forest.no_contributions == ""
    assert forest.contribution_work > 0 < forest.contribution_bytes
    # Without covers the same bytes as before there were any: version 1.
    plain = convert(tmp_path / "model.ubj")
    assert plain[8] == 1
    assert len(plain) < forest.size_bytes <= 2 * len(plain) + 192


def test_models_whose_contributions_are_not_covered_are_refused() -> None:
    _, _, vectors = trained(replaced(objective="multi:softprob", vector_leaves=True))
    with pytest.raises(ConvertError, match="one value in a leaf"):
        write_forest(vectors, contributions=True)
    _, _, plain = trained(replaced())
    with pytest.raises(ConvertError, match="XGBoost's models"):
        write_forest(replace(plain, base=plain.base.astype(np.float64)), contributions=True)
    for wrong in (0.0, -1.0, np.nan, np.inf):
        cover = plain.cover.copy()
        cover[plain.roots[1]] = wrong
        with pytest.raises(ConvertError, match="sum_hessian"):
            write_forest(replace(plain, cover=cover), contributions=True)
        write_forest(replace(plain, cover=cover))


def test_a_tree_of_one_leaf_adds_to_the_bias() -> None:
    model = grown(1, [0, 0, 3])
    cover = np.ones(len(model.left), np.float32)
    data = write_forest(replace(model, cover=cover), contributions=True)
    (shares,) = contributions(data, np.zeros((1, 3), np.float32))
    expected = PageForest(data).contributions([0.0, 0.0, 0.0])
    assert np.abs(shares - np.array(expected)).max() < 1e-5
    assert PageForest(data).root_covers[:2] == (0, 0)


def _chain(levels: int) -> Parts:
    """One tree whose right child always splits again."""
    words = np.zeros(2 * levels, "<u4")
    words[1:-1:2] = 1 << 17 | 1 << 18
    words[-3] = 1 << 18
    return Parts(
        node_bytes=FORM_A, features=1, outputs=1, base=bytes(4),
        columns=np.array([(0, 0, 1, 0, 0xFFFF, 0)], COLUMN).tobytes(), thresholds=np.float32([0.5]).tobytes(),
        roots=np.array([1 << 17], "<u4").tobytes(), first=bytes(4), words=words.tobytes(), with_covers=True,
        root_covers=np.float32([2]).tobytes(), tree_means=bytes(4), covers=np.ones(2 * levels, "<f4").tobytes(),
    )  # fmt: skip


def test_a_tree_that_is_too_deep_has_no_contributions() -> None:
    row = np.float32([[1.0]])
    deepest = tierfleet_forest.loads(assemble(_chain(1024)))
    assert (deepest.depth, deepest.no_contributions) == (1024, "")
    assert len(deepest.contributions(row)) == 8
    deeper = tierfleet_forest.loads(assemble(_chain(1025)))
    assert deeper.depth == 1025
    with pytest.raises(ForestError, match="more than 1024 levels"):
        deeper.contributions(row)
    assert deeper.predict(row) == [0.0]


def test_the_work_of_contributions_bounds_the_steps() -> None:
    """One for each node, one for each feature above it, for each leaf the square; counted along every path."""
    for changes in ({}, {"features": 2, "depth": 9, "rows": 900}, {"rounds": 1, "depth": 1}):
        _, _, model = trained(replaced(**changes))
        steps = 0
        for root in model.roots.tolist():
            below = [(root, frozenset[int]())]
            while below:
                node, met = below.pop()
                steps += 1 + len(met)
                if model.left[node] < 0:
                    steps += len(met) ** 2
                else:
                    more = met | {int(model.feature[node])}
                    below += [(int(model.left[node]), more), (int(model.right[node]), more)]
        forest = tierfleet_forest.loads(write_forest(model, contributions=True))
        assert steps - len(model.roots) <= forest.contribution_work <= 4 * steps


def test_the_work_of_contributions_counts_the_features_of_every_tree() -> None:
    """A tree's sums are added for each feature that the forest asks, however few the tree asks."""
    columns = np.zeros(4096, np.dtype(COLUMN))
    columns["feature"], columns["left_slot"], columns["right_slot"] = np.arange(4096), np.arange(4096), 0xFFFF
    node = int(np.float32(0.5).view(np.uint32)) << 32
    parts = Parts(
        node_bytes=FORM_B, features=4096, outputs=1, base=bytes(4), columns=columns.tobytes(),
        roots=np.full(100, node, "<u8").tobytes(), first=np.arange(0, 200, 2, dtype="<u4").tobytes(),
        words=bytes(200 * 8), with_covers=True, root_covers=np.full(100, 2, "<f4").tobytes(), tree_means=bytes(400),
        covers=np.ones(200, "<f4").tobytes(),
    )  # fmt: skip
    assert tierfleet_forest.loads(assemble(parts)).contribution_work > 100 * 4096


def test_rows_in_and_bytes_out() -> None:
    _, rows, model = trained(replaced())
    forest = tierfleet_forest.loads(write_forest(model, contributions=True))
    expected = forest.contributions(rows)
    assert len(expected) == len(rows) * 5 * 4
    assert forest.contributions(rows.tobytes()) == expected
    moved = memoryview(b"x" + rows.tobytes())[1:]
    assert forest.contributions(moved) == expected
    assert forest.contributions(b"") == b""
    assert b"".join(forest.contributions(row) for row in rows) == expected
    with pytest.raises(ValueError, match="4"):
        forest.contributions(np.zeros((2, 5), np.float32))
    with pytest.raises(TypeError, match="float32"):
        forest.contributions(np.zeros((2, 4)))


def test_orders_of_a_shapley_value() -> None:
    """The oracle itself: the definition by orders of features, for one file."""
    random = np.random.default_rng(3)
    while True:
        parts = random_parts(random, sum_bytes=4, vector_leaves=False, with_covers=True)
        if 2 <= parts.features <= 4 and len(parts.first) == 12 and not parts.weights:
            break
    page = PageForest(assemble(parts))
    row = file_rows(random, parts, 1).tolist()[0]
    slots, totals = page._slots(row), np.zeros((parts.outputs, parts.features))
    for tree in range(page.trees):
        if not page.root_covers[tree]:
            continue
        for order in itertools.permutations(range(parts.features)):
            for at, feature in enumerate(order):
                gain = page._expected(tree, slots, order[: at + 1]) - page._expected(tree, slots, order[:at])
                totals[page._output(tree), feature] += gain / math.factorial(parts.features)
    assert np.allclose(totals, np.array(page.contributions(row))[:, :-1], atol=1e-6)
