"""SQL expressions that read one value of a trace, whatever form it has."""

from dataclasses import dataclass
from typing import Final

from tierfleet.errors import InputError
from tierfleet.planning.traffic.duckdb_session import quoted

# A time of day followed by Z, an offset or the name of a zone.
_HAS_ZONE: Final = r":\d\d(:\d\d([.,]\d+)?)?\s*([A-Za-z][A-Za-z/_]*|[+-]\d\d(:?\d\d)?)\s*$"
_IS_NUMBER: Final = r"^\s*-?\d+(\.\d+)?([eE][+-]?\d+)?\s*$"
# Numbers below these are seconds, milliseconds, microseconds; above, nanoseconds. As seconds, 1e11 is the year 5138.
_UNITS: Final = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6))
_END_OF_2099: Final = 4102444800
UNREAD_TIME: Final = "a time that cannot be read"

# A row for a message: its line, or what its columns hold.
RAW: Final = """coalesce(line, concat_ws(', ', 'tenant=' || coalesce(tenant, ''),
    'timestamp=' || coalesce(CAST(moment AS VARCHAR), ''), 'model_bytes=' || CAST(model_bytes_read AS VARCHAR),
    'latency=' || CAST(latency_read AS VARCHAR)))"""

INTEGERS: Final = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
)


UNITS: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True)
class TimeForm:
    """How a trace writes its times, where they do not say so themselves."""

    unit: str | None = None
    """Of Unix times: s, ms, us or ns; None: by their magnitude."""
    format: str | None = None
    """Of text, as in strptime, such as %d.%m.%Y %H:%M:%S; None: ISO 8601 or a number."""

    def __post_init__(self) -> None:
        """Raises InputError."""
        if self.unit is not None and self.unit not in UNITS:
            raise InputError(f"--time-unit {self.unit}: give one of {', '.join(UNITS)}")
        if self.unit is not None and self.format is not None:
            raise InputError("--time-unit is for numbers and --time-format for text: give one of them")
        if self.format is not None and "%" not in self.format:
            raise InputError(f"--time-format {self.format}: write it as in strptime, such as %d.%m.%Y %H:%M:%S")


# Numbers by their magnitude, text as ISO 8601.
INFERRED: Final = TimeForm()


def seconds_of(column: str, kind: str, timezone: str, form: TimeForm = INFERRED) -> str:
    """Unix seconds, DOUBLE, of a column of a DuckDB type; NULL where it cannot be read.

    timezone: of times without a zone. form: how they are written.
    """
    if form.format is not None:
        # The connection's TimeZone is that of times without a zone.
        return f"epoch(CAST(try_strptime(CAST({column} AS VARCHAR), {quoted(form.format)}) AS TIMESTAMPTZ))"
    if kind in INTEGERS or kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL"):
        return _from_number(f"CAST({column} AS DOUBLE)", form.unit)
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"epoch({column})"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return f"epoch(timezone({quoted(timezone)}, CAST({column} AS TIMESTAMP)))"
    text = f"CAST({column} AS VARCHAR)"
    number = _from_number(f"TRY_CAST({text} AS DOUBLE)", form.unit)
    # The connection's TimeZone is that of times without a zone.
    return (
        f"CASE WHEN regexp_matches({text}, {quoted(_IS_NUMBER)}) THEN {number} "
        f"ELSE epoch(TRY_CAST({text} AS TIMESTAMPTZ)) END"
    )


def zone_of(column: str, kind: str, form: TimeForm = INFERRED) -> str:
    """Whether a time carries a zone, BOOLEAN; NULL for numbers, which are UTC by definition."""
    if form.format is not None:
        return "true" if "%z" in form.format or "%Z" in form.format else "false"
    if kind == "VARCHAR":
        return (
            f"CASE WHEN regexp_matches({column}, {quoted(_IS_NUMBER)}) THEN NULL "
            f"ELSE regexp_matches({column}, {quoted(_HAS_ZONE)}) END"
        )
    if kind == "TIMESTAMP WITH TIME ZONE":
        return "true"
    return "false" if kind == "DATE" or kind.startswith("TIMESTAMP") else "NULL::BOOLEAN"


def given(column: str, kind: str) -> str:
    """Whether there is something to read, BOOLEAN."""
    return f"{column} IS NOT NULL AND {column} <> ''" if kind == "VARCHAR" else f"{column} IS NOT NULL"


def reason_of(has_bytes: bool, has_latency: bool) -> str:
    """Why a row cannot be used, VARCHAR; NULL for a good row. Over tenant, time_given, seconds and the rest."""
    cases = [
        ("refused IS NOT NULL", "refused"),
        ("coalesce(tenant, '') = ''", quoted("no tenant")),
        ("NOT time_given", quoted("no time")),
        ("seconds IS NULL", quoted(UNREAD_TIME)),
        (f"seconds < 0 OR seconds >= {_END_OF_2099}", quoted("a time before 1970 or after 2099")),
    ]
    for present, column, what in ((has_bytes, "model_bytes", "size"), (has_latency, "latency", "latency")):
        if present:
            unread = f"{column} IS NULL AND {column}_read IS NOT NULL AND CAST({column}_read AS VARCHAR) <> ''"
            cases.append((f"{unread} OR isinf({column})", quoted(f"a {what} that is no number")))
            cases.append((f"{column} < 0", quoted(f"a negative {what}")))
    return "CASE " + " ".join(f"WHEN {when} THEN {then}" for when, then in cases) + " END"


def _from_number(value: str, unit: str | None) -> str:
    if unit is not None:
        return f"{value} / {UNITS[unit]:.0f}"
    cases = " ".join(f"WHEN abs({value}) < {limit:.0f} THEN {value} / {unit:.0f}" for limit, unit in _UNITS)
    return f"CASE {cases} ELSE {value} / 1000000000 END"
