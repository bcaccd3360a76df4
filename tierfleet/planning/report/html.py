"""A plan as one HTML page without network and scripts, for a screen, a phone and a printer."""

from collections.abc import Iterator, Sequence
from html import escape

from tierfleet.planning.plan import Plan
from tierfleet.planning.report.charts import charts
from tierfleet.planning.report.page import answer_box, bullets, figure_grid, figures, page, sentence
from tierfleet.planning.report.tables import MEETS, MISSES, table
from tierfleet.planning.report.text import (
    bill_text,
    cold_p95_text,
    container_text,
    difference_text,
    extrapolated_text,
    headline,
    hit_ratio_text,
    option_text,
    origin_text,
    traffic_text,
    verdict_text,
)
from tierfleet.planning.search.fleet_option import Comparison
from tierfleet.text import dollars, gibibytes, milliseconds, percent, points

_MAX_DECISIONS = 40


def report_html(plan: Plan) -> str:
    """The whole page."""
    return page(f"Plan of {plan.fleet}", _body(plan))


def _body(plan: Plan) -> Iterator[str]:
    source = f"{traffic_text(plan)}, from {plan.traffic.source}; fleet in {plan.region}"
    yield f'<p class="soft">{escape(sentence(source))}</p>'
    yield _answer(plan)
    yield _figures(plan)
    yield figure_grid(charts(plan))
    yield from _moves(plan)
    yield from _decisions(plan)
    yield from _alternatives(plan)
    yield from _published(plan)
    yield from _sensitivity(plan)
    yield from _bill(plan)
    yield from bullets("Notices", plan.notes.notices)
    yield from bullets("Assumptions", plan.notes.assumptions)
    yield from bullets("Prices, with their dates", plan.money.prices_of)


def _answer(plan: Plan) -> str:
    """What to decide by: verdict, container, difference to today, bill, the next fleet, a cheaper one, the origin."""
    answer = plan.answer
    lines = [
        f"<strong>{escape(headline(plan))}</strong>",
        *([f'<span class="good">{escape(sentence(verdict_text(plan)))}</span>'] if answer.chosen else []),
        escape(sentence(container_text(plan))),
        escape(sentence(difference_text(plan))),
        escape(f"Bill of {dollars(answer.shown.usd)} a month{extrapolated_text(plan)}: {bill_text(plan)}."),
    ]
    if answer.runner_up is not None and answer.why_runner_up_lost is not None:
        lines.append(escape(f"Next: {option_text(answer.runner_up)}. {sentence(answer.why_runner_up_lost)}"))
    if answer.cheaper is not None:
        lines.append(escape(f"Cheaper: {option_text(answer.cheaper)}."))
    lines.append(f'<span class="soft">{escape(sentence(origin_text(plan)))}</span>')
    return answer_box(lines, good=answer.chosen is not None)


def _figures(plan: Plan) -> str:
    shown, traffic = plan.answer.shown, plan.traffic
    loads = next((times.loads for times in plan.service_levels.latencies if times.loads is not None), None)
    named = {
        "a month": dollars(shown.usd),
        "today": dollars(plan.answer.today.usd),
        "hit ratio": hit_ratio_text(shown),
        "loads an hour": f"{shown.loads_per_hour:,.0f}",
        "warm p95": "" if shown.warm_p95_seconds is None else milliseconds(shown.warm_p95_seconds),
        "cold p95": "next to none" if loads is None else cold_p95_text(shown, loads.p95),
        "models in memory": f"{traffic.models_in_memory:,} of {traffic.tail_tenants:,}",
        "memory for models": gibibytes(shown.model_memory_mib),
    }
    return figures(named)


def _moves(plan: Plan) -> Iterator[str]:
    answer = plan.answer
    yield "<h2>Proposed moves and edits</h2>"
    if not answer.moves and not answer.edits:
        why = "the fleet file stays as it is" if answer.chosen else "no fleet meets the requirements"
        yield f"<p>None: {why}.</p>"
    if answer.moves:
        rows = ((move.tenant, move.from_tier, move.to_tier, move.reason) for move in answer.moves)
        yield table("Moves between tiers", ("tenant", "from", "to", "why"), rows)
    if answer.edits:
        edits = ((edit.where, edit.before, edit.after) for edit in answer.edits)
        yield table("Edits of the fleet file", ("in the fleet file", "now", "planned"), edits)


def _decisions(plan: Plan) -> Iterator[str]:
    decisions = plan.answer.decisions
    yield "<h2>Tiers</h2>"
    shown = decisions[:_MAX_DECISIONS]
    yield table(
        "Tier of each tenant",
        ("tenant", "tier", "#share", "#calls a day", "why"),
        ((d.tenant, d.tier, percent(d.share), f"{d.calls_per_day:,.0f}", d.reason) for d in shown),
    )
    rest = f" {len(decisions) - len(shown)} more are in the JSON." if len(decisions) > len(shown) else ""
    rule = escape(plan.answer.tiering_rule)
    yield f'<p class="soft">{plan.traffic.tail_tenants:,} tenants share one endpoint.{rest} Rule: {rule}.</p>'


def _alternatives(plan: Plan) -> Iterator[str]:
    groups = (
        ("Containers, each at its cheapest", "container", plan.search.containers),
        ("Other tiers", "dedicated tenants", plan.search.tierings),
    )
    for title, first, comparisons in groups:
        if comparisons:
            yield f"<h2>{title}</h2>"
            columns = (first, "verdict", "fleet", "#a month", "#hit ratio", "#warm p95", "#cold p95", "#memory")
            yield table(title, columns, map(_comparison, comparisons))


def _comparison(comparison: Comparison) -> Sequence[str]:
    name = f"{comparison.name} (PROTOTYPE)" if comparison.prototype else comparison.name
    option = comparison.best or comparison.nearest
    if option is None:
        return (name, f"{MISSES}the memory for the biggest model", "none", "", "", "", "", "")
    dedicated = f" + {len(option.dedicated)} dedicated" if option.dedicated else ""
    return (
        name,
        MEETS if comparison.best else f"{MISSES}{'; '.join(option.failures)}",
        f"{option.name}{dedicated}",
        dollars(option.usd),
        points(option.hit_ratio),
        _time(option.warm_p95_seconds),
        _time(option.cold_p95_seconds),
        gibibytes(option.model_memory_mib),
    )


def _published(plan: Plan) -> Iterator[str]:
    traffic = plan.traffic
    if not traffic.published:
        return
    yield "<h2>Published hit ratios, and the computed ones</h2>"
    if traffic.published_usd is not None:
        yield f"<p>Published cost: {dollars(traffic.published_usd)} a month.</p>"
    profiles = list(traffic.published[0].memory_mib)
    rows = []
    for ratio in traffic.published:
        point = ratio.point
        held = [
            f"{gibibytes(ratio.memory_mib[name])}: {ratio.cheapest[name] or 'no type holds it'}"
            + (f", {dollars(usd)}" if (usd := ratio.usd[name]) is not None else "")
            for name in profiles
        ]
        ratios = (ratio.claimed, point.hit_ratio, point.static, point.belady)
        rows.append([f"{ratio.models:,}", *("" if each is None else points(each) for each in ratios), *held])
    yield table(
        "Published and computed hit ratios",
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
    cases = plan.service_levels.sensitivity
    if not cases:
        return
    yield "<h2>If things change</h2>"
    yield table(
        "The planned fleet under other circumstances",
        ("circumstance", "verdict", "#hit ratio", "#change", "#cold p95"),
        (
            (
                case.what if case.exact else f"{case.what} *",
                MEETS if case.meets else f"{MISSES}{'; '.join(case.failures)}",
                points(case.hit_ratio),
                f"{case.change * 100:+.1f}",
                _time(case.cold_p95_seconds),
            )
            for case in cases
        ),
    )
    approximate = " * by Che's approximation; without it by the trace." if not all(case.exact for case in cases) else ""
    yield f'<p class="soft">Change in points of the hit ratio.{approximate}</p>'


def _bill(plan: Plan) -> Iterator[str]:
    yield "<h2>Bill and quotas</h2>"
    total = ("together", "", "", dollars(sum(line.usd for line in plan.money.bill)))
    lines = ((line.group, line.tier, line.detail, dollars(line.usd)) for line in plan.money.bill)
    yield table("Monthly bill", ("item", "tier", "quantity and price", "#a month"), [*lines, total])
    tiers = ((tier, dollars(usd)) for tier, usd in plan.money.by_tier.items())
    yield table("Monthly bill by tier", ("tier", "#a month"), tiers)
    if plan.answer.quotas:
        rows = ((quota.name, str(quota.needed), str(quota.default)) for quota in plan.answer.quotas)
        yield table("Quotas to ask AWS for", ("quota to ask AWS for", "#instances", "#default"), rows)


def _time(seconds: float | None) -> str:
    return "" if seconds is None else milliseconds(seconds)
