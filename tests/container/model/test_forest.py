"""The check of all trees at once says of each forest what a plain walk through its trees says."""

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tierfleet_server.model import forest
from tierfleet_server.model.forest import Paths, Tree, check_trees
from tierfleet_server.model.ubj import UbjError

FEATURES = 5
ROOT = 2**31 - 1
LEFT, RIGHT, PARENTS, SPLIT = range(4)
Arrays = tuple[list[int], list[int], list[int], list[int]]


def grown(random: Random, splits: int) -> Arrays:
    """A sound tree with so many splits."""
    left, right, parents, split = [-1], [-1], [ROOT], [0]
    for _ in range(splits):
        node = random.choice([at for at, child in enumerate(left) if child == -1])
        left[node], right[node], split[node] = len(left), len(left) + 1, random.randrange(FEATURES)
        left += [-1, -1]
        right += [-1, -1]
        parents += [node, node]
        split += [0, random.choice([0, -1])]  # a leaf's is not looked at: pruning leaves a mark there
    return left, right, parents, split


def damage(random: Random, trees: list[Arrays]) -> None:
    """Change one number, to one that is near what it was, or right in another tree, or far off."""
    array = random.choice(random.choice(trees))
    at = random.randrange(len(array))
    nodes = sum(len(tree[LEFT]) for tree in trees)
    array[at] = random.choice([array[at] + 1, array[at] - 1, random.randrange(-1, nodes + 2), -2, ROOT, -ROOT - 1])
    array[at] = (array[at] + 2**31) % 2**32 - 2**31


def sound(tree: Arrays) -> bool:
    left, right, parents, split = tree
    nodes = len(left)
    if parents[0] != ROOT or not all(0 <= parent < nodes for parent in parents[1:]):
        return False
    for node, child in enumerate(left):
        if child == -1:
            if right[node] != -1:
                return False
        elif not (
            right[node] == child + 1
            and 0 < child < nodes - 1
            and parents[child] == parents[child + 1] == node
            and 0 <= split[node] < FEATURES
        ):
            return False
    return True


def walked(tree: Arrays) -> Paths:
    """The facts of a sound tree, by a plain walk."""
    level, depth, shap, nodes = [0], 0, 0, 0
    while level:
        decided = min(depth, FEATURES)
        below = []
        for node in level:
            child = tree[LEFT][node]
            below += [] if child == -1 else [child, child + 1]
            shap += 1 + decided + (decided**2 if child == -1 else 0)
        nodes, level, depth = nodes + len(level), below, depth + 1
    return Paths(depth - 1, max(1, depth - 1), nodes, shap)


def accepted(forest_of: list[Arrays]) -> Paths | None:
    data, trees = b"", []
    for number, arrays in enumerate(forest_of):
        offsets = []
        for array in arrays:
            offsets.append(len(data))
            data += b"".join(value.to_bytes(4, "big", signed=True) for value in array)
        trees.append(Tree(number, len(arrays[LEFT]), *offsets))
    try:
        return check_trees(data, list(trees), FEATURES)
    except UbjError:
        return None


@settings(max_examples=600)
@given(
    seed=st.integers(0, 2**32), trees=st.integers(1, 5), damaged=st.integers(0, 3), chunk=st.sampled_from((1, 8, 999))
)
@example(seed=0, trees=1, damaged=0, chunk=1)
def test_the_check_of_many_trees_is_the_check_of_each(seed: int, trees: int, damaged: int, chunk: int) -> None:
    random = Random(seed)  # noqa: S311
    forest_of = [grown(random, random.randrange(6)) for _ in range(trees)]
    assert all(map(sound, forest_of))
    for _ in range(damaged):
        damage(random, forest_of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forest, "_CHUNK_NODES", chunk)
        paths = accepted(forest_of)
    assert (paths is not None) == all(map(sound, forest_of))
    if paths is not None:
        plain = [walked(tree) for tree in forest_of]
        assert paths[:2] == (max(one.depth for one in plain), sum(one.length for one in plain))
        assert paths.nodes == sum(len(tree[LEFT]) for tree in forest_of)
        shap = sum(one.shap for one in plain)
        # Nodes that no branch leads to, as pruning leaves them, are counted too.
        assert paths.shap == shap if paths.nodes == sum(one.nodes for one in plain) else paths.shap > shap


def test_the_depth_of_a_chain_and_of_a_circle_next_to_the_root() -> None:
    """The longest way that so many nodes can make, and branches that only lead to each other."""
    chain = ([1], [2], [ROOT], [0])
    for node in range(1, 10_000, 2):
        for array, pair in zip(
            chain, ([node + 2, -1], [node + 3, -1], [node - 2 if node > 1 else 0] * 2, [0, 0]), strict=True
        ):
            array.extend(pair)
    chain[LEFT][-2] = chain[RIGHT][-2] = -1
    both = accepted([chain, grown(Random(1), 0)])  # noqa: S311
    assert both is not None
    assert (both.depth, both.length, both.nodes) == (5_000, 5_001, 10_002)
    circle = ([-1, 3, -1, 1, -1], [-1, 4, -1, 2, -1], [ROOT, 3, 3, 1, 1], [0] * 5)
    assert accepted([circle]) is None


def test_a_branch_into_another_tree_that_would_have_it() -> None:
    """The node it leads to names as its parent the very number that the branching node has in its own tree."""
    one, other = grown(Random(1), 1), grown(Random(1), 1)  # noqa: S311
    assert sound(one)
    assert sound(other)
    assert accepted([one, other])
    one[LEFT][0], one[RIGHT][0] = 4, 5
    assert not accepted([one, other])
