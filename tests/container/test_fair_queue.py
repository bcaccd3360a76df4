"""Whose turn it is."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from tierfleet_server.fair_queue import FairQueue


def run(queue: "FairQueue[int]", costs: dict[str, float], turns: int) -> Counter[str]:
    """So many turns of items that always come back: what was spent on each owner."""
    spent: Counter[str] = Counter()
    for _ in range(turns):
        taken = queue.take()
        assert taken is not None
        owner, item = taken
        spent[owner] += costs[owner]
        queue.spent(owner, costs[owner])
        queue.add(owner, item)
    return spent


@given(
    items=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=2),
    costs=st.lists(st.floats(0.0001, 0.05), min_size=6, max_size=6),
)
def test_owners_get_the_same_share_however_many_items_they_have_and_whatever_these_cost(
    items: dict[str, int], costs: list[float]
) -> None:
    queue: FairQueue[int] = FairQueue()
    by_owner = dict(zip("abcdef", costs, strict=True))
    for owner, count in items.items():
        for item in range(count):
            queue.add(owner, item)
    spent = run(queue, by_owner, 3000)
    most_a_turn = max(by_owner[owner] for owner in items)
    assert max(spent[owner] for owner in items) - min(spent[owner] for owner in items) <= 4 * most_a_turn


def test_items_of_one_owner_take_turns() -> None:
    queue: FairQueue[int] = FairQueue()
    for item in range(3):
        queue.add("a", item)
    order = []
    for _ in range(6):
        taken = queue.take()
        assert taken is not None
        order.append(taken[1])
        queue.spent("a", 1.0)
        queue.add("a", taken[1])
    assert order == [0, 1, 2, 0, 1, 2]


def test_one_who_comes_late_waits_for_one_turn_and_gets_no_arrears() -> None:
    queue: FairQueue[int] = FairQueue()
    for item in range(10):
        queue.add("busy", item)
    run(queue, {"busy": 1.0}, 500)
    queue.add("late", 0)
    taken = queue.take()
    assert taken is not None
    assert taken[0] in ("busy", "late")
    queue.spent(taken[0], 1.0)
    queue.add(taken[0], taken[1])
    spent = run(queue, {"busy": 1.0, "late": 1.0}, 100)
    assert abs(spent["busy"] - spent["late"]) <= 3


def test_a_pause_does_not_forgive_a_debt() -> None:
    """One whose turns are long goes away after each and comes back: it still gets no more than its share."""
    queue: FairQueue[int] = FairQueue()
    queue.add("steady", 0)
    queue.add("steady", 1)
    queue.add("comes and goes", 0)
    spent: Counter[str] = Counter()
    for _ in range(2000):
        taken = queue.take()
        assert taken is not None
        cost = 1.0 if taken[0] == "steady" else 10.0
        spent[taken[0]] += cost
        queue.spent(taken[0], cost)
        queue.add(*taken)
    assert spent["comes and goes"] <= 1.1 * spent["steady"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("add", "take", "remove", "done"))), max_size=200))
def test_nothing_is_lost_and_nothing_is_kept(events: list[tuple[str, str]]) -> None:
    queue: FairQueue[int] = FairQueue()
    waiting: dict[str, list[int]] = {owner: [] for owner in "abc"}
    in_turn: list[str] = []
    for number, (owner, event) in enumerate(events):
        if event == "add":
            queue.add(owner, number)
            waiting[owner].append(number)
        elif event == "take":
            taken = queue.take()
            assert (taken is None) == (not any(waiting.values()))
            if taken is not None:
                assert taken[1] == waiting[taken[0]].pop(0)
                in_turn.append(taken[0])
        elif event == "remove" and waiting[owner]:
            assert queue.remove(owner, waiting[owner].pop())
            assert not queue.remove(owner, -1)
        elif event == "done" and owner in in_turn:
            in_turn.remove(owner)
            queue.spent(owner, 0.5)
        for each in "abc":
            assert queue.waiting(each) == len(waiting[each]) + in_turn.count(each)
    while (taken := queue.take()) is not None:
        in_turn.append(taken[0])
    for owner in in_turn:
        queue.spent(owner, 1.0)
    assert not queue._shares


def test_what_an_owner_is_given_elsewhere_counts_against_its_share() -> None:
    queue: FairQueue[int] = FairQueue()
    for owner in ("both", "other"):
        queue.add(owner, 0)
    spent = {"both": 0.0, "other": 0.0}
    for _ in range(400):
        taken = queue.take()
        assert taken is not None
        owner, item = taken
        queue.spent(owner, 1.0)
        queue.add(owner, item)
        spent[owner] += 1
        queue.charge("both", 0.25)  # its explanations, at a quarter of a processor
        spent["both"] += 0.25
        queue.charge("nobody", 1.0)
    assert abs(spent["both"] - spent["other"]) <= 3
