"""Traffic as a CSV: what it means, and one clear message for what it cannot mean."""

from pathlib import Path

import pytest

from tierfleet.cost.usage import Traffic, read_traffic
from tierfleet.errors import InputError


def traffic(directory: Path, text: str) -> Traffic:
    file = directory / "rates.csv"
    file.write_text(text, encoding="utf-8")
    return read_traffic(file)


def test_requests_a_day_are_spread_evenly(tmp_path: Path) -> None:
    even = traffic(tmp_path, "tenant,requests_per_day,model_bytes\na,240,7\nb,0,\n")
    assert even.calls_per_hour["a"] == (10.0,) * 24
    assert even.calls_per_day("b") == even.calls_per_day("unknown") == 0
    assert even.together(["a", "b", "unknown"]) == (10.0,) * 24
    assert even.together(["unknown"]) == (0.0,) * 24


def test_a_rates_table_becomes_one_usual_day(tmp_path: Path) -> None:
    """Seven days of a trace: the requests of an hour, on working days and weekends, divided by seven."""
    head = "tenant,weekend,hour_of_day,requests,first_seconds,last_seconds,gaps_within_10_seconds\n"
    week = f"0,{7 * 86_400},1"
    usage = traffic(tmp_path, f"{head}a,0,9,500,{week}\na,1,9,200,{week}\na,0,10,70,{week}\nb,0,9,7,{week}\n")
    assert usage.calls_per_hour["a"][9] == pytest.approx(100)
    assert usage.calls_per_hour["a"][10] == pytest.approx(10)
    assert usage.calls_per_day("a") == pytest.approx(110)
    assert usage.together(["a", "b"])[9] == pytest.approx(101)


TABLE = "tenant,weekend,hour_of_day,requests,first_seconds,last_seconds\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column tenant and no column requests_per_day; it has none"),
        ("merchant,requests_per_day\n", "no column tenant; it has merchant, requests_per_day"),
        ("tenant,requests_per_day\n", "has no rows"),
        ("tenant,requests_per_day\na,-1\n", "line 2: requests_per_day = '-1'; write a number from 0"),
        ("tenant,requests_per_day\na,nan\n", "line 2: requests_per_day = 'nan'"),
        ("tenant,requests_per_day\na,many\n", "line 2: requests_per_day = 'many'"),
        ("tenant,requests_per_day\na\n", "line 2: requests_per_day = ''"),
        ("tenant,requests_per_day\nA_1,1\n", "tenant 'A_1' must match"),
        ("tenant,requests_per_day\na,1\na,2\n", "line 3: duplicate tenant a, as in line 2; write one row for it"),
        (TABLE + "a,0,24,1,0,9\n", "line 2: hour_of_day = '24'; write a whole number from 0 to 23"),
        (TABLE + "a,0,9,x,0,9\n", "line 2: requests = 'x'"),
        (TABLE + "a,0,9,1,9,9\n", "last_seconds = 9 is not after first_seconds"),
        (TABLE + "a,0,9,1,0,9\na,0,9,1,0,9\n", "line 3: duplicate tenant a in hour 9, as in line 2"),
    ],
)
def test_a_broken_file_gets_one_clear_message(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        traffic(tmp_path, text)
    assert message in str(error.value)


def test_of_many_mistakes_the_first_ten_are_shown(tmp_path: Path) -> None:
    rows = "".join(f"t{number},-1\n" for number in range(30))
    with pytest.raises(InputError) as error:
        traffic(tmp_path, f"tenant,requests_per_day\n{rows}")
    assert len(str(error.value).splitlines()) == 11
    assert str(error.value).endswith("and 20 more")


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_traffic(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_traffic(tmp_path / "binary.csv")
