"""When schedules fire, and how many instances follow from them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud.testing.fleets import fleet
from tierfleet.config.schedule import fire_times
from tierfleet.cost.instance_hours import mean_instances

YEAR = 2027


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("cron(15 0 * * ? *)", 365),
        ("cron(45 7 ? * MON-FRI *)", 261),
        ("cron(0/15 8-10 ? * SAT-SUN *)", 104 * 12),
        ("cron(0 0,12 1 1-12/3 ? *)", 8),
        ("cron(0 0 L * ? *)", 12),
        ("cron(0 0 ? * 6L *)", 12),
        ("cron(0 0 ? * MON#5 *)", 4),
        ("cron(0 0 ? JAN L *)", 5),
        ("cron(0 0 LW * ? *)", 12),
        ("cron(0 0 31W * ? *)", 12),
        ("cron(0 0 * * ? 2026)", 0),
        ("rate(6 hours)", 365 * 4),
        ("rate(1 day)", 365),
        ("at(2027-05-01T00:00:00)", 0),
    ],
)
def test_firings_in_a_year(expression: str, count: int) -> None:
    times = fire_times(expression.replace("MON#5", "2#5"), "UTC", YEAR)
    assert len(times) == count
    assert list(times) == sorted(times)


def test_a_cron_keeps_the_local_time_through_summer() -> None:
    times = fire_times("cron(45 7 ? * MON-FRI *)", "Europe/London", YEAR)
    assert {moment.hour for moment in times if moment.month == 1} == {7}
    assert {moment.hour for moment in times if moment.month == 7} == {6}


def test_days_by_name_of_the_calendar() -> None:
    assert fire_times("cron(0 9 15W 5 ? *)", "UTC", YEAR) == (datetime(2027, 5, 14, 9, tzinfo=UTC),)
    assert fire_times("cron(0 9 ? 5 6#3 *)", "UTC", YEAR) == (datetime(2027, 5, 21, 9, tzinfo=UTC),)
    assert fire_times("cron(0 9 ? 5 6L *)", "UTC", YEAR) == (datetime(2027, 5, 28, 9, tzinfo=UTC),)


def scheduled(schedules: dict[str, dict[str, object]], **instances: int):  # type: ignore[no-untyped-def]
    changes = {"instances": {"min": 2, "max": 6, "initial": 2, **instances}, "scaling": {"schedules": schedules}}
    return fleet(tiers={"whale": changes}).tiers["whale"]


def test_without_schedule_and_traffic_an_endpoint_rests_at_its_lower_bound() -> None:
    mean = mean_instances(scheduled({}))
    assert (mean.at_min, mean.expected, mean.at_max) == (2, 2, 6)


def test_capacity_by_the_clock_is_averaged_over_a_year() -> None:
    tier = scheduled(
        {
            "morning": {"schedule": "cron(0 8 * * ? *)", "timezone": "UTC", "min": 4, "max": 6},
            "evening": {"schedule": "cron(0 20 * * ? *)", "timezone": "UTC", "min": 2, "max": 3},
        }
    )
    mean = mean_instances(tier)
    assert mean.at_min == pytest.approx((12 * 4 + 12 * 2) / 24, abs=1e-9)
    assert mean.at_max == pytest.approx((12 * 6 + 12 * 3) / 24, abs=1e-9)


def test_half_hours_count_half() -> None:
    tier = scheduled(
        {
            "on": {"schedule": "cron(30 8 * * ? *)", "timezone": "UTC", "min": 5, "max": 6},
            "off": {"schedule": "cron(0 9 * * ? *)", "timezone": "UTC", "min": 1, "max": 6},
        }
    )
    assert mean_instances(tier).at_min == pytest.approx((0.5 * 5 + 23.5 * 1) / 24, abs=1e-9)


def test_traffic_needs_instances_hour_by_hour() -> None:
    tier = scheduled({})
    target = tier.scaling.target_invocations_per_minute
    calls = [0.0] * 24
    calls[9] = 60 * target * 4
    calls[10] = 60 * target * 4 + 1
    calls[11] = 60 * target * 100
    mean = mean_instances(tier, calls)
    assert mean.expected == pytest.approx((21 * 2 + 4 + 5 + 6) / 24)
    # At eleven o'clock a hundred would be needed, and six may be.
    assert mean.short_share == pytest.approx(1 / 24)


@settings(max_examples=40)
@given(
    calls=st.lists(st.floats(0, 1e8), min_size=24, max_size=24),
    least=st.integers(1, 5),
    more=st.integers(0, 10),
    hours=st.lists(st.integers(0, 23), min_size=2, max_size=2, unique=True),
)
def test_the_mean_lies_within_the_bounds(calls: list[float], least: int, more: int, hours: list[int]) -> None:
    schedules = {
        f"s{number}": {"schedule": f"cron(7 {hour} * * ? *)", "min": least + number, "max": least + more + number}
        for number, hour in enumerate(hours)
    }
    mean = mean_instances(scheduled(schedules, min=least, max=least + more, initial=least), calls)
    assert least - 1e-9 <= mean.at_min <= mean.expected + 1e-9
    assert mean.expected <= mean.at_max + 1e-9 <= least + more + 1 + 2e-9
