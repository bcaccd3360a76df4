"""Hostile model files: real models of every kind with one or more of their numbers, texts and lengths changed.

`sweep` replaces every value of one model in turn, `mutations` draws from all models without end, and `recipes` are
files that were found to hurt. Each case has a label that says what was done, so that a failure can be made again.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import numpy as np
import xgboost

NUMBERS = (-(2**31), -1, 0, 1, 2**31 - 1)
TEXTS = ("", "nan", "text")
_SIZES = {"i": 1, "U": 1, "I": 2, "l": 4, "L": 8, "d": 4, "D": 8}
_FORMS = {"i": ">b", "U": ">B", "I": ">h", "l": ">i", "L": ">q", "d": ">f", "D": ">d"}
_MOST_OF_A_LIST = 2  # of a list's items, the first and the last ones are swept: trees are alike


class Node:
    """One value of a UBJSON document: its marker, and items, text or raw bytes. `[$` is an array of one type."""

    __slots__ = ("items", "kind", "marker", "raw")

    def __init__(self, marker: str, raw: bytes = b"", items: list[Any] | None = None, kind: str = "") -> None:
        self.marker, self.raw, self.items, self.kind = marker, raw, items or [], kind


def parse(data: bytes) -> Node:
    """A sound UBJ model as a tree of nodes."""
    node, end = _parse(data, 0)
    assert end == len(data)
    return node


def _number(data: bytes, at: int) -> tuple[int, int]:
    kind = chr(data[at])
    return struct.unpack_from(_FORMS[kind], data, at + 1)[0], at + 1 + _SIZES[kind]


def _parse(data: bytes, at: int) -> tuple[Node, int]:
    marker = chr(data[at])
    if marker == "S":
        length, at = _number(data, at + 1)
        return Node("S", data[at : at + length]), at + length
    if marker == "{":
        node, at = Node("{"), at + 1
        while data[at : at + 1] != b"}":
            length, at = _number(data, at)
            key, at = data[at : at + length], at + length
            value, at = _parse(data, at)
            node.items.append((key, value))
        return node, at + 1
    if marker == "[":
        if data[at + 1 : at + 2] == b"$":
            kind = chr(data[at + 2])
            count, at = _number(data, at + 4)
            end = at + count * _SIZES[kind]
            return Node("[$", data[at:end], kind=kind), end
        count, at = _number(data, at + 2) if data[at + 1 : at + 2] == b"#" else (-1, at + 1)
        node = Node("[")
        while len(node.items) != count and (count >= 0 or data[at : at + 1] != b"]"):
            value, at = _parse(data, at)
            node.items.append(value)
        return node, at if count >= 0 else at + 1
    size = _SIZES.get(marker, 0)
    return Node(marker, data[at + 1 : at + 1 + size]), at + 1 + size


def _long(value: int) -> bytes:
    return b"L" + value.to_bytes(8, "big")


def unparse(node: Node) -> bytes:
    """The document of a tree of nodes."""
    if node.marker == "S":
        return b"S" + _long(len(node.raw)) + node.raw
    if node.marker == "{":
        return b"{" + b"".join(_long(len(key)) + key + unparse(value) for key, value in node.items) + b"}"
    if node.marker == "[$":
        count = len(node.raw) // _SIZES[node.kind]
        return b"[$" + node.kind.encode() + b"#" + _long(count) + node.raw
    if node.marker == "[":
        return b"[#" + _long(len(node.items)) + b"".join(map(unparse, node.items))
    return node.marker.encode() + node.raw


def _places(node: Node, path: str = "", *, all_items: bool = False) -> Iterator[tuple[str, Node, list[Any], int]]:
    """Every value that can be replaced: its path, itself, the list it is in and its place there."""
    for place, item in enumerate(node.items):
        if node.marker == "[" and not all_items and _MOST_OF_A_LIST <= place < len(node.items) - 1:
            continue
        name, value = (item[0].decode(), item[1]) if node.marker == "{" else (str(place), item)
        yield f"{path}/{name}", value, node.items, place
        yield from _places(value, f"{path}/{name}", all_items=all_items)


def _whole(value: int) -> Node:
    return Node("L", value.to_bytes(8, "big", signed=True))


def _others(node: Node) -> Iterator[tuple[str, Node]]:
    """What a value is replaced by."""
    for number in NUMBERS:
        yield f"= {number}", _whole(number)
        yield f"= '{number}'", Node("S", str(number).encode())
    for text in (*TEXTS, "[1E0,1E0]", "1e39", "9" * 400):
        yield f"= '{text[:12]}'", Node("S", text.encode())
    yield "= {}", Node("{")
    yield "= []", Node("[")
    yield "= null", Node("Z")
    if node.marker == "[$":
        size = _SIZES[node.kind]
        count = len(node.raw) // size
        for number in NUMBERS:
            low, high = (
                (-(2.0**31), 2.0**31) if node.kind in "dD" else (-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1)
            )
            if node.kind == "U":
                low, high = 0, 255
            item = struct.pack(_FORMS[node.kind], type(low)(min(max(number, low), high)))
            for place in {0, count // 2, count - 1} if count else ():
                raw = node.raw[: place * size] + item + node.raw[(place + 1) * size :]
                yield f"[{place}] = {number}", Node("[$", raw, kind=node.kind)
        yield "one less", Node("[$", node.raw[:-size], kind=node.kind)
        yield "one more", Node("[$", node.raw + bytes(size), kind=node.kind)
        yield "empty", Node("[$", b"", kind=node.kind)
        other = "L" if node.kind != "L" else "l"
        yield "another type", Node("[$", bytes(_SIZES[other]) * count, kind=other)


def sweep(model: bytes, *, all_items: bool = False) -> Iterator[tuple[str, bytes]]:
    """A UBJ model with each of its values replaced by each other value, or left out, one at a time."""
    root = parse(model)
    for path, value, owner, place in list(_places(root, all_items=all_items)):
        kept = owner[place]
        for what, other in _others(value):
            owner[place] = (kept[0], other) if isinstance(kept, tuple) else other
            yield f"{path} {what}", unparse(root)
        del owner[place]
        yield f"{path} missing", unparse(root)
        owner.insert(place, kept)


def _json_places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _json_places(value[key])


def _changed_json(random: Random, model: bytes) -> tuple[str, bytes]:
    document = json.loads(model)
    owner, key = random.choice(list(_json_places(document)))
    other = random.choice([*NUMBERS, *map(str, NUMBERS), *TEXTS, 1e300, None, [], {}, "missing"])
    if other == "missing":
        del owner[key]
    else:
        owner[key] = other
    return f"json {key} = {other!r}", json.dumps(document).encode()


def _changed_bytes(random: Random, model: bytes) -> tuple[str, bytes]:
    data = bytearray(model)
    for _ in range(random.choice([1, 1, 2, 8])):
        data[random.randrange(len(data))] = random.randrange(256)
    return "bytes", bytes(data[: random.randrange(len(data))] if random.random() < 0.1 else data)


def mutations(models: Mapping[str, bytes], seed: int) -> Iterator[tuple[str, bytes]]:
    """Without end: models with one to three values replaced or left out, or some bytes changed."""
    random = Random(seed)  # noqa: S311
    kinds = sorted(models)
    while True:
        kind = random.choice(kinds)
        model = models[kind]
        if model[1:2] != b"L":
            yield f"{kind}: {(changed := _changed_json(random, model))[0]}", changed[1]
            continue
        if random.random() < 0.1:
            yield f"{kind}: {(changed := _changed_bytes(random, model))[0]}", changed[1]
            continue
        root, labels = parse(model), []
        for _ in range(random.choice([1, 1, 1, 2, 3])):
            path, value, owner, place = random.choice(list(_places(root, all_items=True)))
            if random.random() < 0.1:
                del owner[place]
                labels.append(f"{path} missing")
                continue
            what, other = random.choice(list(_others(value)))
            owner[place] = (owner[place][0], other) if isinstance(owner[place], tuple) else other
            labels.append(f"{path} {what}")
        yield f"{kind}: {', '.join(labels)}", unparse(root)


def chain(depth: int, trees: int = 1) -> bytes:
    """A sound model whose trees are as deep as they have splits."""
    nodes = 2 * depth + 1
    left = np.full(nodes, -1, ">i4")
    inner = np.r_[0, np.arange(1, nodes - 2, 2)] if depth else np.array([], int)
    left[inner] = np.arange(1, nodes, 2)
    parents = np.full(nodes, 2**31 - 1, ">i4")
    for step in (0, 1):
        parents[left[inner] + step] = inner
    root = parse(smallest())
    model = dict(dict(dict(root.items)[b"learner"].items)[b"gradient_booster"].items)[b"model"]
    of_model = dict(model.items)
    tree = of_model[b"trees"].items[0]
    right = np.where(left == -1, -1, left + 1).astype(">i4")
    arrays = {b"left_children": left, b"right_children": right, b"parents": parents}
    for name, value in tree.items:
        if value.marker == "[$" and not name.startswith(b"categories"):
            value.raw = arrays[name].tobytes() if name in arrays else bytes(_SIZES[value.kind] * nodes)
        if name == b"tree_param":
            dict(value.items)[b"num_nodes"].raw = str(nodes).encode()
    copies = []
    for number in range(trees):
        copy = parse(unparse(tree))
        place = [name for name, _ in copy.items].index(b"id")
        copy.items[place] = (b"id", _whole(number))
        copies.append(copy)
    of_model[b"trees"].items = copies
    dict(of_model[b"gbtree_model_param"].items)[b"num_trees"].raw = str(trees).encode()
    for name, numbers in ((b"tree_info", [0] * trees), (b"iteration_indptr", list(range(trees + 1)))):
        of_model[name].items, of_model[name].marker = [_whole(number) for number in numbers], "["
    return unparse(root)


def recipes(megabytes: int = 4) -> dict[str, bytes]:
    """Files that hurt the server once, each of about so many megabytes."""
    size = megabytes << 20
    version = b',"version":[3,0,5]}'
    return {
        "json of {},": b'{"a":[' + b"{}," * (size // 3) + b"{}]" + version,
        "json of 0,": b'{"a":[' + b"0," * (size // 2) + b"0]" + version,
        "json of [[[": b'{"a":' + b"[" * size + version,
        "json of one text": b'{"a":"' + b"x" * size + b'"' + version,
        "json of versions": b"{" + b'"version":[1,1,1],' * (size // 18) + b"}",
        "ubj of [][]": b"{L" + (7).to_bytes(8, "big") + b"learner[" + b"[]" * (size // 2) + b"]}",
        "ubj of {}{}": b"{L" + (7).to_bytes(8, "big") + b"learner[" + b"{}" * (size // 2) + b"]}",
        "ubj of nulls": b"{L" + (7).to_bytes(8, "big") + b"learner[" + b"Z" * size + b"]}",
        "ubj of texts": b"{L" + (7).to_bytes(8, "big") + b"learner[" + b"Si\2ab" * (size // 5) + b"]}",
        "ubj of names": b"{" + b"".join(b"l%bZ" % (b"\0\0\0\4" + b"%04x" % n) for n in range(1 << 16)) + b"}",
        "ubj of numbers": b"{L" + (7).to_bytes(8, "big") + b"learner[" + b"d\0\0\0\0" * (size // 5) + b"]}",
        "ubj nested": b"{" + b"i\1a{" * (size // 4),
        "a tree of depth 200,000": chain(200_000),
    }


def seeds() -> dict[str, bytes]:
    """A small model of every booster and of every kind of objective; some as JSON."""
    random = np.random.default_rng(3)
    rows = random.standard_normal((120, 3)).astype(np.float32)
    signal = rows[:, 0] + rows[:, 1]
    positive, half = np.exp(signal / 2), (signal > 0).astype(np.float32)
    thirds = np.digitize(signal, [-0.5, 0.5]).astype(np.float32)
    ranked = xgboost.DMatrix(rows, thirds)
    ranked.set_group([20] * 6)
    aft = xgboost.DMatrix(rows)
    aft.set_float_info("label_lower_bound", positive)
    aft.set_float_info("label_upper_bound", positive + 1)
    codes = np.stack([random.integers(0, 9, 120), signal], axis=1).astype(np.float32)
    categories = xgboost.DMatrix(
        codes, np.isin(codes[:, 0], (1, 4, 7)), feature_types=["c", "q"], enable_categorical=True
    )
    named = xgboost.DMatrix(rows, half, feature_names=["a", "b", "ü"], feature_types=["q", "int", "float"])
    targets = np.stack([signal, -signal], axis=1)

    def of(target: Any) -> xgboost.DMatrix:
        return xgboost.DMatrix(rows, target)

    recipes: dict[str, tuple[xgboost.DMatrix, dict[str, Any]]] = {
        "binary": (named, {"objective": "binary:logistic"}),
        "dart": (of(half), {"booster": "dart", "rate_drop": 0.5, "objective": "binary:logistic"}),
        "linear": (of(signal), {"booster": "gblinear"}),
        "multi-class": (of(thirds), {"objective": "multi:softprob", "num_class": 3}),
        "ranking": (ranked, {"objective": "rank:ndcg", "lambdarank_unbiased": True}),
        "aft": (aft, {"objective": "survival:aft"}),
        "quantile": (of(signal), {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}),
        "tweedie": (of(positive), {"objective": "reg:tweedie"}),
        "poisson": (of(half), {"objective": "count:poisson"}),
        "pseudo-huber": (of(signal), {"objective": "reg:pseudohubererror"}),
        "categorical": (categories, {"objective": "binary:logistic", "max_cat_to_onehot": 1}),
        "multi-target": (of(targets), {}),
        "vector-leaf": (of(targets), {"multi_strategy": "multi_output_tree"}),
        "pruned": (of(half), {"tree_method": "exact", "gamma": 2.0, "max_depth": 6}),
    }
    made = {}
    for kind, (data, parameters) in recipes.items():
        booster = xgboost.train({"max_depth": 2, "nthread": 1, "verbosity": 0, **parameters}, data, 3)
        booster.set_attr(best_iteration="2")
        made[kind] = bytes(booster.save_raw("ubj"))
        if kind in ("binary", "multi-class"):
            made[f"{kind} as JSON"] = bytes(booster.save_raw("json"))
    return made


def smallest() -> bytes:
    """A model of one feature and one tree."""
    data = xgboost.DMatrix(np.array([[0], [1]], np.float32), np.array([0, 1], np.float32))
    booster = xgboost.train({"max_depth": 1, "nthread": 1, "min_child_weight": 0}, data, 1)
    return bytes(booster.save_raw("ubj"))


def of_features(count: int) -> bytes:
    """A small model of so many features."""
    rows = np.random.default_rng(5).standard_normal((80, count)).astype(np.float32)
    data = xgboost.DMatrix(rows, (rows.sum(axis=1) > 0).astype(np.float32))
    parameters = {"max_depth": 3, "nthread": 1, "objective": "binary:logistic"}
    return bytes(xgboost.train(parameters, data, 3).save_raw("ubj"))
