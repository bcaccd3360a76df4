"""Calls as text for a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierfleet.columns import in_columns, sentence
from tierfleet.runtime.client.api_trace import TracedRequest
from tierfleet.runtime.client.batch import BatchReport, histogram, percentile
from tierfleet.runtime.client.explain import INVOKE, Explanation
from tierfleet.runtime.client.reply import Reply

_BAR_CHARACTERS = 40


def reply_line(reply: Reply) -> str:
    """The source of a reply, in one line."""
    version = f" version {reply.model_version}" if reply.model_version else ""
    fallback = ", as a fallback: the endpoint in the routes does not exist" if reply.fell_back else ""
    attempts = f", {reply.attempts} attempts" if reply.attempts > 1 else ""
    took = f"{reply.timings.total_seconds * 1000:.1f} ms"
    container = f", container {reply.container}" if reply.container else ""
    return f"{reply.tenant}{version} on {reply.endpoint}{container} (tier {reply.tier}{fallback}) in {took}{attempts}"


def batch_text(report: BatchReport, width: int | None) -> RenderableType:
    """Percentiles, a histogram, and the calls by endpoint. width: of the terminal; None: no terminal."""
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
        parts.append(Text(f"{report.fell_back} answered by the default tier: the endpoint does not exist", "yellow"))
    for name, calls in report.errors.items():
        parts.append(Text(sentence(f"{name}: {report.error_examples[name]}", width, first=f"{calls:>7}  "), "red"))
    return Group(*parts)


def explanation_text(explanation: Explanation, width: int | None) -> RenderableType:
    """Route, model, cache, then every request in order. width: of the terminal; None: no terminal."""
    facts = [("route", explanation.why)]
    reply = explanation.first
    if reply is not None:
        facts.append(("endpoint", reply.endpoint))
        pointer = f", pointer {reply.pointer.value}" if reply.pointer else ", pinned by the routes"
        model = explanation.target_model or reply.tenant
        facts.append(("model", f"{model} version {reply.model_version}{pointer}"))
    facts.append(("cache", f"{explanation.cache.value}: {explanation.cache_why}"))
    if reply is not None:
        times = reply.timings
        took = (
            f"{_milliseconds(times.total_seconds)}: resolving {_milliseconds(times.resolving_seconds)}, "
            f"calling {_milliseconds(times.calling_seconds)}, waiting {_milliseconds(times.waiting_seconds)}; "
            f"{reply.attempts} attempt{'' if reply.attempts == 1 else 's'}"
        )
        facts.append(("time", took))
    if explanation.repeat is not None:
        facts.append(("again", f"{_milliseconds(explanation.repeat.timings.total_seconds)}, right after it"))
    lines = [sentence(text, width, first=f"{name:<8}  ") for name, text in facts]
    lines += ["", *_steps(explanation.requests, width), *_headers(explanation.requests, width)]
    return Text("\n".join(lines))


def _steps(requests: Sequence[TracedRequest], width: int | None) -> list[str]:
    """A row for each request, followed by the reason if it failed."""
    first_start = requests[0].started_seconds if requests else 0.0
    rows = [
        (
            _milliseconds(request.started_seconds - first_start),
            _milliseconds(request.seconds),
            f"{request.service} {request.operation}",
            str(request.status or "none"),
            "failed" if request.failure else "answered",
        )
        for request in requests
    ]
    head, *lines = in_columns([("at", "took", "request", "status", "outcome"), *rows], width, shrink=(2,))
    steps = [head]
    for line, request in zip(lines, requests, strict=True):
        steps += [line, *([sentence(request.failure, width, first=" " * 4)] if request.failure else [])]
    return steps


def _headers(requests: Sequence[TracedRequest], width: int | None) -> list[str]:
    """The headers of InvokeEndpoint, sent and received, if it was the last request."""
    fields = [
        (mark, name, value)
        for request in requests[-1:]
        if request.operation == INVOKE
        for mark, sent in ((">", request.sent), ("<", request.received))
        for name, value in sent.items()
    ]
    return ["", *in_columns(fields, width, shrink=(2,))] if fields else []


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
