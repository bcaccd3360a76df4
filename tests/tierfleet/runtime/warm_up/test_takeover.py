"""Whether a new multi-model endpoint may take over: it is compared with the one that serves now."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfleet.runtime.warm_up.report import WarmUpReport
from tierfleet.runtime.warm_up.takeover import MAX_COMPARED, MAX_REGRESSED_SHARE, refusal

BOTH, NEW_ONLY, OLD_ONLY, NEITHER = "both", "new only", "old only", "neither"


def report(warmed: Sequence[str] = (), **outcomes: Mapping[str, str]) -> WarmUpReport:
    failed = outcomes.get("failed", {})
    return WarmUpReport(
        warmed=tuple(warmed),
        failed=failed,
        missing=tuple(outcomes.get("missing", {})),
        skipped={},
        left=tuple(outcomes.get("left", {})),
        seconds=1.0,
        stopped=None,
        probe_errors={**failed, **outcomes.get("missing", {}), **outcomes.get("left", {})},
    )


def ask(new: WarmUpReport, old_answers: set[str]) -> tuple[str | None, list[str]]:
    """The refusal, and the tenants that the old endpoint was asked for."""
    asked: list[str] = []

    def probe_old(tenants: Sequence[str]) -> WarmUpReport:
        asked.extend(tenants)
        return report(
            [t for t in tenants if t in old_answers], failed={t: "bad" for t in tenants if t not in old_answers}
        )

    return refusal(new, endpoint_name="new", old_endpoint="old", probe_old=probe_old), asked


@given(st.lists(st.sampled_from([BOTH, NEW_ONLY, OLD_ONLY, NEITHER]), min_size=1, max_size=200))
def test_a_deployment_is_refused_if_and_only_if_it_takes_service_from_more_tenants_than_may_lose_it(
    answered_by: list[str],
) -> None:
    tenants = {f"t{number}": who for number, who in enumerate(answered_by)}
    warmed = [t for t, who in tenants.items() if who in (BOTH, NEW_ONLY)]
    failed = {t: "boom" for t in tenants if t not in warmed}
    regressed = [t for t, who in tenants.items() if who == OLD_ONLY]

    why, asked = ask(report(warmed, failed=failed), {t for t, who in tenants.items() if who in (BOTH, OLD_ONLY)})

    assert len(asked) <= MAX_COMPARED
    if not warmed:
        assert why is not None
    elif len(failed) <= MAX_COMPARED:
        assert (why is not None) == (len(regressed) > int(MAX_REGRESSED_SHARE * len(tenants)))
    if not regressed and warmed:
        assert why is None
    if why and warmed:
        assert f"compared: {next(t for t in regressed if t in asked)}" in why


def test_fewer_failures_than_may_fail_cost_the_old_endpoint_no_probe() -> None:
    new = report([f"t{number}" for number in range(99)], failed={"m1": "boom", "m2": "boom"})
    assert ask(new, {"m1", "m2"}) == (None, [])


@pytest.mark.parametrize("outcome", ["failed", "missing", "left"])
def test_every_way_of_not_answering_counts(outcome: str) -> None:
    """An endpoint whose role may not read the archives says that they are missing; one that hangs leaves them."""
    why, _ = ask(report(["m1"], **{outcome: {"m2": "no answer in time"}}), {"m2"})
    assert why is not None
    assert "m2: no answer in time" in why
    nobody, _ = ask(report(**{outcome: {"m2": "no answer in time"}}), set())
    assert nobody is not None
    assert "none of 1 probes was answered" in nobody


def test_without_a_comparison_the_failures_are_the_new_endpoints() -> None:
    def unreachable(_tenants: Sequence[str]) -> WarmUpReport:
        raise OSError("no route")

    why = refusal(report(["m1"], failed={"m2": "boom"}), endpoint_name="new", old_endpoint="old", probe_old=unreachable)
    assert why is not None


def test_a_long_list_is_named_in_part() -> None:
    failed = {f"m{number}": "boom" for number in range(40)}
    why, _ = ask(report(["t1"], failed=failed), set(failed))
    assert why is not None
    assert "m9 and 30 more" in why
    assert len(why) < 1000
