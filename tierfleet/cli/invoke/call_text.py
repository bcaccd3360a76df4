"""Calls as text for a terminal."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tierfleet.runtime.client.batch import BatchReport, histogram, percentile
from tierfleet.runtime.client.explain import INVOKE, Explanation
from tierfleet.runtime.client.reply import Reply

_BAR_CHARACTERS = 40


def reply_line(reply: Reply) -> str:
    """Where one reply came from, in one line."""
    version = f" version {reply.model_version}" if reply.model_version else ""
    fallback = ", by fallback: the routed endpoint is gone" if reply.fell_back else ""
    attempts = f", {reply.attempts} attempts" if reply.attempts > 1 else ""
    took = f"{reply.timings.total_seconds * 1000:.1f} ms"
    return f"{reply.tenant}{version} on {reply.endpoint} (tier {reply.tier}{fallback}) in {took}{attempts}"


def batch_text(report: BatchReport) -> RenderableType:
    """Percentiles, a histogram, and who answered what."""
    parts: list[RenderableType] = []
    latencies = report.latencies_seconds
    rate = f", {report.calls / report.seconds:.0f} a second" if report.seconds else ""
    parts.append(Text(f"{report.calls} calls in {report.seconds:.1f} s{rate}: {report.failed} failed"))
    if latencies:
        shares = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
        parts.append(Text("  ".join(f"{name} {_milliseconds(percentile(latencies, share))}" for name, share in shares)))
        parts.append(_bars(report))
    for (tier, endpoint), calls in sorted(report.answered_by.items()):
        parts.append(Text(f"{calls:>7}  {tier}  {endpoint}"))
    if report.retries:
        parts.append(Text(f"{report.retries} retries"))
    if report.fell_back:
        parts.append(Text(f"{report.fell_back} answered by the default tier: their endpoint is gone", "yellow"))
    for name, calls in report.errors.items():
        parts.append(Text(f"{calls:>7}  {name}: {report.error_examples[name]}", "red"))
    return Group(*parts)


def explanation_text(explanation: Explanation) -> RenderableType:
    """Route, model, cache, then every request in order."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("route", escape(explanation.why))
    reply = explanation.first
    if reply is not None:
        facts.add_row("endpoint", reply.endpoint)
        pointer = f", pointer {reply.pointer.value}" if reply.pointer else ", pinned by the routes"
        model = explanation.target_model or reply.tenant
        facts.add_row("model", escape(f"{model} version {reply.model_version}{pointer}"))
    facts.add_row("cache", f"{explanation.cache.value}: {escape(explanation.cache_why)}")
    if reply is not None:
        times = reply.timings
        facts.add_row(
            "time",
            f"{_milliseconds(times.total_seconds)}: resolving {_milliseconds(times.resolving_seconds)}, "
            f"calling {_milliseconds(times.calling_seconds)}, waiting {_milliseconds(times.waiting_seconds)}; "
            f"{reply.attempts} attempt{'' if reply.attempts == 1 else 's'}",
        )
    if explanation.repeat is not None:
        facts.add_row("again", f"{_milliseconds(explanation.repeat.timings.total_seconds)}, right after it")
    steps = Table("at", "took", "request", "status", "outcome", box=None, padding=(0, 2, 0, 0))
    first_start = explanation.requests[0].started_seconds if explanation.requests else 0.0
    for request in explanation.requests:
        steps.add_row(
            _milliseconds(request.started_seconds - first_start),
            _milliseconds(request.seconds),
            f"{request.service} {request.operation}",
            str(request.status or "none"),
            escape(request.failure or "answered"),
        )
    headers = Table.grid(padding=(0, 2))
    for request in explanation.requests[-1:]:
        if request.operation == INVOKE:
            for mark, fields in ((">", request.sent), ("<", request.received)):
                for name, value in fields.items():
                    headers.add_row(mark, escape(name), escape(value))
    return Group(facts, Text(), steps, Text(), headers)


def _bars(report: BatchReport) -> RenderableType:
    bars = histogram(report.latencies_seconds)
    most = max(count for _, _, count in bars)
    grid = Table.grid(padding=(0, 1))
    for column_is_number in (True, True, False, True):
        grid.add_column(justify="right" if column_is_number else "left")
    for low, high, count in bars:
        filled = round(_BAR_CHARACTERS * count / most)
        bar = "█" * filled or ("▏" if count else "")
        grid.add_row(_milliseconds(low), f"to {_milliseconds(high)}", Text(bar, "cyan"), str(count))
    return grid


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
