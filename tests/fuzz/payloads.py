"""Payloads, honest and hostile, from a seed: what a caller may send to a model of so many features."""

import io
import json
import random
from collections.abc import Callable, Iterator

import numpy as np

CSV, JSON, LIBSVM, NPY = "text/csv", "application/json", "text/libsvm", "application/x-npy"
CONTRIBS = "application/json; contribs=true"
ACCEPTS = (
    "", "*/*", "text/csv", "application/json", "application/jsonlines", "application/x-npy", "image/png", CONTRIBS,
)  # fmt: skip
Payload = tuple[str, str, bytes]
_ODD_VALUES = (
    "",
    "nan",
    "-nan",
    "inf",
    "-Infinity",
    "1e39",
    "-1e400",
    "1e-400",
    "0x10",
    "1_0",
    "1,",
    "null",
    "true",
    "None",
    '"',
    '""',
    "'",
    "\u0661",
    "\u00a01",
    "+5",
    "4e0",
    ".5",
    "5.",
    "-0",
    "9" * 400,
    "9" * 5000,
    "0." + "0" * 40_000 + "1",
    " 7 ",
    "\t8",
    "\x00",
)


def payloads(seed: int, features: int, *, most_bytes: int = 6 * 1024 * 1024) -> Iterator[Payload]:
    """Content type, Accept and body, without end; the same seed gives the same ones. No body is over `most_bytes`."""
    source = random.Random(seed)  # noqa: S311 - it must be repeatable, not secret
    makers: list[Callable[[random.Random, int, int], tuple[str, bytes]]] = [
        _honest, _honest, _honest_but_one, _mutated, _mutated, _repeated, _nested, _long_row, _random_bytes, _headers,
    ]  # fmt: skip
    while True:
        content_type, body = source.choice(makers)(source, features, most_bytes)
        if source.random() < 0.05:
            content_type = source.choice((CSV, JSON, LIBSVM, NPY, "text/x-libsvm", "application/x-recordio", ""))
        yield content_type, source.choice(ACCEPTS), body[:most_bytes]


def _rows(source: random.Random, features: int, most_bytes: int) -> np.ndarray:
    most = max(1, min(source.choice((1, 2, 20, 500, 5000)), most_bytes // (24 * features)))
    count = source.randint(1, most)
    rows = np.random.default_rng(source.getrandbits(32)).standard_normal((count, features)).astype(np.float32)
    rows[rows > source.choice((1.0, 9.0))] = np.nan
    return rows


def _written(source: random.Random, rows: np.ndarray) -> tuple[str, bytes]:
    cells = [["" if value != value else repr(value) for value in row] for row in rows.tolist()]
    content_type = source.choice((CSV, JSON, LIBSVM, NPY))
    if content_type == CSV:
        quote = '"{}"' if source.random() < 0.2 else "{}"
        end = source.choice(("\n", "\r\n"))
        text = end.join(",".join(quote.format(cell) for cell in row) for row in cells)
        return CSV, (text + end * source.randint(0, 2)).encode()
    if content_type == LIBSVM:
        label = source.choice(("0 ", "", "1 qid:3 "))
        return LIBSVM, "\n".join(
            label + " ".join(f"{at}:{cell}" for at, cell in enumerate(row) if cell) for row in cells
        ).encode()
    if content_type == NPY:
        array = rows if source.random() < 0.5 else np.asfortranarray(rows.astype(source.choice(("<f8", ">f4", "<f4"))))
        return NPY, _npy(array[0] if len(rows) == 1 and source.random() < 0.5 else array)
    values: list[object] = [[None if value != value else value for value in row] for row in rows.tolist()]
    document: object = values if source.random() < 0.4 else {"instances": values}
    if source.random() < 0.2:
        document = {"a": ["]", {"b": "},"}], "instances": [{"features": row, "id": "[,]"} for row in values], "z": 1}
    if len(values) == 1 and source.random() < 0.4:
        document = values[0]
    text = json.dumps(document, indent=source.choice((None, None, 1)))
    return JSON, text.encode(source.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32")))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _honest(source: random.Random, features: int, most_bytes: int) -> tuple[str, bytes]:
    return _written(source, _rows(source, features, most_bytes))


def _honest_but_one(source: random.Random, features: int, most_bytes: int) -> tuple[str, bytes]:
    """Every value as it should be, except one somewhere."""
    content_type, body = _honest(source, features, most_bytes)
    separators = {CSV: b",", JSON: b",", LIBSVM: b" ", NPY: b"\x00"}[content_type]
    at = body.find(separators, source.randrange(len(body) + 1))
    odd = source.choice(_ODD_VALUES).encode()
    return content_type, body[:at] + odd + body[at:]


def _mutated(source: random.Random, features: int, most_bytes: int) -> tuple[str, bytes]:
    content_type, honest = _honest(source, features, most_bytes)
    body = bytearray(honest)
    for _ in range(source.choice((1, 1, 3, 10))):
        at = source.randrange(len(body) + 1)
        cut = source.choice((0, 0, 1, 2, 100))
        body[at : at + cut] = source.choice(
            (
                b"",
                b"\x00",
                b"\xff",
                b"\xc3",
                b"[",
                b"]",
                b"{",
                b"}",
                b",",
                b":",
                b'"',
                b"\n",
                b"\r",
                b" ",
                b"9",
                b"-",
                b"\xe2\x82\xac",
                bytes(body[at : at + 300]),
                source.randbytes(3),
            )
        )
    return content_type, bytes(body)


def _repeated(source: random.Random, features: int, most_bytes: int) -> tuple[str, bytes]:
    """The same few bytes over and over, up to the limit."""
    unit = source.choice(
        (
            b"[],",
            b"{},",
            b"1,",
            b"1\n",
            b"\n",
            b" ",
            b",",
            b'"",',
            b'"",\n',
            b"0\n",
            b"0:1 ",
            b"0 0:1\n",
            b"[1],",
            b'{"":0},',
            b"\r",
            b"null,",
            b"-",
            b"9",
            b'"',
            b"\xff",
            b"\xc3\xa9",
            b"[[],",
            b"1:1 1:1\n",
            b"\\u0041",
            b'{"instances":[],',
            b"\x00",
        )
    )
    start = source.choice((b"", b"[", b"[[", b'{"instances": [', b'{"a": "', b"0 "))
    size = source.choice((100, 10_000, 200_000, most_bytes)) // len(unit)
    return source.choice((CSV, JSON, JSON, LIBSVM)), start + unit * size + source.choice((b"", b"]", b"1]]", b"]}"))


def _nested(source: random.Random, features: int, most_bytes: int) -> tuple[str, bytes]:
    opening, closing = source.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"instances":', b"}]"), (b"[1,", b"]")))
    depth = source.choice((3, 100, 899, 1000, 20_000, most_bytes // 8))
    around = source.choice(((b"", b""), (b"[", b"]"), (b'{"instances": [[1]], "x": ', b"}"), (b"[[1],", b"]")))
    return JSON, around[0] + opening * depth + b"1" + closing * depth + around[1]


def _long_row(source: random.Random, features: int, most_bytes: int) -> tuple[str, bytes]:
    """One row of far too many values, or of values that are far too long."""
    count = source.choice((features, features + 1, 30_000, most_bytes // 4))
    cell = source.choice(("1", "1.5", "", '"1"', "x", "[]", "1" * 40_000, '"' + "a" * 70_000 + '"'))
    count = max(1, min(count, most_bytes // (len(cell) + 1)))
    text = ",".join([cell] * count)
    form = source.choice(("{}", "[{}]", "[[{}]]", '{{"instances": [{{"x": "]", "features": [{}]}}]}}'))
    return (CSV, text.encode()) if form == "{}" else (JSON, form.format(text).encode())


def _random_bytes(source: random.Random, features: int, most_bytes: int) -> tuple[str, bytes]:
    body = source.randbytes(source.choice((0, 1, 10, 1000, 100_000)))
    return source.choice((CSV, JSON, LIBSVM, NPY)), body


def _headers(source: random.Random, features: int, most_bytes: int) -> tuple[str, bytes]:
    """An npy body with a header of one's own."""
    shape = source.choice(
        (
            f"(1, {features})",
            f"({features},)",
            f"({10**9}, {features})",
            "(0, 8)",
            "(-1, 8)",
            "()",
            "8",
            "(" * 500,
            "(1, 2, 3)",
        )
    )
    kind = source.choice(
        ("'<f4'", "'>f8'", "'|O'", "'<f16'", "'<c8'", "'|b1'", "'<i8'", "'<M8[s]'", "[('a', '<f4')]", "1")
    )
    text = f"{{'descr': {kind}, 'fortran_order': {source.choice(('False', 'True', '0'))}, 'shape': {shape}, }}"
    start = b"\x93NUMPY" + bytes((source.choice((1, 1, 2, 3)), 0))
    size = source.choice((len(text), 0, 65_000)).to_bytes(4 if start[6] > 1 else 2, "little")
    return NPY, start + size + text.encode() + source.randbytes(source.choice((0, 4 * features, 8 * features, 5000)))
