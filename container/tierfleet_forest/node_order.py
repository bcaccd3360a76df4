"""Orders a forest's pairs of nodes so that a row finds the nodes it probably visits in the same cache line.

A line of 64 bytes holds a subtree's root and its most likely descendants. The subtrees below them begin their own
lines. Full lines come first, ordered by the cover of their root, then the small remainders of subtrees, end to end.
Compared with filling line after line from a heap, a row of a 44 MB model touches 2 % fewer lines, and all trees are
ordered at once.
"""

import numpy as np

from .tree_model import Numbers, TreeModel, Walk


def order_of_pairs(model: TreeModel, nodes: Walk, pairs_a_line: int) -> Numbers:
    """The places of all nodes that split, tree by tree, in the order of the pairs of their children.

    A node comes after its parent.
    """
    splits = model.left >= 0
    lines: list[Numbers] = []
    heads: list[Numbers] = []
    rounds: list[Numbers] = []
    head = model.roots[splits[model.roots]]
    while len(head):
        line, rest = _fill(model, splits, nodes.cover, head, pairs_a_line)
        lines.append(line)
        heads.append(head)
        rounds.append(np.full(len(head), len(rounds)))
        head = rest
    if not lines:
        return np.zeros(0, np.int64)
    line, first = np.concatenate(lines), np.concatenate(heads)
    # A node's cover is at most its parent's. If both are equal, the earlier round is the parent.
    keys = (np.concatenate(rounds), -nodes.cover[first], line[:, -1] < 0, nodes.tree[first])
    order = line[np.lexsort(keys)].ravel()
    return order[order >= 0]


def _fill(model: TreeModel, splits: Numbers, cover: Numbers, head: Numbers, room: int) -> tuple[Numbers, Numbers]:
    """One line of `room` places for each of `head`: its most likely descendants, filled up with -1.

    Also returns the places at which further lines begin.
    """
    row = np.arange(len(head))
    waiting = np.full((len(head), room + 1), -1, np.int64)
    likely = np.full((len(head), room + 1), -1, np.float32)
    waiting[:, 0], likely[:, 0] = head, cover[head]
    line = np.full((len(head), room), -1, np.int64)
    for place in range(room):
        column = likely[:, : place + 1].argmax(1)
        node = waiting[row, column]
        exists = node >= 0
        line[:, place] = node
        for child, where in ((model.left[node], column), (model.right[node], place + 1)):
            follows = exists & splits[child]
            waiting[row, where] = np.where(follows, child, -1)
            likely[row, where] = np.where(follows, cover[child], -1)
    return line, waiting[waiting >= 0]
