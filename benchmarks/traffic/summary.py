"""Sums up the records of the client processes: failed and wrong calls, and latencies by tier, phase and time window."""

import json
import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

WINDOW_SECONDS: Final = 10.0
MOST_EXAMPLES: Final = 20
# A failed call has no endpoint; it counts here, and in the totals.
NO_TIER: Final = "none"


@dataclass(frozen=True)
class Expected:
    """of: version to the predictions of each body."""

    tenant: str
    of: Mapping[str, tuple[tuple[float, ...], ...]]


@dataclass(frozen=True)
class Versions:
    """From `since` (seconds of the Unix epoch) on these versions of the tenant are right."""

    since: float
    tenant: str
    right: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some of the calls. Latencies in milliseconds, of answered calls, None of none."""

    calls: int
    failed: int
    wrong: int
    p50_milliseconds: float | None
    p99_milliseconds: float | None
    max_milliseconds: float | None


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A phase or a window: when it began, in seconds since the traffic did, all its calls, and by tier."""

    name: str
    began_seconds: float
    seconds: float
    all: Part
    tiers: Mapping[str, Part]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """all: every call. misnamed: right predictions whose reply names another version than the one that made them (a
    dedicated endpoint's shift, see docs/calling.md). late: calls that a client sent over 50 ms after they were due: it
    had no time, so the machine was measured. examples: the first failed and wrong records."""

    all: Part
    seconds: float
    tiers: Mapping[str, Part]
    clients: Mapping[str, Part]
    phases: tuple[Stretch, ...]
    windows: tuple[Stretch, ...]
    errors: Mapping[str, int]
    attempts: Mapping[int, int]
    misnamed: int
    late: int
    route_errors: int
    route_fallbacks: int
    examples: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, texts and numbers, ready for json.dumps."""
        return asdict(self)

    def phase(self, name: str) -> Stretch:
        """Raises KeyError for a phase that was not."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        raise KeyError(name)


@dataclass(frozen=True)
class Call:
    """One record with its verdict."""

    due: float
    client: str
    tier: str
    latency_seconds: float
    failed: bool
    wrong: bool


def summarise(
    files: Mapping[str, Path],
    *,
    expected: Iterable[Expected],
    versions: Iterable[Versions],
    phases: Sequence[tuple[float, str]],
    ended: float,
    tolerance: float,
    window_seconds: float = WINDOW_SECONDS,
) -> Summary:
    """files: client to its records. phases: (began, name), ascending, the first at the traffic's start.

    Raises ValueError if a call has no record.
    """
    check = _PredictionCheck(expected, versions, tolerance)
    calls: list[Call] = []
    errors: Counter[str] = Counter()
    attempts: Counter[int] = Counter()
    counts: Counter[str] = Counter()
    examples: list[Mapping[str, Any]] = []
    misnamed = late = 0
    for client, file in files.items():
        *records, end = map(json.loads, file.read_text().splitlines())
        if len(records) != end["sent"]:
            raise ValueError(f"{file} holds {len(records)} of {end['sent']} calls")
        counts.update(end["counts"])
        for record in records:
            wrong, named_wrongly = check.verdict(record)
            failed = "error" in record
            misnamed += named_wrongly
            late += record["late_seconds"] > 0.05
            if failed:
                errors[record["error"].partition(":")[0]] += 1
            else:
                attempts[record.get("attempts", 1)] += 1
            if (failed or wrong) and len(examples) < MOST_EXAMPLES:
                examples.append({"client": client, **record})
            tier = record.get("tier", NO_TIER)
            calls.append(Call(record["due"], client, tier, record["latency_seconds"], failed, wrong))
    calls.sort(key=lambda call: call.due)
    began = phases[0][0]
    bounds = [(moment, name) for moment, name in phases] + [(max(ended, phases[-1][0]), "")]
    windows = math.ceil(max(0.0, ended - began) / window_seconds)
    edges = [(began + number * window_seconds, f"{number * window_seconds:g} s") for number in range(windows)]
    edges.append((max(ended, began), ""))
    return Summary(
        all=part(calls),
        seconds=round(ended - began, 3),
        tiers=_parts(calls, "tier"),
        clients=_parts(calls, "client"),
        phases=_stretches(calls, bounds, began),
        windows=_stretches(calls, edges, began),
        errors=dict(errors.most_common()),
        attempts=dict(sorted(attempts.items())),
        misnamed=misnamed,
        late=late,
        route_errors=counts["RouteErrors"],
        route_fallbacks=counts["RouteFallback"],
        examples=tuple(examples),
    )


class _PredictionCheck:
    """Which predictions are right when."""

    def __init__(self, expected: Iterable[Expected], versions: Iterable[Versions], tolerance: float) -> None:
        self._expected = {item.tenant: item.of for item in expected}
        self._changes: dict[str, list[Versions]] = defaultdict(list)
        for change in sorted(versions, key=lambda change: change.since):
            self._changes[change.tenant].append(change)
        self._tolerance = tolerance

    def verdict(self, record: Mapping[str, Any]) -> tuple[bool, bool]:
        """(wrong, right but named as another version); a failed call is neither."""
        if "error" in record:
            return False, False
        tenant, body = record["tenant"], record["body"]
        right = self._right(tenant, record["due"], record["due"] + record["latency_seconds"])
        matching = {v for v in right if self._same(record["predictions"], self._expected[tenant][v][body])}
        named = record["version"]
        return not matching, bool(matching) and named is not None and named not in matching

    def _right(self, tenant: str, began: float, ended: float) -> set[str]:
        """The versions that were right at any moment of the call."""
        changes = self._changes[tenant]
        first = max(0, bisect_right([change.since for change in changes], began) - 1)
        return {v for change in changes[first:] if change.since <= ended for v in change.right}

    def _same(self, got: Sequence[float], wanted: Sequence[float]) -> bool:
        return len(got) == len(wanted) and all(abs(a - b) <= self._tolerance for a, b in zip(got, wanted, strict=True))


def part(calls: Sequence[Call]) -> Part:
    latencies = sorted(call.latency_seconds for call in calls if not call.failed)

    def rank(share: float) -> float | None:
        return round(latencies[math.ceil(share * len(latencies)) - 1] * 1000, 3) if latencies else None

    return Part(
        calls=len(calls),
        failed=sum(call.failed for call in calls),
        wrong=sum(call.wrong for call in calls),
        p50_milliseconds=rank(0.5),
        p99_milliseconds=rank(0.99),
        max_milliseconds=rank(1.0),
    )


def _parts(calls: Sequence[Call], field: str) -> dict[str, Part]:
    groups: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        groups[getattr(call, field)].append(call)
    return {name: part(group) for name, group in sorted(groups.items())}


def _stretches(calls: Sequence[Call], bounds: Sequence[tuple[float, str]], began: float) -> tuple[Stretch, ...]:
    """Each call in exactly one: the first takes what is before it, the last what is after."""
    moments = [moment for moment, _ in bounds[1:-1]]
    groups: list[list[Call]] = [[] for _ in bounds[:-1]]
    for call in calls:
        groups[bisect_right(moments, call.due)].append(call)
    return tuple(
        Stretch(
            name=name,
            began_seconds=round(moment - began, 3),
            seconds=round(bounds[number + 1][0] - moment, 3),
            all=part(groups[number]),
            tiers=_parts(groups[number], "tier"),
        )
        for number, (moment, name) in enumerate(bounds[:-1])
    )
