"""Traffic of a fleet's own shape, sent to the local emulator through FleetClient."""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from local_cloud.host.processes import LocalCloud
from tierfleet.config import FleetConfig
from tierfleet.config.container import Probe
from tierfleet.models.bucket import read_pointers
from tierfleet.models.pointer import Held
from tierfleet.runtime import clients
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.batch import percentile
from tierfleet.runtime.client.errors import CallError
from tierfleet.runtime.client.settings import ClientSettings
from tierfleet.runtime.hosting import LONGEST_ANSWER_SECONDS
from tierfleet.runtime.hosting.multi_container import PRIMARY
from tierfleet.runtime.names import models_bucket

# Share of the calls: tenants with dedicated endpoints, tenants on a warm-up list, all others.
# The fraud fleet's own split: 5 merchants make 80 %, 50 make 19 % in business hours, 15 are occasional.
SHARES = (0.80, 0.19, 0.01)
_CALLERS = 32
# A request wakes an asynchronous endpoint up within minutes.
_QUEUED_SECONDS = 600.0


@dataclass(frozen=True)
class TierTraffic:
    """What callers of one tier saw so far; times in milliseconds, from the call to its reply."""

    tier: str
    requests: int
    failed: int
    tenants: int
    p50_milliseconds: float
    p99_milliseconds: float
    slowest_milliseconds: float


@dataclass(frozen=True)
class DriveSummary:
    """What callers saw so far."""

    seconds: float
    """Since the first call."""
    tiers: tuple[TierTraffic, ...]
    errors: dict[str, int]
    """How often each kind of CallError was seen."""

    @property
    def requests(self) -> int:
        return sum(tier.requests for tier in self.tiers)

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def to_json(self) -> dict[str, Any]:
        """The same as JSON-ready data."""
        return {"requests": self.requests, "failed": self.failed, **asdict(self)}


@dataclass
class _Seen:
    milliseconds: list[float] = field(default_factory=list)
    tenants: set[str] = field(default_factory=set)
    failed: int = 0


class Drive:
    """Calls at a steady rate from one process; `summary` may be read at any time."""

    def __init__(
        self,
        client: FleetClient,
        probe_of: Callable[[str], Probe],
        weights: dict[str, float],
        queued: Collection[str] = (),
        first: Sequence[str] = (),
    ) -> None:
        """probe_of: a valid request of a tenant. queued: tenants whose requests go into a queue. first: tenants
        that are called before the others, once."""
        self._first = tuple(first)
        self._queued = frozenset(queued)
        self._client, self._probe_of, self._weights = client, probe_of, weights
        self._lock = threading.Lock()
        self._seen: defaultdict[str, _Seen] = defaultdict(_Seen)
        self._errors: Counter[str] = Counter()
        self._started = time.monotonic()
        self._stop = threading.Event()

    def run(self, *, requests_per_second: float, seconds: float, seed: int = 0) -> None:
        """Send calls at random moments of that mean rate, whether or not earlier ones have been answered."""
        source = random.Random(seed)  # noqa: S311 - traffic, no secret
        tenants, weights = list(self._weights), list(self._weights.values())
        self._started = time.monotonic()
        due = 0.0
        with ThreadPoolExecutor(_CALLERS, "drive") as callers:
            for tenant in self._first:
                callers.submit(self._call, tenant)
            while (due := due + source.expovariate(requests_per_second)) < seconds and not self._stop.is_set():
                if (ahead := self._started + due - time.monotonic()) > 0:
                    self._stop.wait(ahead)
                callers.submit(self._call, source.choices(tenants, weights)[0])
            callers.shutdown(cancel_futures=self._stop.is_set())

    def stop(self) -> None:
        """Send no more calls; those under way are waited for."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def summary(self) -> DriveSummary:
        with self._lock:
            tiers = tuple(_tier_traffic(tier, seen) for tier, seen in sorted(self._seen.items()))
            return DriveSummary(time.monotonic() - self._started, tiers, dict(self._errors))

    def _call(self, tenant: str) -> None:
        started = time.perf_counter()
        try:
            probe = self._probe_of(tenant)
            body, content_type = probe.body.encode(), probe.content_type
            if tenant in self._queued:
                submission = self._client.submit(tenant, body, content_type=content_type)
                reply = self._client.result(submission, _QUEUED_SECONDS)
            else:
                # The probe is a row of the primary container; on any other endpoint, of the model.
                reply = self._client.invoke(tenant, body, container=PRIMARY, content_type=content_type)
        except CallError as error:
            with self._lock:
                self._errors[type(error).__name__.removesuffix("Error")] += 1
                self._seen["unanswered"].failed += 1
                self._seen["unanswered"].tenants.add(tenant)
            return
        milliseconds = (time.perf_counter() - started) * 1000
        with self._lock:
            self._seen[reply.tier].milliseconds.append(milliseconds)
            self._seen[reply.tier].tenants.add(tenant)


@contextmanager
def drive(cloud: LocalCloud, fleet: FleetConfig) -> Iterator[Drive]:
    """A caller of the deployed fleet that sends its probe row; raises ValueError where no model is published."""
    s3 = cloud.client("s3", fleet.account, region=fleet.region)
    bucket = models_bucket(fleet.fleet, fleet.environment, fleet.account, fleet.region)
    weights = traffic_weights(fleet, published_tenants(s3, bucket))
    settings = ClientSettings(connections=_CALLERS)
    session = cloud.session(fleet.account, region=fleet.region)
    aws = clients.calling_clients(
        session=session,
        region=fleet.region,
        read_timeout_seconds=LONGEST_ANSWER_SECONDS,
        connections=settings.connections,
        endpoint_url=cloud.endpoint_url,
    )
    client = FleetClient(
        fleet.fleet, fleet.environment, account=fleet.account, settings=settings, session=session, aws=aws
    )
    try:
        queued = {tenant for tier in fleet.async_tiers.values() for tenant in tier.tenants}
        yield Drive(client, fleet.probe_of, weights, queued, one_of_each_tier(fleet, sorted(weights)))
    finally:
        client.close()
        aws.close()


def published_tenants(s3: Any, bucket: str) -> list[str]:
    """Every tenant whose pointer names a model, in name order; raises ValueError where there is none."""
    try:
        pointers = read_pointers(s3, bucket)
    except s3.exceptions.NoSuchBucket:
        raise ValueError(f"there is no bucket {bucket}; deploy the fleet with tierfleet local deploy") from None
    tenants = [tenant for tenant, held in pointers.items() if isinstance(held, Held) and held.entry.target_model]
    if not tenants:
        raise ValueError(f"no model is published in {bucket}; tierfleet local deploy --models DIRECTORY")
    return sorted(tenants)


def traffic_weights(fleet: FleetConfig, tenants: Sequence[str]) -> dict[str, float]:
    """Each tenant's share of the calls, 1 in all: by SHARES, equal among equals; an empty group's goes to others."""
    dedicated = {
        tenant
        for tier in fleet.instance_tiers.values()
        if tier.endpoint_per_tenant and tier.shape.request_response
        for tenant in tier.tenants
    }
    warmed = {tenant for tier in fleet.multi_model_tiers.values() if tier.warm_up for tenant in tier.warm_up.tenants}
    groups = (
        [tenant for tenant in tenants if tenant in dedicated],
        [tenant for tenant in tenants if tenant in warmed - dedicated],
        [tenant for tenant in tenants if tenant not in warmed | dedicated],
    )
    whole = sum(share for share, group in zip(SHARES, groups, strict=True) if group)
    return {tenant: share / whole / len(group) for share, group in zip(SHARES, groups, strict=True) for tenant in group}


def one_of_each_tier(fleet: FleetConfig, tenants: Sequence[str]) -> list[str]:
    """The first of these tenants on each tier: a short run calls rare tenants too."""
    first: dict[str, str] = {}
    for tenant in tenants:
        first.setdefault(fleet.tier_of(tenant), tenant)
    return list(first.values())


def _tier_traffic(tier: str, seen: _Seen) -> TierTraffic:
    ordered = sorted(seen.milliseconds)
    return TierTraffic(
        tier=tier,
        requests=len(ordered) + seen.failed,
        failed=seen.failed,
        tenants=len(seen.tenants),
        p50_milliseconds=percentile(ordered, 0.50) or 0.0,
        p99_milliseconds=percentile(ordered, 0.99) or 0.0,
        slowest_milliseconds=ordered[-1] if ordered else 0.0,
    )
