"""Which required p99 a fleet does not keep: of dedicated tenants, and of those that may not leave the shared tier."""

from collections.abc import Mapping

import numpy as np

from tierfleet.planning.call_times import container_p99
from tierfleet.planning.profiles import Profile
from tierfleet.planning.requirements import Requirements
from tierfleet.planning.tiering import TailShare
from tierfleet.planning.workload import Workload
from tierfleet.text import milliseconds


def dedicated_failures(
    required: Requirements, profile: Profile, workload: Workload, dedicated: frozenset[str]
) -> list[str]:
    """Of all dedicated tenants together, then of single ones, in the container."""
    failures = []
    own = np.array([name in dedicated for name in workload.tenants], np.bool_)
    if required.whale_p99_seconds is not None and own.any():
        p99 = container_p99(profile, workload.model_mb[own], workload.calls_per_day[own])
        if p99 > required.whale_p99_seconds:
            failures.append(f"dedicated p99 {milliseconds(p99)}, required {milliseconds(required.whale_p99_seconds)}")
    for name, limit_seconds in sorted(required.tenant_p99_seconds.items()):
        if name in dedicated and name in workload.tenants:
            index = workload.tenants.index(name)
            p99 = container_p99(profile, workload.model_mb[index : index + 1], np.ones(1))
            if p99 > limit_seconds:
                failures.append(f"{name} p99 {milliseconds(p99)}, required {milliseconds(limit_seconds)}")
    return failures


def shared_failures(required: Requirements, on_tail: Mapping[str, TailShare]) -> list[str]:
    """Of tenants that the search would have promoted, had they been allowed to go."""
    limits = required.tenant_p99_seconds
    return [
        f"{name} p99 {milliseconds(tail.p99_seconds)} on the shared tier, required {milliseconds(limits[name])}"
        for name, tail in sorted(on_tail.items())
        if tail.p99_seconds > limits[name]
    ]
