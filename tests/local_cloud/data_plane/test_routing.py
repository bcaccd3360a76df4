"""Which instance takes a request, and how traffic is shared between fleets and variants."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from local_cloud.data_plane import routing
from local_cloud.data_plane.desired import EndpointSpec, FleetSpec, VariantSpec
from local_cloud.data_plane.fleets import Endpoint, Fleet, Variant

SCOPE = ("111122223333", "eu-west-1")


@dataclass
class Cache:
    memory: OrderedDict[str, None] = field(default_factory=OrderedDict)
    loading: dict[str, None] = field(default_factory=dict)
    full: bool = False
    disk: Any = None

    def holds(self, model: str) -> bool:
        return model in self.memory or model in self.loading


@dataclass
class Disk:
    models: set[str]


class Instance:
    def __init__(self, number: int, *models: str, on_disk: tuple[str, ...] = (), full: bool = False) -> None:
        self.id, self.in_service = f"i-{number}", True
        self.cache = Cache(OrderedDict.fromkeys(models), full=full, disk=Disk({*models, *on_disk}))
        self.in_flight: Counter[str] = Counter()

    @property
    def requests_in_flight(self) -> int:
        return sum(self.in_flight.values())


def choose(instances: list[Instance], model: str, limit: int = 2) -> str | None:
    chosen = routing.multi_model_instance(instances, model, spill_in_flight=limit)  # type: ignore[arg-type]
    return chosen.id if chosen else None


def spill(instances: list[Instance], model: str, limit: int = 2) -> str | None:
    other = routing.spill_target(instances, model, spill_in_flight=limit)  # type: ignore[arg-type]
    return other.id if other else None


def test_a_model_goes_to_the_instance_that_has_it_even_a_fuller_one() -> None:
    instances = [Instance(1), Instance(2, "a", "b", "c", full=True)]

    assert choose(instances, "a") == "i-2"
    assert spill(instances, "a") is None


def test_a_new_model_goes_to_the_emptiest_instance() -> None:
    assert choose([Instance(1, "a", "b"), Instance(2, "c")], "d") == "i-2"


def test_a_model_on_disk_goes_where_it_is_as_long_as_that_instance_has_room() -> None:
    assert choose([Instance(1, "a", "b", on_disk=("d",)), Instance(2)], "d") == "i-1"
    assert choose([Instance(1, "a", "b", on_disk=("d",), full=True), Instance(2)], "d") == "i-2"
    assert choose([Instance(1, "a", on_disk=("d",), full=True), Instance(2, full=True)], "d") == "i-1"


def test_a_busy_model_is_loaded_by_a_second_instance_and_served_by_both() -> None:
    busy, other = Instance(1, "a"), Instance(2, "b")
    busy.in_flight["a"] = 2

    assert (choose([busy, other], "a"), spill([busy, other], "a")) == ("i-1", "i-2")

    other.cache.memory["a"] = None
    assert (choose([busy, other], "a"), spill([busy, other], "a")) == ("i-2", None)

    busy.in_flight["a"] = 1
    assert choose([busy, other], "a") == "i-1"  # the second copy falls out of use with the load


def test_load_of_other_models_does_not_move_a_model() -> None:
    busy = Instance(1, "a", "b")
    busy.in_flight["b"] = 50

    assert choose([busy, Instance(2)], "a") == "i-1"
    assert spill([busy, Instance(2)], "a") is None


def test_an_instance_that_is_not_in_service_gets_nothing() -> None:
    gone = Instance(1, "a")
    gone.in_service = False

    assert choose([gone], "a") is None
    assert choose([gone, Instance(2)], "a") == "i-2"


def test_full_instances_share_models_about_evenly_and_always_alike() -> None:
    instances = [Instance(number, full=True) for number in (1, 2)]
    first = [choose(instances, f"m{n}") for n in range(400)]

    assert first == [choose(instances, f"m{n}") for n in range(400)]
    assert 120 < Counter(first)["i-1"] < 280


def variant(name: str, weight: float) -> VariantSpec:
    return VariantSpec(name, 1, weight, "ml.m5.large", None, False, None, {})


@given(share=st.integers(0, 100), requests=st.integers(1, 400))
def test_the_new_fleet_gets_its_share_evenly(share: int, requests: int) -> None:
    fleets = tuple(FleetSpec(g, f"config-{g}", s, ()) for g, s in ((1, 100 - share), (2, share)))
    endpoint = Endpoint(EndpointSpec(SCOPE, "whale", True, fleets), {spec.generation: Fleet(spec) for spec in fleets})
    taken = Counter(chosen.spec.generation for _ in range(requests) if (chosen := endpoint.next_fleet()))

    assert abs(taken[2] - requests * share / 100) < 1


@given(weights=st.lists(st.floats(0.1, 10), min_size=1, max_size=4), requests=st.integers(1, 200))
def test_variants_share_traffic_by_weight(weights: list[float], requests: int) -> None:
    specs = [variant(f"v{n}", weight) for n, weight in enumerate(weights)]
    fleet = Fleet(FleetSpec(1, "config", 100, tuple(specs)), {spec.name: Variant(spec) for spec in specs})
    taken = Counter(fleet.next_variant().spec.name for _ in range(requests))

    for spec in specs:
        assert abs(taken[spec.name] - requests * spec.weight / sum(weights)) <= len(specs)
