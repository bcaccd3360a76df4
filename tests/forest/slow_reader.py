"""A second reader of flat forests, written from docs/flat-forest.md alone: NumPy over rows, node by node."""

import json
import zlib
from typing import Any

import numpy as np
from tierfleet_forest.libm import exponential

_U32_FIELDS = (
    "node_bytes", "features", "outputs", "trees", "words", "columns", "thresholds", "category_splits",
    "category_words", "leaf_rows", "sum_bytes", "vector_leaves", "weighted", "divisor", "transform", "probes",
)  # fmt: skip
_COLUMN = [("feature", "<u4"), ("at", "<u4"), ("count", "<u4"), ("left", "<u2"), ("right", "<u2"), ("missing", "<u4")]
_CATEGORY = [("feature", "<u4"), ("at", "<u4"), ("count", "<u4"), ("slot", "<u2"), ("flags", "<u2")]


class SlowForest:
    """A flat forest's sections, and what a row gets from them."""

    def __init__(self, data: bytes) -> None:
        assert data[:8] == b"FLATFRST"
        assert int.from_bytes(data[8:12], "little") == 1
        assert int.from_bytes(data[12:16], "little") == zlib.crc32(data[16:])
        assert int.from_bytes(data[16:24], "little") == len(data)
        numbers = np.frombuffer(data, "<u4", 16, 24).tolist()
        self.head: dict[str, int] = dict(zip(_U32_FIELDS, numbers, strict=True))
        self.parameter = float(np.frombuffer(data, "<f8", 1, 88)[0])
        metadata_bytes = int(np.frombuffer(data, "<u4", 1, 96)[0])
        assert not any(data[100:128])
        self._data, self._at = data, 128
        h = self.head
        self.form_a = h["node_bytes"] == 4
        sums, node = f"<f{h['sum_bytes']}", f"<u{h['node_bytes']}"
        self.sum = np.dtype(sums)
        outputs, trees = h["outputs"], h["trees"]
        self.base = self._section(sums, outputs)
        self.columns = self._section(_COLUMN, h["columns"])
        self.thresholds = self._section("<f4", h["thresholds"])
        self.categories = self._section(_CATEGORY, h["category_splits"])
        self.bits = self._section("<u4", h["category_words"])
        self.roots = self._section(node, trees)
        self.first = self._section("<u4", trees)
        self.tree_outputs = self._section("<u2", trees if outputs > 1 and not h["vector_leaves"] else 0)
        self.weights = self._section("<f4", trees if h["weighted"] else 0)
        width = outputs if h["vector_leaves"] else 1
        self.leaf_table = self._section(sums, h["leaf_rows"] * width).reshape(-1, width)
        self.words = self._section(node, h["words"])
        self.probe_rows = self._section("<f4", h["probes"] * h["features"]).reshape(h["probes"], h["features"])
        self.probe_margins = self._section(sums, h["probes"] * outputs).reshape(h["probes"], -1)
        scores = h["probes"] * (1 if h["transform"] == 5 else outputs)
        self.probe_scores = self._section(sums, scores).reshape(h["probes"], -1)
        self.metadata: dict[str, Any] = json.loads(bytes(self._section("u1", metadata_bytes)) or b"{}")
        assert self._at == len(data)

    def _section(self, dtype: Any, count: int) -> Any:
        found = np.frombuffer(self._data, dtype, count, self._at)
        self._at += -(-found.nbytes // 64) * 64
        return found

    def _slots(self, rows: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return self._column_slots(rows)

    def _column_slots(self, rows: Any) -> Any:
        slots = np.zeros((len(rows), 256 if self.form_a else 4096), np.int64 if self.form_a else np.float32)
        for column in self.columns:
            x = rows[:, column["feature"]]
            missing = np.isnan(x)
            if column["missing"] == 1:
                x, missing = np.where(missing, np.float32(0), x), np.zeros(len(x), bool)
            elif column["missing"] == 2:
                missing = missing | (np.abs(x) <= np.float32(1e-35))
            count = int(column["count"])
            own = self.thresholds[column["at"] : column["at"] + count]
            below = np.searchsorted(own, x, "right")
            for name, marks in (("left", (0, -np.inf)), ("right", (65535, np.inf))):
                slot = int(column[name])
                if slot == 65535:
                    continue
                if not self.form_a:
                    slots[:, slot] = np.where(missing, np.float32(marks[1]), x)
                    continue
                for window in range((count + 255) // 256):
                    here = np.clip(below - 256 * window, 0, 256)
                    slots[:, slot + window] = np.where(missing, marks[0], here)
        for split in self.categories:
            slots[:, split["slot"]] = self._right(rows[:, split["feature"]], split)
        return slots

    def _right(self, x: Any, split: Any) -> Any:
        flags = int(split["flags"])
        cut = np.trunc(x) if flags & 4 else x
        valid = (cut >= 0) & (cut < 2.0**24)
        code = np.where(valid, cut, 0).astype(np.int64)
        words = self.bits[split["at"] : split["at"] + split["count"]]
        known = valid & (code < 32 * len(words))
        inside = np.zeros(len(x), bool)
        inside[known] = words[code[known] // 32] >> (code[known] % 32).astype(np.uint32) & 1
        return np.where(np.isnan(x), bool(flags & 1), inside != bool(flags & 2))

    def margins(self, rows: Any) -> Any:
        """(rows, outputs), float32 or float64."""
        slots = self._slots(rows)
        found = np.tile(self.base, (len(rows), 1))
        number = np.arange(len(rows))
        with np.errstate(over="ignore", invalid="ignore"):
            for tree, (root, first) in enumerate(zip(self.roots, self.first, strict=True)):
                values = self._leaf_values(self._walk(slots, number, root, int(first)))
                if self.head["weighted"]:
                    values = values * self.weights[tree]
                if self.head["vector_leaves"]:
                    found += values
                else:
                    found[:, self.tree_outputs[tree] if len(self.tree_outputs) else 0] += values[:, 0]
            divisor = self.head["divisor"]
            return found if divisor == 1 else found / self.sum.type(divisor)

    def _walk(self, slots: Any, number: Any, root: Any, first: int) -> Any:
        """The word of each row's leaf."""
        word = np.full(len(number), root, np.uint64)
        place = np.full(len(number), first, np.int64)
        walking = np.arange(len(number))
        while len(walking):
            here = word[walking].astype(np.int64)
            if self.form_a:
                slot, index = here & 255, here >> 8 & 255
                right = slots[number[walking], slot] > index
                flags, distance = here >> 16 & 3, here >> 18 & 0x3FFF
            else:
                slot, threshold = here & 4095, (word[walking] >> np.uint64(32)).astype(np.uint32).view(np.float32)
                right = ~(slots[number[walking], slot] < threshold)
                flags, distance = here >> 12 & 3, here >> 14 & 0x3FFFF
            place[walking] += distance + right
            word[walking] = self.words[place[walking]]
            walking = walking[(flags >> right & 1).astype(bool)]
        return word

    def _leaf_values(self, word: Any) -> Any:
        bits = (word if self.form_a else word >> np.uint64(32)).astype(np.uint32)
        if self.head["leaf_rows"]:
            return self.leaf_table[bits]
        return bits.view(np.float32)[:, None]

    def scores(self, margins: Any) -> Any:
        """(rows, outputs), or (rows, 1) for argmax."""
        transform, one, small = self.head["transform"], self.sum.type(1), self.sum == np.float32
        with np.errstate(over="ignore", invalid="ignore"):
            if transform == 1 and small:
                return one / (exponential(np.minimum(-margins, np.float32(88.7))) + one + np.float32(1e-16))
            if transform == 1:
                return one / (one + exponential(-self.parameter * margins))
            if transform == 2:
                return exponential(margins)
            if transform == 6:
                return exponential(margins.astype(np.float64)).astype(self.sum)
            if transform == 3:
                powers = exponential(margins - margins.max(1, keepdims=True))
                total = np.add.accumulate(powers.astype(np.float64), axis=1)[:, -1:]
                return powers / total.astype(self.sum)
            if transform == 4:
                return (margins > 0).astype(self.sum)
            if transform == 5:
                return margins.argmax(1).astype(self.sum)[:, None]
        return margins
