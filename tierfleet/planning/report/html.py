"""A plan as one HTML page: no network, no script; for a screen, a phone and a printer."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files

from tierfleet.planning.plan import Plan
from tierfleet.planning.report.charts import cost_chart, latency_chart, miss_ratio_chart, traffic_chart
from tierfleet.planning.report.text import headline, hit_ratio_text, option_text, traffic_text
from tierfleet.planning.search.fleet_option import Comparison
from tierfleet.text import dollars, gibibytes, milliseconds, percent, points

_MOST_DECISIONS = 40


def report_html(plan: Plan) -> str:
    """The whole page."""
    css = (files("tierfleet") / "data/plan_report.css").read_text(encoding="utf-8")
    body = "\n".join(_body(plan))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Plan of {escape(plan.fleet)}</title>\n<style>\n{css}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _body(plan: Plan) -> Iterator[str]:
    yield f"<h1>Plan of {escape(plan.fleet)}</h1>"
    source = escape(plan.traffic.source)
    yield f'<p class="soft">{escape(plan.region)}, {escape(plan.container)}; traffic from {source}</p>'
    yield f"<p>{escape(traffic_text(plan))}.</p>"
    yield f"<p>Required: {escape(plan.service_levels.requirements)}.</p>"
    yield _answer(plan)
    yield _figures(plan)
    yield '<div class="charts">'
    if plan.traffic.curve:
        yield _figure("Miss-ratio curve of the shared tier, as one cache", miss_ratio_chart(plan))
    yield _figure("Cost against hit ratio", cost_chart(plan))
    yield _figure("Traffic by hour and tier", traffic_chart(plan))
    if plan.service_levels.latencies:
        yield _figure(f"Latency percentiles{_outside(plan)}", latency_chart(plan))
    yield "</div>"
    yield from _moves(plan)
    yield from _decisions(plan)
    yield from _alternatives(plan)
    yield from _claims(plan)
    yield from _sensitivity(plan)
    yield from _costs(plan)
    yield from _list("Notices", plan.notes.notices)
    yield from _list("Assumptions", plan.notes.assumptions)
    yield from _list("Prices, with their dates", plan.money.prices_of)


def _answer(plan: Plan) -> str:
    answer = plan.answer
    none = "" if answer.chosen else " none"
    lines = [f"<strong>{escape(headline(plan))}</strong>"]
    if answer.runner_up is not None and answer.why_runner_up_lost is not None:
        lines.append(f"Next: {escape(option_text(answer.runner_up))}: {escape(answer.why_runner_up_lost)}.")
    if answer.cheaper is not None:
        lines.append(
            f"Cheaper: {escape(option_text(answer.cheaper))}, but {escape('; '.join(answer.cheaper.failures))}."
        )
    paragraphs = "".join(f"<p>{line}</p>" for line in lines)
    return f'<div class="answer{none}">{paragraphs}</div>'


def _figures(plan: Plan) -> str:
    shown = plan.answer.shown
    loads = next((times.loads for times in plan.service_levels.latencies if times.loads is not None), None)
    named = {
        "a month": dollars(shown.usd),
        "today": dollars(plan.answer.today.usd),
        "hit ratio": hit_ratio_text(shown),
        "loads an hour": f"{shown.loads_per_hour:,.0f}",
        "warm p95": "" if shown.warm_p95_seconds is None else milliseconds(shown.warm_p95_seconds),
        "cold p95": "next to none" if loads is None else milliseconds(loads.p95),
        "models in memory": f"{min(shown.models_per_instance * shown.instances, plan.traffic.tail_tenants):,}"
        f" of {plan.traffic.tail_tenants:,}",
        "memory for models": gibibytes(shown.model_memory_mib),
    }
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in named.items())
    return f'<dl class="figures">{cells}</dl>'


def _outside(plan: Plan) -> str:
    shares = [
        (times.tier, times.outside_share) for times in plan.service_levels.latencies if times.outside_share is not None
    ]
    listed = ", ".join(f"{tier} {percent(share)}" for tier, share in shares)
    return f"; calls outside the SLA: {listed}" if listed else ""


def _figure(caption: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def _moves(plan: Plan) -> Iterator[str]:
    yield "<h2>Proposed moves and edits</h2>"
    if not plan.answer.moves and not plan.answer.edits:
        why = "the fleet file stays as it is" if plan.answer.chosen else "nothing meets the requirements"
        yield f"<p>None: {why}.</p>"
    if plan.answer.moves:
        rows = ((move.tenant, move.from_tier, move.to_tier, move.reason) for move in plan.answer.moves)
        yield _table(("tenant", "from", "to", "why"), rows)
    if plan.answer.edits:
        yield _table(("in the fleet file", "now", "planned"), ((e.where, e.before, e.after) for e in plan.answer.edits))


def _decisions(plan: Plan) -> Iterator[str]:
    yield "<h2>Tiers</h2>"
    shown = plan.answer.decisions[:_MOST_DECISIONS]
    yield _table(
        ("tenant", "tier", "#share", "#calls a day", "why"),
        ((d.tenant, d.tier, percent(d.share), f"{d.calls_per_day:,.0f}", d.reason) for d in shown),
    )
    rest = (
        f" {len(plan.answer.decisions) - len(shown)} more are in the JSON."
        if len(plan.answer.decisions) > len(shown)
        else ""
    )
    rule = escape(plan.answer.tiering_rule)
    yield f'<p class="soft">{plan.traffic.tail_tenants:,} tenants share one endpoint.{rest} Rule: {rule}.</p>'


def _alternatives(plan: Plan) -> Iterator[str]:
    for title, found in (
        ("Containers, each at its cheapest", plan.search.containers),
        ("Other tiers", plan.search.tierings),
    ):
        if found:
            yield f"<h2>{title}</h2>"
            columns = ("", "fleet", "#a month", "#hit ratio", "#warm p95", "#cold p95", "#memory", "")
            yield _table(columns, map(_comparison, found))


def _comparison(found: Comparison) -> Sequence[str]:
    name = f"{found.name} (PROTOTYPE)" if found.prototype else found.name
    option = found.best or found.nearest
    if option is None:
        return (name, "none", "", "", "", "", "", "")
    dedicated = f" + {len(option.dedicated)} dedicated" if option.dedicated else ""
    verdict = "meets all" if found.best else f"does not: {'; '.join(option.failures)}"
    return (
        name,
        f"{option.name}{dedicated}",
        dollars(option.usd),
        points(option.hit_ratio),
        _time(option.warm_p95_seconds),
        _time(option.cold_p95_seconds),
        gibibytes(option.model_memory_mib),
        verdict,
    )


def _claims(plan: Plan) -> Iterator[str]:
    if not plan.traffic.published:
        return
    yield "<h2>Published claims beside what is computed</h2>"
    if plan.traffic.published_usd is not None:
        yield f"<p>Claimed cost: {dollars(plan.traffic.published_usd)} a month.</p>"
    profiles = list(plan.traffic.published[0].memory_mib)
    rows = []
    for claim in plan.traffic.published:
        point = claim.point
        held = [
            f"{gibibytes(claim.memory_mib[name])}: {claim.cheapest[name] or 'no type holds it'}"
            + (f", {dollars(usd)}" if (usd := claim.usd[name]) is not None else "")
            for name in profiles
        ]
        ratios = (claim.claimed, point.hit_ratio, point.static, point.belady)
        rows.append([f"{claim.models:,}", *("" if ratio is None else points(ratio) for ratio in ratios), *held])
    yield _table(
        (
            "#models",
            "#claimed",
            "#LRU",
            "#best fixed set",
            "#clairvoyant",
            *(f"{name}: memory, cheapest instances" for name in profiles),
        ),
        rows,
    )


def _sensitivity(plan: Plan) -> Iterator[str]:
    if not plan.service_levels.sensitivity:
        return
    yield "<h2>If things change</h2>"
    yield _table(
        ("", "#hit ratio", "#change", "#cold p95", ""),
        (
            (
                case.what if case.exact else f"{case.what} *",
                points(case.hit_ratio),
                f"{case.change * 100:+.1f}",
                _time(case.cold_p95_seconds),
                "meets all" if case.meets else f"does not: {'; '.join(case.failures)}",
            )
            for case in plan.service_levels.sensitivity
        ),
    )
    yield '<p class="soft">Change in points of the hit ratio. * by Che\'s approximation, else by the trace.</p>'


def _costs(plan: Plan) -> Iterator[str]:
    yield "<h2>Cost and quotas</h2>"
    total = ("together", dollars(sum(plan.money.by_tier.values())))
    yield _table(("tier", "#a month"), [*((tier, dollars(usd)) for tier, usd in plan.money.by_tier.items()), total])
    if plan.answer.quotas:
        rows = ((quota.name, str(quota.needed), str(quota.default)) for quota in plan.answer.quotas)
        yield _table(("quota to ask AWS for", "#instances", "#default"), rows)


def _list(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"<h2>{escape(title)}</h2>"
        yield "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A column that begins with # holds numbers. A table of two or three columns is as wide as it must be."""
    kinds = {"#": ' class="number"', "fleet": ' class="fleet"'}
    classes = [kinds.get(column[:1]) or kinds.get(column, "") for column in columns]
    narrow = ' class="narrow"' if len(columns) <= 3 else ""
    head = "".join(f"<th{c}>{escape(name.removeprefix('#'))}</th>" for c, name in zip(classes, columns, strict=True))
    lines = ["".join(f"<td{c}>{_cell(v)}</td>" for c, v in zip(classes, row, strict=True)) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table{narrow}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: str) -> str:
    text = escape(value)
    if value == "meets all":
        return f'<span class="good">{text}</span>'
    return f'<span class="bad">{text}</span>' if value.startswith("does not: ") else text


def _time(seconds: float | None) -> str:
    return "" if seconds is None else milliseconds(seconds)
