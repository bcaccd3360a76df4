"""Schedule expressions, as EventBridge Scheduler and Application Auto Scaling take them: one parser for all."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfleet.config.schedule import Rate, RecurringCron, check_schedule, check_timezone, parse_schedule, time_zones


@pytest.mark.parametrize(
    "expression",
    [
        "cron(45 7 ? * MON-FRI *)",
        "cron(15 0,6,12,18 * * ? *)",
        "cron(0/15 8-18 ? JAN-JUN,DEC 2 2027-2030)",
        "cron(*/5 * * * ? *)",
        "cron(0 9 1/7 1/3 ? 2027/2)",
        "cron(0 9 L * ? *)",
        "cron(0 9 LW * ? *)",
        "cron(0 9 15W * ? *)",
        "cron(0 9 ? * L *)",
        "cron(0 9 ? * 6L 2027-2028)",
        "cron(0 9 ? * 6#3 *)",
        "cron(0 9 ? * MON#1 *)",
        "cron(0 9 ? * SAT-SUN *)",
        "cron(0 9 29 2 ? *)",
        "rate(1 minute)",
        "rate(1 hour)",
        "rate(15 minutes)",
        "at(2027-09-14T07:45:00)",
        "at(2028-02-29T23:59:59)",
    ],
)
def test_a_valid_expression_is_returned_as_it_is(expression: str) -> None:
    assert check_schedule(expression) == expression


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("rate(1 hours)", "singular"),
        ("rate(2 hour)", "plural"),
        ("rate(0 minutes)", "not a schedule"),
        ("rate(05 minutes)", "not a schedule"),
        ("rate(-5 minutes)", "not a schedule"),
        ("rate(1.5 hours)", "not a schedule"),
        ("rate(1 week)", "not a schedule"),
        ("rate(999999999 days)", "longer than all the years"),
        ("rate(99999999999999999999 days)", "not a schedule"),
        ("cron(45 7 ? * MON-FRI)", "six fields"),
        ("cron(0 45 7 ? * MON-FRI *)", "six fields"),
        ("cron()", "six fields"),
        ("cron(60 7 ? * MON-FRI *)", "minutes takes 0 to 59"),
        ("cron(45 24 ? * * *)", "hours takes 0 to 23"),
        ("cron(0 9 0 * ? *)", "day-of-month takes 1 to 31"),
        ("cron(0 9 32 * ? *)", "day-of-month"),
        ("cron(0 9 0W * ? *)", "day-of-month"),
        ("cron(0 9 32W * ? *)", "day-of-month"),
        ("cron(0 9 15W,20 * ? *)", "day-of-month"),
        ("cron(0 9 L,15 * ? *)", "day-of-month"),
        ("cron(0 9 L-3 * ? *)", "day-of-month"),
        ("cron(0 9 W * ? *)", "day-of-month"),
        ("cron(0 9 * 13 ? *)", "month takes 1 to 12"),
        ("cron(0 9 * JANUARY ? *)", "month"),
        ("cron(0 9 ? * 0 *)", "day-of-week"),
        ("cron(0 9 ? * 8 *)", "day-of-week"),
        ("cron(0 9 ? * 2/2 *)", "no steps"),
        ("cron(0 9 ? * */2 *)", "no steps"),
        ("cron(0 9 ? * MON/2 *)", "no steps"),
        ("cron(0 9 ? * MON-FRI/2 *)", "no steps"),
        ("cron(0 9 ? * 3#1,6#3 *)", "day-of-week"),
        ("cron(0 9 ? * 3#6 *)", "day-of-week"),
        ("cron(0 9 ? * 3#0 *)", "day-of-week"),
        ("cron(0 9 * * ? 1969)", "year takes 1970 to 2199"),
        ("cron(0 9 * * ? 2028-2027)", "rising ranges"),
        ("cron(0 9 * * ? 2200)", "year"),
        ("cron(*/0 9 ? * MON *)", "minutes"),
        ("cron(0/60 9 ? * MON *)", "minutes"),
        ("cron(/5 9 ? * MON *)", "minutes"),
        ("cron(5/ 9 ? * MON *)", "minutes"),
        ("cron(5/5/5 9 ? * MON *)", "minutes"),
        ("cron(1,,2 9 ? * MON *)", "minutes"),
        ("cron(1, 9 ? * MON *)", "minutes"),
        ("cron(*,5 9 ? * MON *)", "minutes"),
        ("cron(*-5 9 ? * MON *)", "minutes"),
        ("cron(-5 9 ? * MON *)", "minutes"),
        ("cron(? 9 ? * MON *)", "minutes"),
        ("cron(٣ 9 ? * MON *)", "minutes"),
        ("cron(45 7 * * MON-FRI *)", "exactly one"),
        ("cron(45 7 * * * *)", "exactly one"),
        ("cron(45 7 ? * ? *)", "exactly one"),
        ("cron(45 7 ? * FUN *)", "day-of-week"),
        ("cron(45 7 ? * mon *)", "day-of-week"),
        ("cron(45 7 ? * MON-FRI-SUN *)", "day-of-week"),
        ("cron(45/x 7 ? * MON *)", "minutes"),
        ("cron(0 9 30 2 ? *)", "never fires"),
        ("cron(0 9 31 4,6,9,11 ? *)", "never fires"),
        ("cron(0 9 29 2 ? 2027)", "never fires"),
        ("cron(0\t9 * * ? *)", "six fields"),
        ("cron(45 7 ? * MON-FRI *)\n", "not a schedule"),
        (" cron(45 7 ? * MON-FRI *)", "not a schedule"),
        ("CRON(45 7 ? * MON-FRI *)", "not a schedule"),
        ("45 7 * * 1-5", "not a schedule"),
        ("at(tomorrow)", "not a schedule"),
        ("at(2027-02-30T25:61:61)", "no such date"),
        ("at(2028-02-30T00:00:00)", "no such date"),
        ("at(2027-02-29T00:00:00)", "no such date"),
        ("at(2027-01-01T24:00:00)", "no such date"),
        ("at(2027-01-01T00:00:60)", "no such date"),
        ("at(2027-01-01T00:00)", "not a schedule"),
        ("at(2027-01-01T00:00:00Z)", "not a schedule"),
        ("at(2027-01-01 00:00:00)", "not a schedule"),
        ("at(1969-12-31T23:59:59)", "1970 to 2199"),
        ("at(2200-01-01T00:00:00)", "1970 to 2199"),
        ("at(0000-01-01T00:00:00)", "no such date"),
        ("cron(" + ",".join(["1"] * 200) + " 9 ? * MON *)", "at most 256"),
        ("", "not a schedule"),
    ],
)
def test_an_invalid_expression_is_refused_in_one_sentence(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        check_schedule(expression)
    assert "; " in str(raised.value), "says what to do"


@given(st.text(alphabet="cronate()0123456789 */,-?LW#MONFRI", max_size=40))
def test_any_text_is_either_valid_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert check_schedule(text) == text


@pytest.mark.parametrize("name", ["Europe/London", "UTC", "Etc/GMT+5", "Asia/Kolkata", "America/Argentina/Ushuaia"])
def test_iana_time_zones_are_taken(name: str) -> None:
    assert check_timezone(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("Factory", "localtime", "posix/Europe/London", "right/UTC", "posixrules", "London", "europe/london", "EDT"),
        *("+01:00", "", "../../etc/passwd", "/etc/localtime", "Europe/", "Europe", "tzdata.zi", "UTC\0"),
        *("Europe/London\n", "x" * 300),
    ],
)
def test_what_is_no_iana_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not an IANA time zone"):
        check_timezone(name)


def test_every_time_zone_can_be_loaded() -> None:
    assert len(time_zones()) > 500
    for name in time_zones():
        ZoneInfo(name)


numbers = st.integers(0, 59)
crons = st.builds(
    lambda minute, hour, days, month: f"cron({minute} {hour} {days[0]} {month} {days[1]} *)",
    st.one_of(numbers.map(str), st.just("*/20"), st.just("7/25"), st.just("3,4,5")),
    st.one_of(st.integers(0, 23).map(str), st.just("8-10"), st.just("*/6")),
    st.one_of(
        st.integers(1, 31).map(lambda day: (str(day), "?")),
        st.sampled_from([("L", "?"), ("LW", "?"), ("15W", "?"), ("*", "?"), ("1/9", "?"), ("2-4", "?")]),
        st.sampled_from([("?", "MON-FRI"), ("?", "SAT-SUN"), ("?", "L"), ("?", "6L"), ("?", "3#2"), ("?", "2,4")]),
    ),
    st.sampled_from(["*", "2,3", "OCT", "3/4"]),
)


def matches(cron: str, moment: datetime) -> bool:
    """Whether a wall-clock time matches, field by field: another way to read the same grammar."""
    minute, hour, day, month, weekday, _ = cron[5:-1].split()
    last = (moment.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    working = [d for d in range(1, last.day + 1) if moment.replace(day=d).weekday() < 5]
    names = dict(zip(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], range(1, 8), strict=True))

    def has(field: str, value: int, highest: int) -> bool:
        for item in field.split(","):
            span, _, step = item.partition("/")
            ends = [names.get(end) or (10 if end == "OCT" else int(end)) for end in span.split("-") if end != "*"]
            first, end = (ends[0] if ends else None), (ends[1] if len(ends) > 1 else None)
            if first is None:
                first, end = (0 if highest in (59, 23) else 1), highest
            elif end is None:
                end = highest if step else first
            inside = first <= value <= end if first <= end else value >= first or value <= end
            if inside and (value - first) % int(step or 1) == 0:
                return True
        return False

    if not (has(minute, moment.minute, 59) and has(hour, moment.hour, 23) and has(month, moment.month, 12)):
        return False
    of_week = moment.isoweekday() % 7 + 1
    if weekday == "L":
        return of_week == 7
    if match := re.fullmatch("([1-7])L", weekday):
        return of_week == int(match[1]) and moment.day + 7 > last.day
    if match := re.fullmatch("([1-7])#([1-5])", weekday):
        return of_week == int(match[1]) and (moment.day - 1) // 7 + 1 == int(match[2])
    if weekday != "?":
        return has(weekday, of_week, 7)
    if day == "L":
        return moment.day == last.day
    if day == "LW":
        return moment.day == working[-1]
    if day == "15W":
        return moment.day == min(working, key=lambda d: (abs(d - 15), d))
    return has(day, moment.day, 31)


@given(crons, st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)))
def test_the_next_time_is_the_first_minute_that_matches(cron: str, after: datetime) -> None:
    with suppress(ValueError):
        schedule = parse_schedule(cron)
        assert isinstance(schedule, RecurringCron)
        fire_time = schedule.next_fire(after.replace(tzinfo=UTC), ZoneInfo("UTC"))
        assert fire_time is not None
        assert fire_time > after.replace(tzinfo=UTC)
        assert matches(cron, fire_time.replace(tzinfo=None))
        minute = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for _ in range(3000):
            if minute >= fire_time.replace(tzinfo=None):
                break
            assert not matches(cron, minute), minute
            minute += timedelta(minutes=1)


def test_summer_time_skips_what_does_not_exist_and_fires_once_what_happens_twice() -> None:
    """docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html, daylight saving time."""
    zone = ZoneInfo("Europe/London")
    schedule = parse_schedule("cron(30 1 * * ? *)")
    assert isinstance(schedule, RecurringCron)
    spring = [moment for moment in schedule.fires(zone, 2027, 2027) if moment.month == 3]
    assert len(spring) == 30
    autumn = [moment for moment in schedule.fires(zone, 2027, 2027) if moment.month == 10]
    assert len(autumn) == 31
    assert schedule.next_fire(datetime(2027, 3, 28, 0, 0, tzinfo=UTC), zone) == datetime(2027, 3, 29, 0, 30, tzinfo=UTC)


@given(st.integers(1, 10_000), st.integers(0, 10**7))
def test_a_rate_fires_whole_intervals_after_its_creation(minutes: int, seconds: int) -> None:
    created = datetime(2027, 1, 1, tzinfo=UTC)
    after = created + timedelta(seconds=seconds)
    fire_time = Rate(timedelta(minutes=minutes)).next_fire(after, created)
    assert (fire_time - created) % timedelta(minutes=minutes) == timedelta(0)
    assert after < fire_time <= after + timedelta(minutes=minutes)
