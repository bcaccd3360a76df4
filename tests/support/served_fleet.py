"""The small fleet of the tests, deployed and served by real model servers, and callers of it that keep every call."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
from real_fleet import FLEET, Fleet

from local_cloud.testing.account import Account
from local_cloud.testing.served_account import ROW, artefact, score
from tierfleet.runtime import clients
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import CallError
from tierfleet.runtime.client.settings import ClientSettings

ROUNDS = {
    "t1/1": 1,
    "t2/1": 2,
    "t3/1": 3,
    "t4/1": 4,
    "t5/1": 5,
    "t5/2": 6,
    "w1/2027-01-01": 7,
    "w1/2": 8,
    "t2/2": 9,
    "t7/1": 10,
}
DAMAGED = b"no archive"


def served_fleet(account: Account, synth: Callable[..., Path], other: Mapping[str, bytes] | None = None) -> Fleet:
    """The fleet; what is published as `<tenant>/<version>` is the model of `ROUNDS`, or these other bytes."""
    return Fleet(account, synth, lambda item: (other or {}).get(item) or artefact(ROUNDS[item]))


def score_of(item: str) -> float:
    """What the model published as `<tenant>/<version>` makes of `ROW`."""
    return round(score(ROUNDS[item]), 5)


def warm_up(fleet: Fleet, *tenants: str) -> dict[str, Any]:
    """Run the deployed function for these tenants of the multi-model tier, and wait for its report."""
    resources = fleet.account.client("cloudformation").get_paginator("list_stack_resources")
    (function,) = [
        resource["PhysicalResourceId"]
        for page in resources.paginate(StackName=FLEET)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::Lambda::Function" and resource["LogicalResourceId"].startswith("WarmUpF")
    ]
    event = json.dumps({"tier": "tail", "tenants": tenants}).encode()
    reply = fleet.account.client("lambda").invoke(FunctionName=function, Payload=event)
    report: dict[str, Any] = json.loads(reply["Payload"].read())
    return report


@dataclass(frozen=True)
class Seen:
    """One call: when it began, how long it paused between its attempts, and its score or its error."""

    tenant: str
    began: float
    paused_seconds: float
    score: float | None
    error: CallError | None


class ManualClock:
    """The monotonic clock, which `skip` moves on."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def skip(self, seconds: float) -> None:
        self._ahead += seconds


def calling(account: Account, **settings: Any) -> clients.CallingClients:
    """AWS's clients of a caller of that account's fleet."""
    return clients.calling_clients(
        session=boto3.Session(aws_access_key_id=account.id, aws_secret_access_key="local"),  # noqa: S106 - no secret
        region="eu-west-1",
        read_timeout_seconds=60,
        connections=16,
        endpoint_url=account.cloud.endpoint_url,
        **settings,
    )


class Callers:
    """Threads that call tenants in turn through one FleetClient from `with` to its end; `seen` holds every call."""

    def __init__(
        self,
        account: Account,
        tenants: Iterable[str],
        *,
        threads: int = 3,
        aws: clients.CallingClients | None = None,
        clock: Callable[[], float] = time.monotonic,
        container: str | None = None,
        **settings: Any,
    ) -> None:
        """container: what every call names; `primary` is right for every hosting."""
        self.seen: list[Seen] = []
        self._container = container
        self._tenants = list(tenants)
        self._ended = threading.Event()
        self._aws = aws or calling(account)
        self._pauses = threading.local()
        self.client = FleetClient(
            "shop",
            "test",
            region="eu-west-1",
            aws=self._aws,
            clock=clock,
            sleep=self._pause,
            settings=ClientSettings(**{"deadline_seconds": 60, **settings}),
        )
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self.client.close()
        self._aws.close()

    def call(self, tenant: str) -> Seen:
        """One call, kept."""
        began, self._pauses.seconds = time.monotonic(), 0.0
        try:
            (value,) = self.client.invoke(tenant, ROW, container=self._container).predictions
        except CallError as error:
            seen = Seen(tenant, began, self._pauses.seconds, None, error)
        else:
            seen = Seen(tenant, began, self._pauses.seconds, round(value, 5), None)
        self.seen.append(seen)
        return seen

    def more(self, calls: int, limit_seconds: float = 120) -> None:
        """Wait for so many further calls."""
        wanted, give_up = len(self.seen) + calls, time.monotonic() + limit_seconds
        while len(self.seen) < wanted:
            assert time.monotonic() < give_up, f"{wanted - len(self.seen)} calls did not end"
            time.sleep(0.01)

    def failed(self, *tenants: str) -> list[Seen]:
        """The calls that failed, of these tenants or of all."""
        return [seen for seen in self.seen if seen.error is not None and (not tenants or seen.tenant in tenants)]

    def scores(self, since: float = 0.0) -> Mapping[str, set[float]]:
        """The different scores that each tenant's callers got in calls that began at or after a moment."""
        scores: dict[str, set[float]] = {}
        for seen in self.seen:
            if seen.score is not None and seen.began >= since:
                scores.setdefault(seen.tenant, set()).add(seen.score)
        return scores

    def _pause(self, seconds: float) -> None:
        self._pauses.seconds = getattr(self._pauses, "seconds", 0.0) + seconds
        time.sleep(seconds)

    def _run(self, number: int) -> None:
        while not self._ended.is_set():
            self.call(self._tenants[number % len(self._tenants)])
            number += len(self._threads)
            self._ended.wait(0.02)
