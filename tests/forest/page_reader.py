"""A reader of flat forests by docs/flat-forest.md alone, one row and one node at a time, in plain Python.

NumPy's scalars only round sums to float32 or float64. It shares nothing with the compiled reader nor with the writer.
"""

import ctypes
import ctypes.util
import itertools
import json
import math
import struct
import zlib
from typing import Any

import numpy as np

_libm = ctypes.CDLL(ctypes.util.find_library("m"))
_libm.expf.restype, _libm.expf.argtypes = ctypes.c_float, [ctypes.c_float]
_libm.exp.restype, _libm.exp.argtypes = ctypes.c_double, [ctypes.c_double]
_NONE = 0xFFFF


class PageForest:
    """A file's head and sections."""

    def __init__(self, data: bytes) -> None:
        magic, version, crc32, file_bytes = struct.unpack_from("<8sIIQ", data)
        assert (magic, file_bytes) == (b"FLATFRST", len(data))
        assert crc32 == zlib.crc32(data[16:])
        (
            self.node_bytes, self.features, self.outputs, self.trees, words, columns, thresholds, splits, bits,
            leaf_rows, self.sum_bytes, self.vectors, weighted, self.divisor, self.transform, probes,
            self.parameter, metadata, covers,
        ) = struct.unpack_from("<16IdII", data, 24)  # fmt: skip
        assert version == 1 + covers
        self._data, self._at = data, 128
        sums, node = ("f" if self.sum_bytes == 4 else "d"), ("I" if self.node_bytes == 4 else "Q")
        self.number: Any = np.float32 if self.sum_bytes == 4 else np.float64
        width = self.outputs if self.vectors else 1
        own_output = self.outputs > 1 and not self.vectors
        self.base = self._values(sums, self.outputs)
        self.columns = self._records("3I2HI", columns)
        self.thresholds = self._values("f", thresholds)
        self.splits = self._records("3I2H", splits)
        self.bits = self._values("I", bits)
        self.roots = self._values(node, self.trees)
        self.first = self._values("I", self.trees)
        self.tree_outputs = self._values("H", self.trees if own_output else 0)
        self.weights = self._values("f", self.trees if weighted else 0)
        self.leaf_table = self._values(sums, leaf_rows * width)
        self.leaf_rows, self.width = leaf_rows, width
        self.words = self._values(node, words)
        self._values("f", probes * self.features)
        self._values(sums, probes * self.outputs)
        self._values(sums, probes * (1 if self.transform == 5 else self.outputs))
        self.metadata = json.loads(data[self._at : self._at + metadata] or b"{}")
        self._at += -(-metadata // 64) * 64
        self.root_covers = self._values("f", self.trees if covers else 0)
        self.tree_means = self._values("f", self.trees if covers else 0)
        self.covers = self._values("f", words if covers else 0)
        assert self._at == len(data)

    def _values(self, kind: str, count: int) -> tuple[Any, ...]:
        return tuple(value for (value,) in self._records(kind, count))

    def _records(self, kind: str, count: int) -> list[tuple[Any, ...]]:
        record = struct.Struct("<" + kind)
        end = self._at + count * record.size
        records = list(record.iter_unpack(self._data[self._at : end]))
        self._at = self._at + -(-count * record.size // 64) * 64
        return records

    def margins(self, row: list[float]) -> list[Any]:
        """The margins of one row of float32 values."""
        slots = self._slots(row)
        sums = [self.number(value) for value in self.base]
        with np.errstate(all="ignore"):
            for tree in range(self.trees):
                leaf = self._leaf(tree, slots)
                for output in range(self.outputs) if self.vectors else [self._output(tree)]:
                    value = self._leaf_value(leaf, output)
                    if self.weights:
                        value = value * np.float32(self.weights[tree])
                    sums[output] = sums[output] + value
            return [value / self.number(self.divisor) for value in sums] if self.divisor != 1 else sums

    def contributions(self, row: list[float]) -> list[list[float]]:
        """By output what each feature adds, and the bias: Shapley values by their definition, in double."""
        slots = self._slots(row)
        shares = [[0.0] * self.features + [float(base)] for base in self.base]
        for tree in range(self.trees):
            weight = float(np.float32(self.weights[tree])) if self.weights else 1.0
            sums = shares[self._output(tree)]
            sums[-1] += weight * self.tree_means[tree]
            if not self.root_covers[tree]:
                continue
            asked = sorted(self._asked(tree))
            values = {
                known: self._expected(tree, slots, known)
                for size in range(len(asked) + 1)
                for known in itertools.combinations(asked, size)
            }
            for feature, known in ((feature, known) for feature in asked for known in values if feature not in known):
                share = 1 / (len(asked) * math.comb(len(asked) - 1, len(known)))
                with_it = tuple(sorted((*known, feature)))
                sums[feature] += weight * share * (values[with_it] - values[known])
        return shares

    def _asked(self, tree: int) -> set[int]:
        return {self._feature(word) for word, _, _ in self._nodes(tree)}

    def _nodes(self, tree: int) -> list[tuple[int, int, float]]:
        """Word, pair and cover of every node of a tree."""
        nodes = [(self.roots[tree], self.first[tree], self.root_covers[tree])]
        for word, pair, _ in nodes:
            for side in (0, 1):
                if word >> ((16 if self.node_bytes == 4 else 12) + side) & 1:
                    child = self.words[pair + side]
                    nodes.append((child, pair + side + self._distance(child), self.covers[pair + side]))
        return nodes

    def _distance(self, word: int) -> int:
        return word >> 18 if self.node_bytes == 4 else word >> 14 & 0x3FFFF

    def _feature(self, word: int) -> int:
        """The feature that a node asks; 0 where nothing fills slot 0."""
        slot = word & (255 if self.node_bytes == 4 else 4095)
        for feature, _, count, left, right, _ in self.columns:
            windows = (count + 255) // 256 if self.node_bytes == 4 else 1
            if any(begin != _NONE and begin <= slot < begin + windows for begin in (left, right)):
                return int(feature)
        return next((int(split[0]) for split in self.splits if split[3] == slot), 0)

    def _expected(self, tree: int, slots: dict[int, float], known: tuple[int, ...]) -> float:
        """The tree's value for a row with only those features known."""

        def below(word: int, pair: int, cover: float) -> float:
            sides = [int(self._goes_right(word, slots))] if self._feature(word) in known else [0, 1]
            total = 0.0
            for side in sides:
                child, own = self.words[pair + side], self.covers[pair + side]
                share = 1.0 if len(sides) == 1 else own / cover
                inner = word >> ((16 if self.node_bytes == 4 else 12) + side) & 1
                leaf = child if self.node_bytes == 4 else child >> 32
                value = (
                    below(child, pair + side + self._distance(child), own)
                    if inner
                    else float(self._leaf_value(leaf, 0))
                )
                total += share * value
            return total

        return below(self.roots[tree], self.first[tree], self.root_covers[tree])

    def _goes_right(self, word: int, slots: dict[int, float]) -> bool:
        if self.node_bytes == 4:
            return slots[word & 255] > (word >> 8 & 255)
        threshold = struct.unpack("<f", struct.pack("<I", word >> 32))[0]
        return not slots[word & 4095] < threshold

    def scores(self, margins: list[Any]) -> list[Any]:
        """The scores of one row's margins."""
        number, transform = self.number, self.transform
        one = number(1)
        with np.errstate(all="ignore"):
            if transform == 0:
                return margins
            if transform == 1 and number is np.float32:
                powers = [self._exp(min(-m, np.float32(88.7)) if m == m else m) for m in margins]
                return [one / (power + one + np.float32(1e-16)) for power in powers]
            if transform == 1:
                return [one / (one + self._exp(-self.parameter * m)) for m in margins]
            if transform == 2:
                return [self._exp(m) for m in margins]
            if transform == 6:
                return [number(_libm.exp(m)) for m in margins]
            if transform == 4:
                return [number(m > 0) for m in margins]
            most = 0
            for place, m in enumerate(margins):
                if m > margins[most]:
                    most = place
            if transform == 5:
                return [number(most)]
            powers = [self._exp(m - margins[most]) for m in margins]
            total = 0.0
            for power in powers:
                total += float(power)
            return [power / number(total) for power in powers]

    def _exp(self, value: Any) -> Any:
        return self.number((_libm.expf if self.number is np.float32 else _libm.exp)(value))

    def _slots(self, row: list[float]) -> dict[int, float]:
        slots: dict[int, float] = {0: 0}
        for feature, at, count, left, right, rule in self.columns:
            x = row[feature]
            missing = math.isnan(x)
            if rule == 1 and missing:
                x, missing = 0.0, False
            if rule == 2 and abs(x) <= float(np.float32(1e-35)):
                missing = True
            if self.node_bytes == 8:
                filled = {left: -math.inf if missing else x, right: math.inf if missing else x}
                slots.update({slot: value for slot, value in filled.items() if slot != _NONE})
                continue
            below = sum(threshold <= x for threshold in self.thresholds[at : at + count])
            for k in range((count + 255) // 256):
                window = min(max(below - 256 * k, 0), 256)
                if left != _NONE:
                    slots[left + k] = 0 if missing else window
                if right != _NONE:
                    slots[right + k] = 65535 if missing else window
        for feature, at, count, slot, flags in self.splits:
            slots[slot] = self._category_goes_right(row[feature], at, count, flags)
        return slots

    def _category_goes_right(self, x: float, at: int, count: int, flags: int) -> int:
        if math.isnan(x):
            return flags & 1
        if flags & 4 and not math.isinf(x):
            x = float(math.trunc(x))
        inside = False
        if 0 <= x < 2**24:
            category = int(x)
            inside = category < 32 * count and bool(self.bits[at + category // 32] >> category % 32 & 1)
        return int(not inside if flags & 2 else inside)

    def _leaf(self, tree: int, slots: dict[int, float]) -> int:
        """The 32 bits of the leaf that a row ends at."""
        word, pair = self.roots[tree], self.first[tree]
        while True:
            right = self._goes_right(word, slots)
            inner = word >> ((16 if self.node_bytes == 4 else 12) + right) & 1
            place = pair + right
            word = self.words[place]
            if not inner:
                return int(word if self.node_bytes == 4 else word >> 32)
            pair = place + self._distance(word)

    def _output(self, tree: int) -> int:
        return self.tree_outputs[tree] if self.tree_outputs else 0

    def _leaf_value(self, leaf: int, output: int) -> Any:
        if not self.leaf_rows:
            return np.float32(struct.unpack("<f", struct.pack("<I", leaf))[0])
        return self.number(self.leaf_table[leaf * self.width + (output if self.vectors else 0)])
