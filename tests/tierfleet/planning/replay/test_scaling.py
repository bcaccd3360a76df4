"""Instance counts minute by minute."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from local_cloud.testing.fleets import fleet
from tierfleet.config import MultiModelTier
from tierfleet.config.hosting.multi_model import ScaleOnCache
from tierfleet.config.hosting.scaling import ScheduledCapacity
from tierfleet.planning.replay.scaling import BOOT_MINUTES, Bounds, Scaler, bounds_over, instance_minutes

# 2026-11-02 is a Monday.
_MONDAY = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp() // 60)
_TARGET = 1500
"""InvocationsPerInstance that the tier below tracks: 50 a second, half of it, in a minute."""


def _tier(**changes: object) -> MultiModelTier:
    tail = fleet().multi_model_tiers["tail"]
    return tail.model_copy(update={"scale_on_cache": None, **changes})


def _counts(tier: MultiModelTier, calls: list[int]) -> list[int]:
    scaler = Scaler.at_start(tier, _MONDAY, _MONDAY + len(calls))
    return [scaler.minute(_MONDAY + number, count) for number, count in enumerate(calls)]


def test_three_busy_minutes_bring_instances_after_their_boot_and_fifteen_calm_ones_take_them_away() -> None:
    busy = [2 * 2 * _TARGET] * 20
    counts = _counts(_tier(), busy + [10] * 30)
    asked_at = 2
    assert counts[: asked_at + BOOT_MINUTES] == [2] * (asked_at + BOOT_MINUTES)
    assert set(counts[asked_at + 1 + BOOT_MINUTES : 20]) == {4}
    assert counts[20 + 13] == 4
    assert counts[20 + 14] == counts[-1] == 2


def test_two_busy_minutes_bring_nothing() -> None:
    assert set(_counts(_tier(), [9 * _TARGET, 9 * _TARGET, 0] * 10)) == {2}


def test_just_below_the_target_nothing_changes() -> None:
    assert set(_counts(_tier(), [int(2 * _TARGET * 0.95)] * 60)) == {2}


@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=300), st.booleans(), st.data())
def test_counts_stay_within_the_bounds(calls: list[int], on_cache: bool, data: st.DataObject) -> None:
    policy = ScaleOnCache(max_unloads_per_hour=200, cooldown_seconds=60) if on_cache else None
    tier = _tier(scale_on_cache=policy)
    scaler = Scaler.at_start(tier, _MONDAY, _MONDAY + len(calls))
    for number, count in enumerate(calls):
        in_service = scaler.minute(_MONDAY + number, count)
        if number % 15 == 14:
            scaler.quarter(_MONDAY + number, data.draw(st.integers(0, 200)))
        assert tier.instances.min <= in_service <= tier.instances.max
        assert tier.instances.min <= scaler.desired <= tier.instances.max


def test_schedules_move_the_bounds_in_their_own_time_zone() -> None:
    day = ScheduledCapacity(schedule="cron(0 8 ? * MON-FRI *)", timezone="Europe/Berlin", min=4, max=8)
    night = ScheduledCapacity(schedule="cron(0 18 ? * MON-FRI *)", timezone="Europe/Berlin", min=1, max=3)
    tier = _tier()
    tier = tier.model_copy(update={"scaling": tier.scaling.model_copy(update={"schedules": {"d": day, "n": night}})})
    bounds = bounds_over(tier, _MONDAY, _MONDAY + 24 * 60)
    # Before Monday morning those of Friday evening hold. Berlin is an hour ahead in November.
    friday_evening = _MONDAY - (2 * 24 + 7) * 60
    assert bounds == [
        Bounds(friday_evening, 1, 3),
        Bounds(_MONDAY + 7 * 60, 4, 8),
        Bounds(_MONDAY + 17 * 60, 1, 3),
    ]
    counts = _counts(tier, [0] * 24 * 60)
    assert counts[0] == 2
    assert counts[7 * 60 + BOOT_MINUTES + 1] == 4
    assert counts[-1] == 1


def test_unloads_of_two_quarter_hours_add_an_instance_and_a_calm_hour_takes_it_back() -> None:
    tier = _tier(scale_on_cache=ScaleOnCache(max_unloads_per_hour=200, add_instances=1, cooldown_seconds=1800))
    scaler = Scaler.at_start(tier, _MONDAY, _MONDAY + 300)
    desired = []
    for number in range(300):
        scaler.minute(_MONDAY + number, 100)
        if number % 15 == 14:
            scaler.quarter(_MONDAY + number, 60 if number < 60 else 0)
            desired.append(scaler.desired)
    # 60 unloads a quarter are more than 50. The cooldown of half an hour lets every second quarter add one.
    assert desired[:5] == [2, 3, 3, 4, 4]
    # The first calm hour ends with the eighth quarter.
    assert desired[6:8] == [4, 3]
    assert desired[-1] == 2


def test_instance_minutes() -> None:
    assert instance_minutes([(10, 2), (15, 4)], 20) == 2 * 5 + 4 * 5
