"""No call is lost, and none is answered by another tenant's model, while routes flip under load."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import (
    ACCOUNT,
    ENVIRONMENT,
    FLEET,
    SHARED,
    SHARED_AFTER_RETYPE,
    Clock,
    FakeAws,
    route_document,
    score,
    serving,
    session,
    whale,
)

from tierfleet.runtime import clients
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.settings import ClientSettings

TENANTS = ("m01", "m02", "m03", "m37")
MOVES = st.sampled_from(["promote", "demote", "retype"])
TTL_SECONDS = 60


class Fleet:
    """A fleet that moves as CloudFormation moves it: new endpoint, new routes, bake, then the old endpoint goes."""

    def __init__(self, aws: FakeAws, clock: Clock) -> None:
        self.aws = aws
        self.clock = clock
        self.shared = SHARED
        self.whales: tuple[str, ...] = ("m01",)

    def move(self, kind: str, tenant: str, bake_seconds: float) -> None:
        if kind == "retype":
            self.shared = SHARED_AFTER_RETYPE if self.shared == SHARED else SHARED
        elif kind == "promote":
            self.whales = tuple(sorted({*self.whales, tenant}))
        else:
            self.whales = tuple(name for name in self.whales if name != tenant)
        wanted = {self.shared, *map(whale, self.whales)}
        with self.aws.lock:
            self.aws.endpoints = self.aws.endpoints | wanted
            self.aws.routes = route_document(shared=self.shared, whales=self.whales)
        self.clock.now += bake_seconds
        with self.aws.lock:
            self.aws.endpoints = wanted


class Load:
    """Threads that call every tenant in turn until they are stopped."""

    def __init__(self, client: FleetClient, threads: int) -> None:
        self.client = client
        self.stopped = threading.Event()
        self.answered = threading.Semaphore(0)
        self.lost: list[BaseException] = []
        self.threads = [threading.Thread(target=self.call, args=(number,)) for number in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def call(self, number: int) -> None:
        while not self.stopped.is_set():
            number += 1
            tenant, row = TENANTS[number % len(TENANTS)], f"{number},0.25"
            try:
                reply = self.client.invoke(tenant, row.encode(), deadline_seconds=100_000)
                assert reply.predictions == [score(tenant, row)]
            except BaseException as error:
                self.lost.append(error)
            self.answered.release()

    def wait_for(self, calls: int) -> None:
        for _ in range(calls):
            assert self.answered.acquire(timeout=60)


@pytest.fixture(scope="module")
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture(scope="module")
def calling(aws: FakeAws) -> Iterator[clients.CallingClients]:
    with pytest.MonkeyPatch.context() as patch, serving(aws) as url:
        patch.setenv("AWS_ENDPOINT_URL", url)
        calling = clients.calling_clients(session=session(), region=None, read_timeout_seconds=60, connections=8)
        yield calling
        calling.close()


# Twice the interval is a bake that config accepts (less the 70 s of a call in flight, which the fake does not have);
# none is worse than any real one.
@pytest.mark.parametrize("bake_seconds", [2 * TTL_SECONDS, 0], ids=["after the bake", "without a bake"])
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(moves=st.lists(st.tuples(MOVES, st.sampled_from(TENANTS)), min_size=1, max_size=6))
def test_no_call_is_lost_while_routes_flip(
    bake_seconds: float, aws: FakeAws, calling: clients.CallingClients, moves: list[tuple[str, str]]
) -> None:
    aws.reset()
    clock = Clock()
    fleet = Fleet(aws, clock)
    options = ClientSettings(route_ttl_seconds=TTL_SECONDS)
    with FleetClient(
        FLEET, ENVIRONMENT, account=ACCOUNT, aws=calling, settings=options, clock=clock, sleep=clock.sleep
    ) as client:
        with Load(client, threads=3) as load:
            load.wait_for(6)
            for kind, tenant in moves:
                fleet.move(kind, tenant, bake_seconds)
                load.wait_for(9)
        assert load.lost == []
        # Once all is quiet the routes are the newest ones, without a fallback.
        clock.now += 10 * TTL_SECONDS
        for tenant in TENANTS:
            reply = client.invoke(tenant, b"1")
            assert reply.endpoint == (whale(tenant) if tenant in fleet.whales else fleet.shared)
            assert not reply.fell_back
