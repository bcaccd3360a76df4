"""Writes docs/flat-forest-vectors.json: `python -m tests.forest.vectors`. What it expects comes from `page_reader`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "container"))

import numpy as np  # noqa: E402
from tierfleet_forest import layout  # noqa: E402
from tierfleet_forest.layout import FORM_A, FORM_B, Parts, assemble  # noqa: E402

from tests.forest.page_reader import PageForest  # noqa: E402
from tests.forest.random_files import random_parts, telling_rows  # noqa: E402

_MOST_BYTES = 2048


def worked_example() -> Parts:
    """The file that the page takes apart: two features, two trees."""
    columns = [(0, 0, 1, 0, layout.NO_SLOT, 0), (1, 1, 2, layout.NO_SLOT, 1, 0)]
    leaf = np.float32([1.0, -1.0, 0.25, -0.125]).view(np.uint32).tolist()
    # The node asks slot 1 with threshold index 1, and its pair is the next one.
    left_leaf, right_node = leaf[0], 1 | 1 << 8 | 1 << 18
    root_0, root_1 = 0 | 1 << 17, 1
    words = [left_leaf, right_node, leaf[1], leaf[2], leaf[3], leaf[0]]
    return Parts(
        node_bytes=FORM_A,
        features=2,
        outputs=1,
        base=np.float32([0.5]).tobytes(),
        columns=np.array(columns, layout.COLUMN).tobytes(),
        thresholds=np.float32([0.5, -2.0, 2.0]).tobytes(),
        roots=np.array([root_0, root_1], "<u4").tobytes(),
        first=np.array([0, 4], "<u4").tobytes(),
        words=np.array(words, "<u4").tobytes(),
        transform=layout.SIGMOID,
        metadata=b'{"feature_names":["age","income"]}',
    )


def _kinds() -> dict[str, tuple[dict[str, Any], Callable[[Parts], bool]]]:
    def split(parts: Parts) -> bool:
        return len(parts.words) > 40 and len(parts.first) <= 80

    def categories(parts: Parts) -> bool:
        return split(parts) and len(parts.category_splits) >= 32 and len(parts.category_bits) >= 8

    def windows(parts: Parts) -> bool:
        counts = np.frombuffer(parts.columns, layout.COLUMN)["count"]
        return split(parts) and bool(len(counts)) and 256 < counts.max() < 300

    def missing(parts: Parts) -> bool:
        rules = set(np.frombuffer(parts.columns, layout.COLUMN)["missing"].tolist())
        return split(parts) and rules == {0, 1, 2}

    def several(parts: Parts) -> bool:
        return split(parts) and parts.outputs > 1 and not parts.vector_leaves

    def dart(parts: Parts) -> bool:
        return split(parts) and bool(parts.weights)

    def vectors(parts: Parts) -> bool:
        return split(parts) and parts.vector_leaves and parts.outputs > 1

    def divided(parts: Parts) -> bool:
        return split(parts) and parts.divisor > 1 and not parts.vector_leaves

    return {
        "form B": ({"node_bytes": FORM_B, "sum_bytes": 4, "transform": layout.SIGMOID}, split),
        "categories, form A": ({"node_bytes": FORM_A}, categories),
        "categories, form B": ({"node_bytes": FORM_B}, categories),
        "more than 256 thresholds": ({"node_bytes": FORM_A}, windows),
        "every rule of what is missing, form A": ({"node_bytes": FORM_A}, missing),
        "every rule of what is missing, form B": ({"node_bytes": FORM_B}, missing),
        "several outputs, softmax": ({"sum_bytes": 4, "transform": layout.SOFTMAX}, several),
        "several outputs, argmax": ({"transform": layout.ARGMAX}, several),
        "weights of trees, exp": ({"sum_bytes": 4, "transform": layout.EXP}, dart),
        "exp in f64": ({"sum_bytes": 4, "transform": layout.EXP_F64}, split),
        "vector leaves, f32": ({"sum_bytes": 4, "transform": layout.IDENTITY}, vectors),
        "vector leaves, f64, softmax": ({"sum_bytes": 8, "transform": layout.SOFTMAX}, vectors),
        "sums in f64, a divisor, sigmoid with a parameter": (
            {"sum_bytes": 8, "transform": layout.SIGMOID, "transform_parameter": 0.7}, divided,
        ),
        "step": ({"sum_bytes": 4, "transform": layout.STEP}, split),
        "no trees": ({"trees": 0}, lambda parts: not parts.first),
    }  # fmt: skip


def _kinds_with_covers() -> dict[str, tuple[dict[str, Any], Callable[[Parts], bool]]]:
    def few(parts: Parts) -> bool:
        return len(parts.words) > 100 and len(parts.first) <= 80 and 2 <= parts.features <= 6

    def categories(parts: Parts) -> bool:
        return few(parts) and len(parts.category_splits) >= 32 and len(parts.category_bits) >= 8

    def several(parts: Parts) -> bool:
        return few(parts) and parts.outputs > 1

    def weighted(parts: Parts) -> bool:
        return few(parts) and bool(parts.weights)

    plain = {"sum_bytes": 4, "vector_leaves": False, "with_covers": True}
    return {
        "covers, form A": ({**plain, "node_bytes": FORM_A, "transform": layout.SIGMOID}, few),
        "covers, form B": ({**plain, "node_bytes": FORM_B, "transform": layout.IDENTITY}, few),
        "covers, categories": (plain, categories),
        "covers, several outputs": ({**plain, "transform": layout.SOFTMAX}, several),
        "covers, weights of trees": (plain, weighted),
    }


def _vector(name: str, parts: Parts, rows: Any) -> dict[str, Any]:
    data = assemble(parts)
    forest = PageForest(data)
    margins = [forest.margins(row) for row in rows.tolist()]
    scores = [forest.scores(row) for row in margins]
    return {
        "name": name,
        "file": [data[at : at + 64].hex() for at in range(0, len(data), 64)],
        **{
            title: [[float(value).hex() for value in row] for row in values]
            for title, values in (("rows", rows.tolist()), ("margins", margins), ("scores", scores))
        },
        **({"contributions": [_contributions(forest, row) for row in rows.tolist()]} if parts.with_covers else {}),
    }


def _contributions(forest: PageForest, row: list[float]) -> list[str]:
    return [value.hex() for output in forest.contributions(row) for value in output]


def main() -> None:
    """Write the file."""
    random = np.random.default_rng(1)
    rows = np.float32([[0.4, 0], [0.5, -2], [0.5, 2], [np.nan, 3], [1, np.nan], [np.inf, -np.inf]])
    vectors = [_vector("the worked example", worked_example(), rows)]
    for name, (fixed, wanted) in {**_kinds(), **_kinds_with_covers()}.items():
        given = {"with_covers": False, **{key: value for key, value in fixed.items() if key != "trees"}}
        while True:
            parts = random_parts(random, **given)
            most = 3 * _MOST_BYTES if "256" in name else _MOST_BYTES
            if wanted(parts) and len(assemble(parts)) <= most:
                break
        vectors.append(_vector(name, parts, telling_rows(random, parts, 12)))
    lines = ",\n".join(json.dumps(vector) for vector in vectors)
    text = f'{{"format": "flat forest, versions 1 and 2", "vectors": [\n{lines}\n]}}\n'
    (ROOT / "docs" / "flat-forest-vectors.json").write_text(text)


if __name__ == "__main__":
    main()
