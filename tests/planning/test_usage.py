"""Traffic as a CSV: what it means, and one clear message for what it cannot mean."""

from pathlib import Path

import pytest

from tierfleet.planning.errors import PlanningInputError
from tierfleet.planning.usage import Traffic, read_traffic


def traffic(directory: Path, text: str) -> Traffic:
    file = directory / "rates.csv"
    file.write_text(text, encoding="utf-8")
    return read_traffic(file)


def test_calls_a_day_are_spread_evenly_unless_hours_are_given(tmp_path: Path) -> None:
    even = traffic(tmp_path, "tenant,calls_per_day,note\na,240,x\nb,0,y\n")
    assert even.calls_per_hour["a"] == (10.0,) * 24
    assert even.calls_per_day("b") == even.calls_per_day("unknown") == 0
    daily = traffic(tmp_path, "tenant,hour,calls_per_day\na,9,60\na,23,4\nb,9,1\n")
    assert daily.calls_per_hour["a"][9] == 60
    assert daily.calls_per_day("a") == 64
    assert daily.together(["a", "b", "unknown"])[9] == 61
    assert daily.together(["unknown"]) == (0.0,) * 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column tenant and no column calls_per_day; it has none"),
        ("merchant,calls_per_day\n", "no column tenant; it has merchant, calls_per_day"),
        ("tenant,calls_per_day\n", "has no rows"),
        ("tenant,calls_per_day\na,-1\n", "line 2: calls_per_day = '-1'; write a number from 0"),
        ("tenant,calls_per_day\na,nan\n", "line 2: calls_per_day = 'nan'"),
        ("tenant,calls_per_day\na,many\n", "line 2: calls_per_day = 'many'"),
        ("tenant,calls_per_day\na\n", "line 2: calls_per_day = ''"),
        ("tenant,calls_per_day\nA_1,1\n", "line 2: tenant 'A_1' must match"),
        ("tenant,calls_per_day\na,1\na,2\n", "line 3: tenant a stands there twice; write one row for it"),
        ("tenant,hour,calls_per_day\na,24,1\n", "line 2: hour = '24'; write a whole number from 0 to 23"),
        ("tenant,hour,calls_per_day\na,9,1\na,9,1\n", "one row for it and hour"),
    ],
)
def test_a_broken_file_gets_one_clear_message(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PlanningInputError) as error:
        traffic(tmp_path, text)
    assert message in str(error.value)


def test_of_many_mistakes_the_first_ten_are_shown(tmp_path: Path) -> None:
    rows = "".join(f"t{number},-1\n" for number in range(30))
    with pytest.raises(PlanningInputError) as error:
        traffic(tmp_path, f"tenant,calls_per_day\n{rows}")
    assert len(str(error.value).splitlines()) == 11
    assert str(error.value).endswith("and 20 more")


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(PlanningInputError, match="cannot be read"):
        read_traffic(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanningInputError, match="cannot be read"):
        read_traffic(tmp_path / "binary.csv")
