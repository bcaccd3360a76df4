"""The writer: which models it covers, how it orders nodes, what it refuses, and files that are written whole."""

import contextlib
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tierfleet_forest import ConvertError, convert, layout, loads
from tierfleet_forest.convert import write_file
from tierfleet_forest.model_document import read_document
from tierfleet_forest.node_order import order_of_pairs
from tierfleet_forest.tree_model import TreeModel, walk
from tierfleet_forest.tree_walk import margins
from tierfleet_forest.writer import write_forest

from tests.forest.compiled import needs_compiled
from tests.forest.exactness import forests, reader, same

pytestmark = needs_compiled

CASES = Path(__file__).resolve().parents[1] / "model_cases"


def grown(seed: int, sizes: list[int], *, features: int = 3, unused: int = 0) -> TreeModel:
    """Trees of random shape with `sizes` splits, their nodes in random order. No tree reaches `unused` more nodes."""
    generator = random.Random(seed)  # noqa: S311 - shapes, no secrets
    left: list[int] = []
    right: list[int] = []
    roots = []
    for splits in sizes:
        leaves = [len(left)]
        roots.append(len(left))
        left.append(-1)
        right.append(-1)
        for _ in range(splits):
            node = leaves.pop(generator.randrange(len(leaves)) if generator.random() < 0.7 else -1)
            left[node], right[node] = len(left), len(left) + 1
            leaves += [left[node], right[node]]
            left += [-1, -1]
            right += [-1, -1]
    left += [-1] * unused
    right += [-1] * unused
    count = len(left)
    order = np.array(generator.sample(range(count), count))
    place = np.full(count + 1, -1)
    place[:count] = order
    values = np.random.default_rng(seed)
    inverse = np.argsort(order)
    return TreeModel(
        features=features,
        base=np.zeros(1, np.float32),
        roots=place[roots],
        left=place[np.array(left)][inverse],
        right=place[np.array(right)][inverse],
        feature=values.integers(0, features, count),
        threshold=values.choice(values.standard_normal(4 + seed % 700), count).astype(np.float32),
        missing_left=values.random(count) < 0.5,
        cover=values.choice([0, 1, 5, np.nan], count).astype(np.float32),
        output=np.zeros(len(sizes), np.uint16),
    )


def complete(depth: int) -> TreeModel:
    """One tree with all its leaves at that depth."""
    splits, nodes = 2**depth - 1, 2 ** (depth + 1) - 1
    number = np.arange(nodes)
    return TreeModel(
        features=1,
        base=np.zeros(1, np.float32),
        roots=np.zeros(1, np.int64),
        left=np.where(number < splits, 2 * number + 1, -1),
        right=np.where(number < splits, 2 * number + 2, -1),
        feature=np.zeros(nodes, np.int64),
        threshold=np.ones(nodes, np.float32),
        missing_left=np.zeros(nodes, np.bool_),
        cover=np.ones(nodes, np.float32),
        output=np.zeros(1, np.uint16),
    )


forest_sizes = st.lists(st.integers(0, 60) | st.sampled_from([0, 1, 300]), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), forest_sizes, st.sampled_from([4, 8]))
def test_pairs_are_ordered_parents_first_and_each_once(seed: int, sizes: list[int], room: int) -> None:
    model = grown(seed, sizes, unused=3)
    nodes = walk(model)
    order = order_of_pairs(model, nodes, room)
    assert sorted(order.tolist()) == sorted(nodes.inner.tolist())
    assert (np.diff(nodes.tree[order]) >= 0).all()
    at = {node: number for number, node in enumerate(order.tolist())}
    for node in at:
        for child in (int(model.left[node]), int(model.right[node])):
            assert at.get(child, len(at)) > at[node]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), forest_sizes)
def test_trees_of_any_shape_and_order_are_read_back(seed: int, sizes: list[int]) -> None:
    model = grown(seed, sizes, unused=2)
    rows = np.random.default_rng(seed).standard_normal((40, model.features)).astype(np.float32)
    rows[::5, 0] = np.nan
    rows[1::5, :] = model.threshold[: model.features]
    for forest in forests(model).values():
        assert same(reader(forest)(rows)[0], margins(model, rows)).all()


def test_form_a_is_for_larger_files_and_form_b_where_a_has_no_room() -> None:
    small, large = grown(1, [20]), grown(2, [600] * 12)
    assert layout.head(write_forest(small))["node_bytes"] == layout.FORM_B
    assert layout.head(write_forest(large))["node_bytes"] == layout.FORM_A
    wide = grown(3, [600] * 12, features=400)
    assert layout.head(write_forest(wide))["node_bytes"] == layout.FORM_B
    tall = grown(4, [30_000])
    assert layout.head(write_forest(tall))["node_bytes"] == layout.FORM_B
    with pytest.raises(ConvertError, match=r"5334 slots"):
        write_forest(grown(5, [9000], features=4000))
    with pytest.raises(ConvertError, match="1048574 nodes, more than"):
        write_forest(complete(19))


def test_what_is_beyond_the_formats_limits_is_refused() -> None:
    """LightGBM and scikit-learn have no limit of outputs of their own."""
    model = grown(1, [3])
    for beyond in ({"features": (1 << 24) + 1}, {"base": np.zeros(65_536, np.float32)}):
        with pytest.raises(ConvertError, match="are beyond the format's limits"):
            write_forest(replace(model, **beyond))


def test_a_threshold_of_minus_infinity_needs_form_a() -> None:
    model = grown(7, [3])
    model.threshold[model.roots[0]] = -np.inf
    assert layout.head(write_forest(model))["node_bytes"] == layout.FORM_A
    rows = np.array([[np.nan] * 3, [0.0] * 3, [-3e38] * 3, [-np.inf] * 3], np.float32)
    assert same(reader(write_forest(model))(rows)[0], margins(model, rows)).all()


def test_a_branch_that_leads_elsewhere_is_refused() -> None:
    for change in ("out", "circle", "shared", "feature", "nan"):
        model = grown(8, [9, 4])
        inner = walk(model).inner
        if change == "out":
            model.left[inner[2]] = len(model.left) + 5
        elif change == "circle":
            model.left[inner[3]] = model.roots[0]
        elif change == "shared":
            model.left[inner[3]] = model.right[inner[3]]
        elif change == "feature":
            model.feature[inner[1]] = 3
        else:
            model.threshold[inner[1]] = np.nan
        with pytest.raises(ConvertError):
            write_forest(model)


def _first_tree(document: Any) -> Any:
    return document["learner"]["gradient_booster"]["model"]["trees"][0]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d["learner"]["objective"].update(name="custom:mine"), "custom:mine"),
        (lambda d: d["learner"]["gradient_booster"].update(name="gblinear"), "gblinear"),
        (lambda d: d.update(version=[3, 5, 0]), r"3\.5\.0"),
        (lambda d: d["learner"]["gradient_booster"]["model"].update(trees=[], tree_info=[]), "no trees"),
        (lambda d: d["learner"]["learner_model_param"].update(base_score="-1E0"), "base_score"),
        (lambda d: d["learner"]["learner_model_param"].update(num_class="70000"), "70000"),
        (lambda d: d["learner"]["learner_model_param"].update(num_feature="1_0"), "1_0"),
        (lambda d: d["learner"]["learner_model_param"].update(base_score="1_0"), "base_score"),
        (lambda d: _first_tree(d).update(default_left=[2, *_first_tree(d)["default_left"][1:]]), "zeros and ones"),
        (lambda d: d["learner"]["gradient_booster"]["model"].update(iteration_indptr=[1, 5]), "rounds of the model"),
        (
            lambda d: _first_tree(d).update(left_children=[3, *_first_tree(d)["left_children"][1:]]),
            "next to each other",
        ),
        (lambda d: _first_tree(d).update(left_children=[1.0, *_first_tree(d)["left_children"][1:]]), "whole numbers"),
        (
            lambda d: _first_tree(d).update(split_conditions=["1", *_first_tree(d)["split_conditions"][1:]]),
            "of numbers",
        ),
    ],
)
def test_what_is_not_covered_is_named(change: Any, why: str) -> None:
    document = json.loads((CASES / "01-forest-saved-by-1.5.2.json").read_bytes())
    document["learner"]["objective"]["name"] = "binary:logistic"
    change(document)
    with pytest.raises(ConvertError, match=why):
        convert(json.dumps(document).encode())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["04-regression-saved-by-3.4.1.ubj", "18-vector-leaves-3.0.5.ubj"]), st.data())
def test_a_damaged_file_is_converted_or_refused_with_its_reason(name: str, data: Any) -> None:
    model = bytearray((CASES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255) | st.sampled_from([0, 255]))
    cut = data.draw(st.sampled_from([len(model)] * 4 + [len(model) // 2]))
    with contextlib.suppress(ConvertError):  # any other exception is a fault
        convert(bytes(model[:cut]))


def test_what_is_given_instead_of_a_file_is_named() -> None:
    data = (CASES / "04-regression-saved-by-3.4.1.ubj").read_bytes()
    forest = convert(data)
    assert convert(bytearray(data)) == convert(memoryview(data)) == forest
    with pytest.raises(ConvertError, match="a flat forest already"):
        convert(forest)
    for other in (None, 1, object()):
        with pytest.raises(TypeError, match="the path or the bytes of a model file"):
            convert(other)


def test_a_name_with_half_of_a_surrogate_pair_is_kept() -> None:
    document = json.loads((CASES / "01-forest-saved-by-1.5.2.json").read_bytes())
    names = [f"f{number}\ud800" for number in range(int(document["learner"]["learner_model_param"]["num_feature"]))]
    document["learner"].update(feature_names=names, feature_types=["float"] * len(names))
    forest = loads(convert(json.dumps(document).encode()))
    assert json.loads(forest.metadata)["feature_names"] == names


def test_the_file_says_where_it_came_from(tmp_path: Path) -> None:
    data = (CASES / "04-regression-saved-by-3.4.1.ubj").read_bytes()
    (tmp_path / "model.ubj").write_bytes(data)
    forest = convert(tmp_path / "model.ubj", metadata={"preprocessing": {"clip": 1}})
    metadata = json.loads(loads(forest).metadata)
    assert metadata["source"]["version"] == "3.4.1"
    assert metadata["source"]["format"] == "ubj"
    assert metadata["preprocessing"] == {"clip": 1}
    document = read_document(data)
    assert metadata["objective"] == document["learner"]["objective"]["name"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model.forest"
    write_file(target, b"first")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_file(target, b"second, longer")
    assert [path.name for path in tmp_path.iterdir()] == ["model.forest"]
    assert target.read_bytes() == b"first"
