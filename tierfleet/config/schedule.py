"""The schedule expressions that EventBridge Scheduler and Application Auto Scaling take."""

import re

_RATE = re.compile(r"rate\(([1-9][0-9]*) (minute|hour|day)(s?)\)")
_AT = re.compile(r"at\([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\)")
_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_DAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"
# (name, lowest, highest, names, the field's own extra forms)
_CRON_FIELDS = (
    ("minutes", 0, 59, "", ""),
    ("hours", 0, 23, "", ""),
    ("day-of-month", 1, 31, "", r"\?|L|[0-9]{1,2}W|LW"),
    ("month", 1, 12, _MONTHS, ""),
    ("day-of-week", 1, 7, _DAYS, r"\?|L|[1-7]L|[1-7]#[1-5]"),
    ("year", 1970, 2199, "", ""),
)


def check_schedule(expression: str) -> str:
    """Return the expression, or raise ValueError with one sentence on what is wrong with it.

    Checks what CloudFormation's validators let through and AWS then refuses: `rate(1 hours)`, a cron of five
    fields, a number out of range, two days fields set.
    Source: docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """
    if expression.startswith("cron(") and expression.endswith(")"):
        _check_cron(expression[5:-1].split())
    elif rate := _RATE.fullmatch(expression):
        if (rate[1] == "1") == bool(rate[3]):
            raise ValueError(
                "rate takes the singular for 1 and the plural otherwise; write rate(1 hour) or rate(6 hours)"
            )
    elif not _AT.fullmatch(expression):
        raise ValueError("not a schedule; use cron(45 7 ? * MON-FRI *), rate(6 hours) or at(2027-09-14T07:45:00)")
    return expression


def _check_cron(fields: list[str]) -> None:
    if len(fields) != len(_CRON_FIELDS):
        names = ", ".join(name for name, *_ in _CRON_FIELDS)
        raise ValueError(f"cron takes six fields ({names}), this one has {len(fields)}; write cron(45 7 ? * MON-FRI *)")
    for value, (name, lowest, highest, names, extra) in zip(fields, _CRON_FIELDS, strict=True):
        if not all(_is_cron_item(item, lowest, highest, names, extra) for item in value.split(",")):
            raise ValueError(
                f"cron field {name} takes {lowest} to {highest}, *, lists, ranges and steps; mend {value!r}"
            )
    if [fields[2], fields[4]].count("?") != 1:
        raise ValueError(
            "cron takes ? in exactly one of day-of-month and day-of-week; write ? in the one you leave open"
        )


def _is_cron_item(item: str, lowest: int, highest: int, names: str, extra: str) -> bool:
    if extra and re.fullmatch(extra, item):
        return True
    span, _, step = item.partition("/")
    if step and not step.isdigit():
        return False
    if span == "*":
        return True
    ends = span.split("-")
    if len(ends) > 2:
        return False
    if names and all(re.fullmatch(names, end) for end in ends):
        return True
    return all(end.isdigit() and lowest <= int(end) <= highest for end in ends)
