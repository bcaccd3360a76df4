"""CloudWatch Logs' filter patterns: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.services.cloudwatch.log_patterns import PatternError, matcher

ENDED = json.dumps({"message": "warm-up ended", "failed": 2, "tier": "tail", "ok": True, "none": None, "l": [{"a": 1}]})


@pytest.mark.parametrize(
    ("pattern", "message", "matches"),
    [
        ("", "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "an error here", False),
        ("ERROR loading", "loading: ERROR", True),
        ("ERROR loading", "ERROR", False),
        ('"Prediction failed"', "x Prediction failed y", True),
        ('"Prediction failed"', "failed Prediction", False),
        ("?ERROR ?Error ?Traceback", "Traceback (most recent", True),
        ("?ERROR ?Error ?Traceback", "all is well", False),
        ('?"Prediction failed" ?"No worker"', "No worker is available", True),
        ("ERROR -timeout", "ERROR timeout", False),
        ("ERROR -timeout", "ERROR other", True),
        ("ERROR ?other", "ERROR", True),
        ("%4[0-9][0-9]%", "status 404", True),
        ("%4[0-9][0-9]%", "status 200", False),
        (r'"a \"b\""', 'x a "b" y', True),
        ('{ $.message = "warm-up ended" }', ENDED, True),
        ('{ $.message = "warm-up failed" || $.message = "warm-up ended" }', ENDED, True),
        ('{ $.message = "warm-up ended" && $.failed > 2 }', ENDED, False),
        ('{ ($.failed >= 2) && ($.tier != "whale") }', ENDED, True),
        ('{ $.message = "warm-up *" }', ENDED, True),
        ("{ $.message = %warm-up% }", ENDED, True),
        ("{ $.failed = 2 }", ENDED, True),
        ("{ $.failed = 3 }", ENDED, False),
        ("{ $.ok IS TRUE }", ENDED, True),
        ("{ $.none IS NULL }", ENDED, True),
        ("{ $.gone NOT EXISTS }", ENDED, True),
        ("{ $.l[0].a = 1 }", ENDED, True),
        ("{ $.l[1].a = 1 }", ENDED, False),
        ('{ $.gone != "x" }', ENDED, False),
        ("{ $.failed = 2 }", "no JSON", False),
        ("{ $.failed = 2 }", "[]", False),
    ],
)
def test_a_pattern_matches_what_aws_says(pattern: str, message: str, matches: bool) -> None:
    assert matcher(pattern)(message) is matches


@pytest.mark.parametrize(
    "pattern",
    ["[ip, user]", "{ $.a = ", "{ $.a }", "{ = 3 }", "{ $.a > x }", '{ $.a = "x }', "%[%", '"open', "{ ($.a = 1 }"],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        matcher(pattern)


@given(pattern=st.text(max_size=60), message=st.text(max_size=60))
def test_any_text_is_a_pattern_or_refused(pattern: str, message: str) -> None:
    try:
        matches = matcher(pattern)
    except PatternError:
        return
    assert matches(message) in (True, False)


@given(st.lists(st.text("abcXYZ 019", min_size=1, max_size=9), min_size=1, max_size=5))
def test_quoted_terms_are_plain_text(terms: list[str]) -> None:
    message = "|".join(terms)
    assert matcher(" ".join(f'"{term}"' for term in terms))(message)
    assert matcher(" ".join(f'?"{term}"' for term in terms))(terms[-1])
