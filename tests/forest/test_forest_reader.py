"""The compiled reader gives what docs/flat-forest.md says, for every kind of file that the page allows."""

import json
import resource
import sys
import threading
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tierfleet_forest
from hypothesis import given, settings
from hypothesis import strategies as st
from tierfleet_forest.layout import ARGMAX, COLUMN, FORM_A, FORM_B, NO_SLOT, Parts, assemble

from tests.forest.compiled import needs_compiled
from tests.forest.page_reader import PageForest
from tests.forest.random_files import random_file, random_parts, telling_rows

pytestmark = needs_compiled
VECTORS = json.loads((Path(__file__).resolve().parents[2] / "docs" / "flat-forest-vectors.json").read_text())


def _bits(values: Any, dtype: Any) -> Any:
    """Equal exactly where the floats are the same, whatever NaN they are."""
    array = np.array(values, dtype).ravel()
    array[np.isnan(array)] = np.nan
    return array.view(f"u{array.dtype.itemsize}")


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_a_walk_gives_what_the_page_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    parts = random_parts(random)
    data = assemble(parts)
    page, forest = PageForest(data), tierfleet_forest.loads(data)
    rows = telling_rows(random, parts, 40)
    margins = [page.margins(row) for row in rows.tolist()]
    assert np.array_equal(_bits(forest.margins(rows), page.number), _bits(margins, page.number))
    scores = [page.scores(row) for row in margins]
    assert np.array_equal(_bits(forest.predict(rows), page.number), _bits(scores, page.number))
    one_by_one = [value for row in rows for value in forest.margins(row)]
    assert np.array_equal(_bits(one_by_one, page.number), _bits(margins, page.number))


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_vectors_hold(vector: dict[str, Any]) -> None:
    data = bytes.fromhex("".join(vector["file"]))
    rows = np.array([[float.fromhex(value) for value in row] for row in vector["rows"]], np.float32)
    forest, page = tierfleet_forest.loads(data), PageForest(data)
    margins = [float.fromhex(value) for row in vector["margins"] for value in row]
    scores = np.array([float.fromhex(value) for row in vector["scores"] for value in row], page.number)
    by_page = [page.margins(row) for row in rows.tolist()]
    for sums in (forest.margins(rows), by_page):
        assert np.array_equal(_bits(sums, page.number), _bits(margins, page.number))
    for predicted in (forest.predict(rows), [page.scores(row) for row in by_page]):
        np.testing.assert_array_max_ulp(np.array(predicted, page.number).ravel(), scores, 4)


def test_a_forest_says_what_it_is(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    for form, name in ((FORM_A, "A"), (FORM_B, "B")):
        parts = random_parts(random, node_bytes=form, metadata=b'{"a":1}')
        data = assemble(parts)
        (tmp_path / "model.forest").write_bytes(data)
        forest = tierfleet_forest.load(tmp_path / "model.forest")
        assert (forest.form, forest.size_bytes, forest.metadata) == (name, len(data), b'{"a":1}')
        assert (forest.features, forest.outputs, forest.trees) == (parts.features, parts.outputs, len(parts.first) // 4)
        assert forest.sum == ("float32" if parts.sum_bytes == 4 else "float64")
        assert forest.scores == (1 if parts.transform == 5 else parts.outputs)


@pytest.mark.skipif(sys.platform != "linux", reason="only there the switches of a thread are counted")
def test_a_load_that_lets_others_in_sleeps_between_pieces(tmp_path: Path) -> None:
    parts = replace(random_parts(np.random.default_rng(6), node_bytes=FORM_A), metadata=b" " * (1 << 24))
    (tmp_path / "model.forest").write_bytes(assemble(parts))

    def sleeps(work_us: int) -> int:
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        assert len(tierfleet_forest.load(tmp_path / "model.forest", work_us=work_us).metadata) == 1 << 24
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before

    assert sleeps(1) >= 60  # a piece has 256 KiB
    assert sleeps(0) < 30  # without sleep, a thread that holds the interpreter or the memory may still be waited for


def test_the_path_length_is_what_the_longest_row_visits() -> None:
    # A chain of 300 nodes: each right child is a node.
    def word(distance: int, inner: bool) -> int:
        return (inner << 17) | (distance << 18)

    words: list[int] = []
    for at in range(300):
        words += [0, word(1, at < 298) if at < 299 else 0]
    parts = random_parts(np.random.default_rng(1), node_bytes=FORM_A, sum_bytes=4)
    chain = assemble(_plain(parts, roots=[word(0, True)], first=[0], words=words))
    assert tierfleet_forest.loads(chain).path_length == 300
    two_leaves = assemble(_plain(parts, roots=[0, 0], first=[0, 2], words=[0, 0, 0, 0]))
    assert tierfleet_forest.loads(two_leaves).path_length == 2


def _plain(parts: Any, *, roots: list[int], first: list[int], words: list[int]) -> Any:
    return type(parts)(
        node_bytes=FORM_A, features=1, outputs=1, base=bytes(4), roots=np.array(roots, "<u4").tobytes(),
        first=np.array(first, "<u4").tobytes(), words=np.array(words, "<u4").tobytes(),
    )  # fmt: skip


def test_rows_may_be_any_buffer_of_float32() -> None:
    random = np.random.default_rng(3)
    parts = random_parts(random, sum_bytes=4)
    forest = tierfleet_forest.loads(assemble(parts))
    rows = telling_rows(random, parts, 7)
    expected = forest.margins(rows)
    unaligned = memoryview(b"x" + rows.tobytes())[1:]
    buffers = (rows.tobytes(), bytearray(rows), array("f", rows.ravel()), memoryview(rows), unaligned, rows.ravel())
    for buffer in buffers:
        assert np.array_equal(forest.margins(buffer), expected, equal_nan=True)
    assert forest.predict(b"") == []
    for kind in (np.float64, np.int32, np.float16, ">f4"):
        with pytest.raises(TypeError, match="float32"):
            forest.predict(np.zeros((7, parts.features), kind))
    wide = np.zeros((2, parts.features + 1), np.float32)
    for wrong in (wide, wide[0].copy(), wide.tobytes()[:-4], np.zeros((1, 7, parts.features), np.float32)):
        with pytest.raises(ValueError, match=f"{parts.features}"):
            forest.predict(wrong)
    with pytest.raises((BufferError, ValueError)):
        forest.predict(np.zeros((8, parts.features), np.float32)[::2])
    with pytest.raises(TypeError):
        forest.predict([1.0])


def test_threads_share_a_forest() -> None:
    random = np.random.default_rng(8)
    parts = random_parts(random, node_bytes=FORM_A)
    forest = tierfleet_forest.loads(assemble(parts))
    rows = telling_rows(random, parts, 3000)  # enough to let go of the interpreter
    expected, results = forest.margins(rows), []
    threads = [threading.Thread(target=lambda: results.append(forest.margins(rows))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(each, expected, equal_nan=True) for each in results)


def test_loads_and_refusals_keep_no_memory() -> None:
    random = np.random.default_rng(9)
    data = random_file(random, metadata=b'{"padding":"' + b"x" * 60_000 + b'"}')
    broken = data[:200] + bytes([data[200] ^ 1]) + data[201:]
    row = np.zeros((1, tierfleet_forest.loads(data).features), np.float32)

    def turn() -> None:
        tierfleet_forest.loads(data).predict(row)
        with pytest.raises(tierfleet_forest.ForestError):
            tierfleet_forest.loads(broken)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    for _ in range(200):
        turn()
    before = resident()
    for _ in range(1000):  # 60 MB if one kind of turn kept its bytes
        turn()
    assert resident() - before < 20 << 20


def test_a_column_without_slots_and_an_output_without_trees_are_work() -> None:
    """Else a batch of a hostile file's rows would hold the interpreter for minutes."""
    columns = np.zeros(256, np.dtype(COLUMN))
    columns["count"], columns["left_slot"], columns["right_slot"] = 65_536, NO_SLOT, NO_SLOT
    no_slots = Parts(
        node_bytes=FORM_A, features=1, outputs=1, base=bytes(4), columns=columns.tobytes(),
        thresholds=np.arange(65_536, dtype="<f4").tobytes(),
    )  # fmt: skip
    assert tierfleet_forest.loads(assemble(no_slots)).row_work > 256 * 256
    no_trees = Parts(node_bytes=FORM_A, features=1, outputs=4096, base=bytes(4 * 4096), transform=ARGMAX)
    assert tierfleet_forest.loads(assemble(no_trees)).row_work == 4096


def test_the_work_of_a_row_counts_slots_and_vectors_too() -> None:
    random = np.random.default_rng(12)
    for _ in range(40):
        parts = random_parts(random)
        forest = tierfleet_forest.loads(assemble(parts))
        columns = np.frombuffer(parts.columns, COLUMN)
        windows = -(-columns["count"].astype(int) // 256) if parts.node_bytes == FORM_A else 1
        sides = (columns["left_slot"] != NO_SLOT).astype(int) + (columns["right_slot"] != NO_SLOT)
        slots = int((windows * np.maximum(sides, 1)).sum()) + len(parts.category_splits) // 16
        added = forest.outputs + forest.trees * (forest.outputs if parts.vector_leaves else 1)
        assert forest.row_work == forest.path_length + slots + added
