"""The names and numbers of docs/flat-forest.md, and the assembly of a file. Standard library only."""

import struct
import zlib
from dataclasses import dataclass

MAGIC = b"FLATFRST"
VERSION = 1
VERSION_WITH_COVERS = 2
ALIGNMENT = 64
HEAD_BYTES = 128

# magic, version, crc32, file_bytes, the counts in the order of `_COUNTS`, parameter, metadata length, covers.
HEAD = struct.Struct("<8sIIQ16Id II24x")
_COUNTS = (
    "node_bytes", "features", "outputs", "trees", "words", "columns", "thresholds", "category_splits",
    "category_words", "leaf_rows", "sum_bytes", "vector_leaves", "weighted", "divisor", "transform", "probes",
)  # fmt: skip
CRC_OFFSET, CRC_FROM = 12, 16  # the CRC-32 is at byte 12 and covers every byte from 16 on

FORM_A, FORM_B = 4, 8  # node_bytes
FLOAT32, FLOAT64 = 4, 8  # sum_bytes

MAX_FEATURES = 1 << 24
MAX_OUTPUTS = 65_535
MAX_TREES = 1 << 22
MAX_WORDS = 1 << 31
SLOTS = {FORM_A: 256, FORM_B: 4096}
DISTANCES = {FORM_A: 1 << 14, FORM_B: 1 << 18}  # a distance is below this
WINDOW = 256  # thresholds per slot of form A: a node has 8 bits for the threshold's index
MAX_COLUMN_THRESHOLDS = 65_536
NO_SLOT = 0xFFFF

# The fields of a record, for numpy.dtype(COLUMN).
COLUMN = [("feature", "<u4"), ("at", "<u4"), ("count", "<u4"), ("left_slot", "<u2"), ("right_slot", "<u2"),
          ("missing", "<u4")]  # fmt: skip
COLUMN_BYTES = 20
CATEGORY_SPLIT = [("feature", "<u4"), ("at", "<u4"), ("count", "<u4"), ("slot", "<u2"), ("flags", "<u2")]
CATEGORY_SPLIT_BYTES = 16

# Which of a column's values are missing.
MISSING_NAN, MISSING_NEVER, MISSING_ZERO = 0, 1, 2
ZERO = 1e-35  # as float32: with MISSING_ZERO a value is missing from -ZERO to ZERO

# Flags of a category split.
MISSING_RIGHT = 1  # a missing value goes right
SET_LEFT = 2  # a category in the set goes left and every other value right
TRUNCATE_FIRST = 4  # -0.9 is category 0; without this flag a value below 0 is no category

IDENTITY, SIGMOID, EXP, SOFTMAX, STEP, ARGMAX, EXP_F64 = range(7)  # transforms


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A file's sections as little-endian bytes, in the file's order. docs/flat-forest.md describes each one.

    Some may be empty: `tree_outputs` with one output or vector leaves, `weights` without DART, `leaf_table` if the
    words hold the leaves, the three sections of the probes, and the three after the metadata without `with_covers`.
    """

    node_bytes: int
    features: int
    outputs: int
    base: bytes
    columns: bytes = b""
    thresholds: bytes = b""
    category_splits: bytes = b""
    category_bits: bytes = b""
    roots: bytes = b""
    first: bytes = b""
    tree_outputs: bytes = b""
    weights: bytes = b""
    leaf_table: bytes = b""
    words: bytes = b""
    probe_rows: bytes = b""
    probe_margins: bytes = b""
    probe_scores: bytes = b""
    metadata: bytes = b""
    root_covers: bytes = b""
    tree_means: bytes = b""
    covers: bytes = b""
    with_covers: bool = False
    sum_bytes: int = FLOAT32
    vector_leaves: bool = False
    divisor: int = 1
    transform: int = IDENTITY
    transform_parameter: float = 1.0


def assemble(parts: Parts) -> bytes:
    """The file's bytes, with its length and its CRC-32. The reader checks the parts; this function does not."""
    values_a_leaf = parts.outputs if parts.vector_leaves else 1
    sections = (
        parts.base, parts.columns, parts.thresholds, parts.category_splits, parts.category_bits, parts.roots,
        parts.first, parts.tree_outputs, parts.weights, parts.leaf_table, parts.words, parts.probe_rows,
        parts.probe_margins, parts.probe_scores, parts.metadata, parts.root_covers, parts.tree_means, parts.covers,
    )  # fmt: skip
    body = b"".join(piece for section in sections for piece in (section, bytes(-len(section) % ALIGNMENT)))
    counts = {
        "node_bytes": parts.node_bytes,
        "features": parts.features,
        "outputs": parts.outputs,
        "trees": len(parts.first) // 4,
        "words": len(parts.words) // parts.node_bytes,
        "columns": len(parts.columns) // COLUMN_BYTES,
        "thresholds": len(parts.thresholds) // 4,
        "category_splits": len(parts.category_splits) // CATEGORY_SPLIT_BYTES,
        "category_words": len(parts.category_bits) // 4,
        "leaf_rows": len(parts.leaf_table) // (values_a_leaf * parts.sum_bytes),
        "sum_bytes": parts.sum_bytes,
        "vector_leaves": int(parts.vector_leaves),
        "weighted": int(bool(parts.weights)),
        "divisor": parts.divisor,
        "transform": parts.transform,
        "probes": len(parts.probe_rows) // (4 * parts.features),
    }
    head = HEAD.pack(
        MAGIC, VERSION_WITH_COVERS if parts.with_covers else VERSION, 0, HEAD_BYTES + len(body),
        *(counts[name] for name in _COUNTS), parts.transform_parameter, len(parts.metadata), int(parts.with_covers),
    )  # fmt: skip
    return with_crc(head + body)


def with_crc(data: bytes) -> bytes:
    """The same bytes with the correct CRC-32."""
    crc = zlib.crc32(memoryview(data)[CRC_FROM:])
    return data[:CRC_OFFSET] + crc.to_bytes(4, "little") + data[CRC_FROM:]


def metadata_of(data: bytes) -> bytes:
    """A file's metadata. Raises ValueError if the data is not a flat forest or is truncated."""
    if not data.startswith(MAGIC) or len(data) < HEAD_BYTES:
        raise ValueError("it is no flat forest")
    fields = head(data)
    length, trees, words = (int(fields[name]) for name in ("metadata_bytes", "trees", "words"))
    covers = (4 * trees, 4 * trees, 4 * words) if fields["covers"] else ()
    after = sum(-(-count // ALIGNMENT) * ALIGNMENT for count in (length, *covers))
    if after > len(data) - HEAD_BYTES:
        raise ValueError("its metadata does not fit into it")
    return data[len(data) - after :][:length]


def head(data: bytes) -> dict[str, int | float]:
    """The head's fields by name. Raises struct.error for fewer than 128 bytes."""
    _, version, crc32, file_bytes, *rest = HEAD.unpack_from(data)
    return {
        "version": version, "crc32": crc32, "file_bytes": file_bytes, **dict(zip(_COUNTS, rest, strict=False)),
        "transform_parameter": rest[-3], "metadata_bytes": rest[-2], "covers": rest[-1],
    }  # fmt: skip
