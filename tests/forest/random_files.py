"""Flat forests of every kind that docs/flat-forest.md allows, put together without the writer, and rows for them."""

from typing import Any, NamedTuple

import numpy as np
from tierfleet_forest import layout
from tierfleet_forest.layout import FORM_A, FORM_B, Parts, assemble

Generator = np.random.Generator
_EDGES = (0.0, -0.0, 1e-35, -1e-35, 1.1e-35, 1e-45, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan)
_CATEGORIES = (-1.0, -0.5, 0.0, 1.0, 5.999, 31.0, 32.0, 63.0, 64.0, 2.0**24 - 1, 2.0**24, 3e38)


class _Question(NamedTuple):
    """What a node may ask: form A's threshold index, or the threshold itself in form B."""

    slot: int
    threshold: float


def random_parts(random: Generator, **fixed: Any) -> Parts:
    """A sound file's parts; `fixed` of them are as given."""
    form = fixed.get("node_bytes", int(random.choice([FORM_A, FORM_B])))
    sum_bytes = fixed.get("sum_bytes", int(random.choice([4, 4, 8])))
    sums = np.dtype(f"<f{sum_bytes}")
    outputs = int(random.choice([1, 1, 2, 5]))
    vectors = bool(random.random() < 0.25) if "vector_leaves" not in fixed else fixed["vector_leaves"]
    features = int(random.integers(1, 12))
    columns, thresholds, splits, bits, questions = _questions(random, form, features)
    trees = int(random.choice([0, 1, 3, 20, 140], p=[0.05, 0.25, 0.4, 0.2, 0.1]))
    leaf_rows = int(random.integers(1, 40)) if trees and (sum_bytes == 8 or vectors) else 0
    roots, first, words = _trees(random, form, trees, questions, leaf_rows)
    table = _numbers(random, leaf_rows * (outputs if vectors else 1), sums)
    weighted = sum_bytes == 4 and random.random() < 0.3
    may_have_covers = sum_bytes == 4 and not vectors
    with_covers = fixed["with_covers"] if "with_covers" in fixed else may_have_covers and bool(random.random() < 0.5)
    covers = _covers(form, roots, first, words, random) if with_covers else (b"", b"", b"")
    parts: dict[str, Any] = {
        "node_bytes": form,
        "features": features,
        "outputs": outputs,
        "base": _numbers(random, outputs, sums).tobytes(),
        "columns": columns.tobytes(),
        "thresholds": thresholds.tobytes(),
        "category_splits": splits.tobytes(),
        "category_bits": bits.tobytes(),
        "roots": roots.tobytes(),
        "first": first.tobytes(),
        "tree_outputs": b"" if outputs == 1 or vectors else random.integers(0, outputs, trees).astype("<u2").tobytes(),
        "weights": _numbers(random, trees, np.dtype("<f4")).tobytes() if weighted else b"",
        "leaf_table": table.tobytes(),
        "words": words.tobytes(),
        "metadata": b'{"objective":"none"}' if random.random() < 0.5 else b"",
        **dict(zip(("root_covers", "tree_means", "covers"), covers, strict=True)),
        "with_covers": with_covers,
        "sum_bytes": sum_bytes,
        "vector_leaves": vectors,
        "divisor": int(random.choice([1, 3, 10])) if sum_bytes == 8 else 1,
        "transform": int(random.integers(0, 7)),
        "transform_parameter": float(random.choice([1.0, 0.7, 2.5])) if sum_bytes == 8 else 1.0,
    }
    return Parts(**{**parts, **fixed})


def _covers(form: int, roots: Any, first: Any, words: Any, random: Generator) -> tuple[bytes, bytes, bytes]:
    """Root covers, tree means and covers of a file's trees, whose leaves have any weight."""
    covers, means = np.zeros(len(words), "<f4"), []
    flag, distance = (16, 18) if form == FORM_A else (12, 14)
    places = 14 if form == FORM_A else 18

    def fill(begin: int, word: int, pair: int) -> tuple[float, float]:
        total = mean = 0.0
        for side in (0, 1):
            at = begin + pair + side
            child = int(words[at])
            if word >> flag + side & 1:
                cover, value = fill(begin, child, pair + side + (child >> distance & (1 << places) - 1))
            else:
                cover = float(np.float32(random.uniform(0.1, 9)))
                bits = child if form == FORM_A else child >> 32
                value = float(np.uint32(bits).view(np.float32))
            covers[at] = cover
            total, mean = total + cover, mean + cover * value
        return total, mean / total

    own = []
    for tree, word in enumerate(roots.tolist()):
        begin = int(first[tree])
        end = int(first[tree + 1]) if tree + 1 < len(first) else len(words)
        if end - begin == 2 and words[begin] == words[begin + 1]:
            own.append(0.0)
            bits = int(words[begin]) if form == FORM_A else int(words[begin]) >> 32
            means.append(float(np.uint32(bits).view(np.float32)))
        else:
            cover, mean = fill(begin, word, 0)
            own.append(cover)
            means.append(mean)
    return np.array(own, "<f4").tobytes(), np.array(means, "<f4").tobytes(), covers.tobytes()


def random_file(random: Generator, **fixed: Any) -> bytes:
    """The same as a file."""
    return assemble(random_parts(random, **fixed))


def telling_rows(random: Generator, parts: Parts, count: int) -> Any:
    """Rows at thresholds and a step away from them, missing values, and categories that are none."""
    known = np.frombuffer(parts.thresholds, "<f4")
    if parts.node_bytes == FORM_B:
        known = (np.frombuffer(parts.words, "<u8") >> np.uint64(32)).astype("<u4").view("<f4")
    pool = np.concatenate([known, np.float32(_EDGES), np.float32(_CATEGORIES)])
    rows = random.choice(pool, (count, parts.features)).astype(np.float32)
    with np.errstate(all="ignore"):
        for way in (-np.inf, np.inf):
            near = random.random(rows.shape) < 0.2
            rows[near] = np.nextafter(rows[near], np.float32(way))
    rows[random.random(rows.shape) < 0.1] = np.nan
    return rows


def _numbers(random: Generator, count: int, dtype: Any) -> Any:
    return random.standard_normal(count).astype(dtype)


def _questions(random: Generator, form: int, features: int) -> tuple[Any, Any, Any, Any, list[_Question]]:
    columns, thresholds, splits, bits, questions = [], [], [], [], []
    used, at = int(random.random() < 0.3), 0  # sometimes nothing fills slot 0
    for _ in range(int(random.integers(0, 6))):
        count = int(random.choice([1, 2, 7, 256, 257, 700]))
        own = np.unique(random.standard_normal(count).astype(np.float32))
        if random.random() < 0.2:
            own = np.unique(np.concatenate([own, np.float32([-np.inf, np.inf])[form == FORM_B :]]))
        windows = -(-len(own) // layout.WINDOW) if form == FORM_A else 1
        sides = [bool(random.random() < 0.7), bool(random.random() < 0.7)]
        if used + windows * sum(sides) > 200:
            continue
        slots = []
        for side in sides:
            slots.append(used if side else layout.NO_SLOT)
            if side:
                limit = range(len(own))
                questions += [
                    _Question(used + k // 256, k % 256) if form == FORM_A else _Question(used, float(own[k]))
                    for k in limit
                ]
                used += windows
        place = (at, len(own)) if form == FORM_A else (0, 0)
        columns.append((int(random.integers(0, features)), *place, *slots, int(random.integers(0, 3))))
        if form == FORM_A:
            thresholds.append(own)
            at += len(own)
    for _ in range(int(random.integers(0, 4))):
        words = int(random.integers(0, 4))
        splits.append((int(random.integers(0, features)), len(bits), words, used, int(random.integers(0, 8))))
        bits += random.integers(0, 1 << 32, words).tolist()
        questions.append(_Question(used, 0 if form == FORM_A else 0.5))
        used += 1
    return (
        np.array(columns, layout.COLUMN),
        np.concatenate(thresholds).astype("<f4") if thresholds else np.zeros(0, "<f4"),
        np.array(splits, layout.CATEGORY_SPLIT),
        np.array(bits, "<u4"),
        questions or [_Question(0, 0)],
    )


def _trees(random: Generator, form: int, trees: int, questions: list[_Question], leaf_rows: int) -> Any:
    node = "<u4" if form == FORM_A else "<u8"
    roots, first, words = [], [], []
    for _ in range(trees):
        root, own = _tree(random, form, questions, leaf_rows)
        roots.append(root)
        first.append(len(words))
        words += own
    return np.array(roots, node), np.array(first, "<u4"), np.array(words, node)


def _tree(random: Generator, form: int, questions: list[_Question], leaf_rows: int) -> tuple[int, list[int]]:
    """The root word and the words of a tree; pairs are in any order behind their parents, with gaps between them."""
    size = int(random.choice([0, 1, 5, 40]))
    if size == 0:
        leaf = _leaf(random, form, leaf_rows)
        return 0, [leaf, leaf]
    # A node is the place that its pair belongs to; -1 is the root.
    waiting, words = [-1], []
    root = 0
    while waiting:
        place = waiting.pop(int(random.integers(0, len(waiting))))
        if words and random.random() < 0.2:
            words.append(int(random.integers(0, 1 << 32)))  # nothing leads here
        pair = len(words)
        flags = 0
        for side in (0, 1):
            if size > 1 and len(waiting) < size - 1 and random.random() < 0.6:
                flags |= 1 << side
                waiting.append(pair + side)
                size -= 1
        words += [_leaf(random, form, leaf_rows), _leaf(random, form, leaf_rows)]
        asked = questions[int(random.integers(0, len(questions)))]
        distance = 0 if place < 0 else pair - place
        if form == FORM_A:
            word = asked.slot | int(asked.threshold) << 8 | flags << 16 | distance << 18
        else:
            word = asked.slot | flags << 12 | distance << 14 | _bits(asked.threshold) << 32
        if place < 0:
            root = word
        else:
            words[place] = word
    return root, words


def _leaf(random: Generator, form: int, leaf_rows: int) -> int:
    value = int(random.integers(0, leaf_rows)) if leaf_rows else _bits(float(random.standard_normal()))
    return value if form == FORM_A else value << 32


def _bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))
