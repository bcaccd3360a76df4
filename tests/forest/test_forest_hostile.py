"""Files that are damaged or made to do harm are refused with a sentence, or walked without harm."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tierfleet_forest
from tierfleet_forest import ForestError, layout
from tierfleet_forest.layout import FORM_A, FORM_B, Parts, assemble, with_crc

from tests.forest.compiled import needs_compiled
from tests.forest.fuzz_forest import fuzz
from tests.forest.random_files import random_file, random_parts
from tests.forest.vectors import worked_example

pytestmark = needs_compiled
EXAMPLE = worked_example()
DATA = assemble(EXAMPLE)
_SENTENCE = r"is not a sound flat forest: .*; convert or fetch the model again"


def _u32(at: int, value: int) -> bytes:
    return with_crc(DATA[:at] + struct.pack("<I", value) + DATA[at + 4 :])


def _words(*changes: tuple[int, int], roots: tuple[int, ...] = ()) -> Parts:
    words = np.frombuffer(EXAMPLE.words, "<u4").copy()
    for at, value in changes:
        words[at] = value
    own = np.array(roots, "<u4").tobytes() if roots else EXAMPLE.roots
    return replace(EXAMPLE, words=words.tobytes(), roots=own)


def _columns(**changes: Any) -> Parts:
    records = np.frombuffer(EXAMPLE.columns, layout.COLUMN).copy()
    for name, value in changes.items():
        records[name][1] = value
    return replace(EXAMPLE, columns=records.tobytes())


def _split(**changes: int) -> Parts:
    record = {"feature": 0, "at": 0, "count": 2, "slot": 7, "flags": 0, **changes}
    records = np.array([tuple(record.values())], layout.CATEGORY_SPLIT)
    return replace(EXAMPLE, category_splits=records.tobytes(), category_bits=bytes(8))


def _form_b(threshold: float) -> Parts:
    column = np.array([(0, 0, 0, 0, layout.NO_SLOT, 0)], layout.COLUMN)
    root = int(np.float32(threshold).view(np.uint32)) << 32
    return Parts(
        node_bytes=FORM_B, features=1, outputs=1, base=bytes(4), columns=column.tobytes(),
        roots=np.array([root], "<u8").tobytes(), first=bytes(4), words=bytes(16),
    )  # fmt: skip


def _leaf_table(number: int) -> Parts:
    table = np.arange(3, dtype="<f8").tobytes()
    words = np.array([number, number], "<u4").tobytes()
    return Parts(
        node_bytes=FORM_A, features=1, outputs=1, base=bytes(8), roots=bytes(4), first=bytes(4), words=words,
        leaf_table=table, sum_bytes=8,
    )  # fmt: skip


def _u32_of(data: bytes, *changes: tuple[int, int]) -> bytes:
    for at, value in changes:
        data = data[:at] + struct.pack("<I", value) + data[at + 4 :]
    return with_crc(data)


def _covers(trees: int, words: int, wrong: float = 1.0) -> dict[str, Any]:
    covers = np.ones(words, "<f4")
    covers[-1] = wrong
    ones = np.ones(trees, "<f4").tobytes()
    return {"with_covers": True, "root_covers": ones, "tree_means": ones, "covers": covers.tobytes()}


NODE = 1 | 1 << 8 | 1 << 18
WRONG: dict[str, tuple[bytes | Parts, str]] = {
    "empty": (b"", "0 bytes"),
    "shorter than a head": (DATA[:64], "64 bytes"),
    "odd length": (DATA + b"x", "577 bytes"),
    "cut short": (with_crc(DATA[:-64]), "has 512 bytes and says that it has 576"),
    "longer": (with_crc(DATA + bytes(64)), "has 640 bytes and says that it has 576"),
    "another magic": (with_crc(b"FLATFRSX" + DATA[8:]), "FLATFRST"),
    "another version": (with_crc(DATA[:8] + b"\3\0\0\0" + DATA[12:]), "version 3"),
    "a changed byte": (DATA[:450] + b"\xff" + DATA[451:], "CRC-32"),
    "node_bytes": (_u32(24, 5), "node_bytes is 5"),
    "no features": (_u32(28, 0), "features is 0"),
    "too many features": (_u32(28, (1 << 24) + 1), "features is 16777217"),
    "no outputs": (_u32(32, 0), "outputs is 0"),
    "too many trees": (_u32(36, (1 << 22) + 1), "trees is 4194305"),
    "more trees than there are": (_u32(36, 1 << 22), "do not fit"),
    "more words than there are": (_u32(40, 1 << 30), "words"),
    "too many words": (_u32(40, (1 << 31) + 1), "words is"),
    "too many columns": (_u32(44, 257), "columns is 257"),
    "too many thresholds": (_u32(48, 1 << 31), "thresholds"),
    "leaf rows that nothing uses": (_u32(60, 1), "leaf_rows is 1"),
    "sum_bytes": (_u32(64, 2), "sum_bytes is 2"),
    "vector_leaves": (_u32(68, 2), "vector_leaves is 2"),
    "vectors without a table": (_u32(68, 1), "leaf_rows is 0"),
    "weighted": (_u32(72, 2), "weighted is 2"),
    "divisor of float32": (_u32(76, 2), "divisor is 2"),
    "no divisor": (_u32(76, 0), "divisor is 0"),
    "transform": (_u32(80, 7), "transform is 7"),
    "probes": (_u32(84, 17), "probes is 17"),
    "parameter": (_u32(92, 0x7FF00000), "transform_parameter"),
    "metadata longer than the file": (_u32(96, 1 << 31), "metadata"),
    "reserved bytes": (_u32(124, 1), "byte 124"),
    "covers in version 1": (_u32(100, 1), "covers is 1 in version 1"),
    "version 2 without covers": (with_crc(DATA[:8] + b"\2\0\0\0" + DATA[12:]), "covers is 0 in version 2"),
    "covers that are not there": (_u32_of(DATA, (8, 2), (100, 1)), "root covers"),
    "covers of sums in double": (replace(_leaf_table(2), **_covers(1, 2)), "covers with sum_bytes 8"),
    "covers of vectors": (
        replace(_leaf_table(2), sum_bytes=4, vector_leaves=True, **_covers(1, 2)), "vector_leaves 1",
    ),
    "too few covers": (replace(EXAMPLE, **{**_covers(2, 6), "covers": b""}), "its covers (6 x 4 bytes) do not fit"),
    "a cover below 0": (replace(EXAMPLE, **_covers(2, 6, wrong=-1.0)), "its covers have a number below 0"),
    "a cover of NaN": (replace(EXAMPLE, **_covers(2, 6, wrong=np.nan)), "its covers have a number"),
    "an infinite cover": (replace(EXAMPLE, **_covers(2, 6, wrong=np.inf)), "its covers have a number"),
    "a root's cover": (
        replace(EXAMPLE, **{**_covers(2, 6), "root_covers": np.float32([1, -1]).tobytes()}), "its root covers have",
    ),
    "bytes after the last section": (_u32(96, 0), "64 bytes follow its last section"),
    "column's feature": (_columns(feature=2), "column 1 has feature 2"),
    "column's missing": (_columns(missing=3), "missing 3"),
    "column without thresholds": (_columns(count=0), "column 1 has 0 thresholds"),
    "column beyond the thresholds": (_columns(at=2), "column 1 has 2 thresholds from number 2"),
    "column at the end of numbers": (_columns(at=0xFFFFFFFF), "from number 4294967295"),
    "column's slot": (_columns(left_slot=256), "slots 256"),
    "a slot twice": (_columns(left_slot=0), "slot 0, which is filled already"),
    "thresholds descending": (replace(EXAMPLE, thresholds=np.float32([0, 2, -2]).tobytes()), "not ascending"),
    "thresholds equal": (replace(EXAMPLE, thresholds=np.float32([0, 2, 2]).tobytes()), "not ascending"),
    "a threshold of NaN": (replace(EXAMPLE, thresholds=np.float32([np.nan, 1, 2]).tobytes()), "not a number"),
    "the last threshold NaN": (replace(EXAMPLE, thresholds=np.float32([0, 1, np.nan]).tobytes()), "not ascending"),
    "split's feature": (_split(feature=2), "category split 0 has feature 2"),
    "split's words": (_split(count=3), "3 words of bits"),
    "split's first word": (_split(at=0xFFFFFFFF), "from number 4294967295"),
    "split's slot": (_split(slot=256), "slot 256"),
    "split's slot twice": (_split(slot=1), "filled already"),
    "split's flags": (_split(flags=8), "flags 8"),
    "first word beyond": (replace(EXAMPLE, first=np.array([0, 5], "<u4").tobytes()), "tree 1 has words 5 to 6"),
    "first words descending": (replace(EXAMPLE, first=np.array([4, 0], "<u4").tobytes()), "tree 0 has words 4 to 0"),
    "tree without words": (replace(EXAMPLE, first=np.array([0, 0], "<u4").tobytes()), "tree 0 has words 0 to 0"),
    "a slot that nothing fills": (_words((1, NODE + 1)), "tree 0"),
    "a threshold that is none": (_words((1, NODE + (1 << 8))), "tree 0"),
    "a root's threshold that is none": (_words(roots=(1 << 17 | 1 << 8, 1)), "tree 0"),
    "a root with a distance": (_words(roots=(1 << 17, 1 | 1 << 18)), "tree 1"),
    "a node that leads to itself": (_words((1, NODE & ~(0x3FFF << 18))), "tree 0"),
    "a node that leads into the next tree": (_words((1, NODE + (2 << 18))), "tree 0"),
    "half a pair": (_words((1, NODE + (1 << 18))), "tree 0"),
    "a node that leads far away": (_words((1, NODE | 0x3FFF << 18)), "tree 0"),
    "form B, NaN": (_form_b(np.nan), "tree 0"),
    "form B, minus infinity": (_form_b(-np.inf), "tree 0"),
    "form B, thresholds": (replace(_form_b(1), thresholds=bytes(4)), "thresholds is 1"),
    "a leaf row that is none": (_leaf_table(3), "tree 0"),
    "a leaf row far away": (_leaf_table(0xFFFFFFFF), "tree 0"),
    "a probe's margin": (
        replace(EXAMPLE, probe_rows=bytes(8), probe_margins=bytes(4), probe_scores=bytes(4)),
        "margins of its probe row 0",
    ),
    "a probe's score": (
        replace(
            EXAMPLE, probe_rows=bytes(8), probe_margins=np.float32([2.5]).tobytes(),
            probe_scores=np.float32([0.92]).tobytes(),
        ), "scores of its probe row 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_broken_rule_is_named(wrong: bytes | Parts, says: str, tmp_path: Path) -> None:
    data = wrong if isinstance(wrong, bytes) else assemble(wrong)
    (tmp_path / "model.forest").write_bytes(data)
    for load in (
        lambda: tierfleet_forest.loads(data),
        lambda: tierfleet_forest.load(tmp_path / "model.forest"),
        lambda: tierfleet_forest.load(tmp_path / "model.forest", work_us=1),
    ):
        with pytest.raises(ForestError, match=_SENTENCE) as raised:
            load()
        assert says in str(raised.value)
    with pytest.raises(ForestError, match=str(tmp_path)):
        tierfleet_forest.load(tmp_path / "model.forest")


def test_what_was_changed_was_sound_before() -> None:
    assert tierfleet_forest.loads(DATA).trees == 2
    assert tierfleet_forest.loads(assemble(_split())).trees == 2
    assert tierfleet_forest.loads(assemble(_form_b(1))).trees == 1
    assert tierfleet_forest.loads(assemble(replace(EXAMPLE, **_covers(2, 6)))).no_contributions == ""
    assert tierfleet_forest.loads(assemble(_leaf_table(2))).margins(np.float32([9])) == [2.0]
    probe = np.float32([0.4, 0]).tobytes()
    scores = np.float32([float.fromhex("0x1.d9291ep-1")])
    for ulps, sound in ((0, True), (4, True), (5, False)):
        near = (scores.view(np.int32) + ulps).view(np.float32)
        parts = replace(
            EXAMPLE, probe_rows=probe, probe_margins=np.float32([2.5]).tobytes(), probe_scores=near.tobytes()
        )
        if sound:
            tierfleet_forest.loads(assemble(parts))
        else:
            with pytest.raises(ForestError, match="scores of its probe row"):
                tierfleet_forest.loads(assemble(parts))


def test_shared_children_do_not_hold_up_the_check() -> None:
    """Each node's children lead to the same pair: 2^5000 walks, if the check took every one."""
    words = np.full(10_002, 3 << 16 | 2 << 18, "<u4")
    words[1::2] = 3 << 16 | 1 << 18
    words[-2:] = 0
    parts = Parts(
        node_bytes=FORM_A, features=1, outputs=1, base=bytes(4), roots=np.array([3 << 16], "<u4").tobytes(),
        first=bytes(4), words=words.tobytes(),
    )  # fmt: skip
    with pytest.raises(ForestError, match="tree 0"):
        tierfleet_forest.loads(assemble(parts))


def test_probes_do_not_hold_up_the_load() -> None:
    """A file of 15 MB that would have its reader add 10^11 numbers."""
    outputs, trees, probes = 65_535, 100_000, 16
    values = bytes(4 * outputs * probes)
    parts = Parts(
        node_bytes=FORM_A, features=1, outputs=outputs, base=bytes(4 * outputs), roots=bytes(4 * trees),
        first=np.arange(0, 2 * trees, 2).astype("<u4").tobytes(), words=bytes(8 * trees), vector_leaves=True,
        leaf_table=bytes(4 * outputs), probe_rows=bytes(4 * probes), probe_margins=values, probe_scores=values,
    )  # fmt: skip
    with pytest.raises(ForestError, match="its 16 probe rows take 6553665535 steps each"):
        tierfleet_forest.loads(assemble(parts))


def test_every_damaged_byte_is_noticed() -> None:
    for at in range(len(DATA)):
        with pytest.raises(ForestError):
            tierfleet_forest.loads(DATA[:at] + bytes([DATA[at] ^ 0x40]) + DATA[at + 1 :])


def test_every_length_is_noticed() -> None:
    data = random_file(np.random.default_rng(4))
    for length in (*range(0, len(data), 64), *range(0, len(data), 101)):
        for cut in (data[:length], with_crc(data[:length]) if length > 128 else b""):
            with pytest.raises(ForestError):
                tierfleet_forest.loads(cut)


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ForestError, match="not a regular file"):
        tierfleet_forest.load(tmp_path / "pipe")
    with pytest.raises(ForestError, match="not a regular file"):
        tierfleet_forest.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="none"):
        tierfleet_forest.load(tmp_path / "none")
    with pytest.raises(ValueError, match="-1"):
        tierfleet_forest.load(-1)
    with pytest.raises(TypeError):
        tierfleet_forest.load(None)  # type: ignore[arg-type]
    for work_us in (-1, 1_000_000, 2**31 - 1):
        with pytest.raises(ValueError, match=f"work_us is {work_us}; it must be 0 to 999999"):
            tierfleet_forest.load(tmp_path, work_us=work_us)


def test_a_huge_file_without_content_is_refused_at_once(tmp_path: Path) -> None:
    for length in (1 << 33, 1 << 42):
        with (tmp_path / "sparse").open("wb") as file:
            file.truncate(length)
        with pytest.raises((ForestError, MemoryError)):
            tierfleet_forest.load(tmp_path / "sparse")


def test_a_descriptor_is_read_and_stays_open(tmp_path: Path) -> None:
    (tmp_path / "model.forest").write_bytes(DATA)
    with (tmp_path / "model.forest").open("rb") as file:
        assert tierfleet_forest.load(file.fileno()).trees == 2
        assert file.tell() == len(DATA)


@pytest.mark.parametrize("kind", [FORM_A, FORM_B])
def test_damage_with_a_right_crc_does_no_harm(kind: int) -> None:
    random, walked = np.random.default_rng(kind), 0
    for _ in range(60):
        parts = random_parts(random, node_bytes=kind)
        data = assemble(parts)
        for _ in range(20):
            damaged = bytearray(data)
            for at in random.integers(128, len(data), int(random.integers(1, 6))):
                damaged[at] = int(random.integers(0, 256))
            try:
                forest = tierfleet_forest.loads(with_crc(bytes(damaged)))
            except ForestError:
                continue
            rows = random.standard_normal((3, parts.features)).astype(np.float32)
            assert len(forest.predict(rows)) == 3 * forest.scores
            if not forest.no_contributions:
                assert len(forest.contributions(rows)) == 12 * forest.outputs * (parts.features + 1)
            walked += 1
    assert walked > 100


needs_gcc: Callable[..., Any] = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


@needs_gcc
def test_the_fuzzer_finds_nothing_in_seconds(tmp_path: Path) -> None:
    run = fuzz(tmp_path, 4, 1)
    assert run.returncode == 0, run.stderr
    counts = json.loads(run.stdout)
    assert counts["walked"] > 100
    assert counts["refused"] > 1000
    assert counts["kept"] > 50
    assert counts["explained"] > 50
    assert counts["texts_read"] > 500
    assert counts["rows_read"] > 500
    assert counts["numbers_written"] > 500
