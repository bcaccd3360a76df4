"""Which column of a trace is what: as told, or by its usual name."""

from dataclasses import dataclass, fields

from tierfleet.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The names of a trace's columns; None looks for a usual name.

    tenant: who is asked for. timestamp: when; ISO 8601 with or without a zone, or a Unix time in s, ms, us or ns.
    model_bytes: size of the tenant's artefact. latency: milliseconds of the call. The last two may be missing.
    """

    tenant: str | None = None
    timestamp: str | None = None
    model_bytes: str | None = None
    latency: str | None = None


_USUAL = {
    "tenant": ("tenant", "tenant_id", "merchant", "merchant_id", "model", "model_id", "target_model", "targetmodel"),
    "timestamp": ("timestamp", "time", "ts", "datetime", "event_time", "eventtime", "requested_at", "seconds"),
    "model_bytes": ("model_bytes", "bytes", "size", "size_bytes", "model_size"),
    "latency": ("latency", "latency_ms", "latency_milliseconds", "duration_ms"),
}
_NEEDED = ("tenant", "timestamp")
# Usual names of columns that hold TargetModel, which begins with the tenant.
KEY_COLUMNS = ("target_model", "targetmodel")


def find_columns(source: str, present: list[str], asked: Columns) -> dict[str, str]:
    """The column of each role that the trace has. Raises InputError with every column that is missing."""
    by_folded_name = {name.strip().lower(): name for name in reversed(present)}
    matches, missing = {}, []
    for role in (field.name for field in fields(Columns)):
        told = getattr(asked, role)
        flag = f"--{role.replace('_', '-')}-column"
        if told is not None:
            if told in present or told.strip().lower() in by_folded_name:
                matches[role] = told if told in present else by_folded_name[told.strip().lower()]
            else:
                missing.append(f"no column {told!r}, which {flag} names")
            continue
        usual = next((by_folded_name[name] for name in _USUAL[role] if name in by_folded_name), None)
        if usual is not None:
            matches[role] = usual
        elif role in _NEEDED:
            missing.append(f"no {role} column (looked for {', '.join(_USUAL[role])}); name it with {flag}")
    if missing:
        raise InputError(f"{source}: {'; '.join(missing)}; its columns are {', '.join(present)}")
    return matches
