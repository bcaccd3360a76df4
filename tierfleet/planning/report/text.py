"""A plan on the terminal, and the sentences that the HTML report shares with it."""

from collections.abc import Iterator, Sequence

from tierfleet.planning.plan import Plan
from tierfleet.planning.plan_parts import PublishedRatio
from tierfleet.planning.search.fleet_option import Comparison, FleetOption, TierLatency, cold_p95_depends
from tierfleet.text import counted, days, dollars, duration, gibibytes, milliseconds, percent, points, wrapped

_MAX_DECISIONS = 12
# Placements whose hit ratios differ by at least this get a range, 0 to 1.
_WORTH_A_RANGE = 0.005


def plan_text(plan: Plan, width: int | None = None) -> str:
    """The plan in sections. width: columns to wrap at; None: no wrapping."""
    return "\n".join(wrapped(_lines(plan), width))


def headline(plan: Plan) -> str:
    """The answer in one sentence."""
    answer = plan.answer
    if answer.chosen is None:
        if answer.nearest is None:
            return "No fleet is possible: no type with a price holds the biggest model"
        return f"No fleet meets the requirements. Nearest: {option_text(answer.nearest)}"
    kept = "; type and count as today" if answer.kept_as_today else ""
    return f"{option_text(answer.chosen)}{kept}"


def verdict_text(plan: Plan) -> str:
    """Whether the fleet meets the requirements, and what it misses."""
    if plan.answer.chosen is not None:
        return f"meets all requirements ({plan.service_levels.requirements})"
    missed = plan.answer.nearest.failures if plan.answer.nearest is not None else ()
    return f"misses: {'; '.join(missed)}" if missed else "no fleet to evaluate"


def container_text(plan: Plan) -> str:
    """Whether the fleet file needs another container first."""
    if plan.answer.container_change is None:
        return f"no change of container needed: {plan.container}"
    return f"change of container needed first: {plan.answer.container_change}"


def difference_text(plan: Plan) -> str:
    """The shown fleet's cost, compared with today's."""
    today, shown = plan.answer.today, plan.answer.shown
    apart = shown.usd - today.usd
    if abs(apart) < 0.005:
        return f"the same cost as today, {dollars(today.usd)} a month"
    share = f" ({percent(abs(apart) / today.usd)})" if today.usd else ""
    word = "less" if apart < 0 else "more"
    return f"{dollars(abs(apart))} a month {word} than today{share}. Today: {option_text(today)}"


def bill_text(plan: Plan) -> str:
    """The bill by group; instances with price and hours."""
    groups: dict[str, float] = {}
    for line in plan.money.bill:
        groups[line.group] = groups.get(line.group, 0.0) + line.usd
    instances = "; ".join(line.detail for line in plan.money.bill if line.group == "instances")
    texts = {group: f"{group} {dollars(usd)}" for group, usd in groups.items()}
    return ", ".join(f"{text} ({instances})" if group == "instances" else text for group, text in texts.items())


def extrapolated_text(plan: Plan) -> str:
    """A warning if the bill rests on less than a day of traffic; else empty."""
    length = plan.traffic.days
    if length is None or length >= 1:
        return ""
    return f", extrapolated from {duration(length * 86_400)} of traffic"


def origin_text(plan: Plan) -> str:
    """Date, tool version, and the period of the traffic."""
    date = f"planned on {plan.planned_on} with " if plan.planned_on else "planned with "
    if plan.traffic.period is None:
        return f"{date}tierfleet {plan.tool_version}; rates without a period"
    first, last = (moment.strftime("%Y-%m-%d %H:%M") for moment in plan.traffic.period)
    return f"{date}tierfleet {plan.tool_version}; traffic from {first} to {last} UTC"


def option_text(option: FleetOption) -> str:
    """One fleet in a few words, with the requirements that it misses; a figure is named once."""
    dedicated = f" + {len(option.dedicated)} dedicated" if option.dedicated else ""
    parts = [f"{option.name}{dedicated}"]
    if not any("a month, budget" in failure for failure in option.failures):
        parts.append(f"{dollars(option.usd)} a month")
    if not any(failure.startswith("hit ratio") for failure in option.failures):
        parts.append(f"hit ratio {hit_ratio_text(option)}")
    text = ", ".join(parts)
    return f"{text}; misses: {'; '.join(option.failures)}" if option.failures else text


def hit_ratio_text(option: FleetOption) -> str:
    """Of the worst placement, with the range if placements differ by half a point or more."""
    low, high = option.hit_ratio_range or (option.hit_ratio, option.hit_ratio)
    text = points(option.hit_ratio)
    return f"{text} ({points(low)} to {points(high)} by placement)" if high - low >= _WORTH_A_RANGE else text


def cold_p95_text(option: FleetOption, seconds: float) -> str:
    """The cold p95 of the worst placement, with the range if placements differ by more than a tenth.

    seconds: of the fleet that is shown.
    """
    if not cold_p95_depends(option):
        return milliseconds(seconds)
    low, high = option.cold_p95_range or (seconds, seconds)
    return f"{milliseconds(seconds)} ({milliseconds(low)} to {milliseconds(high)} by placement)"


def traffic_text(plan: Plan) -> str:
    """The traffic in one line."""
    traffic, bursts = plan.traffic, "independent calls"
    if traffic.calls_per_session > 1:
        calls = f"{traffic.calls_per_session:,.{0 if traffic.calls_per_session >= 9.95 else 1}f}"
        bursts = f"sessions of {calls} calls {traffic.mean_gap_seconds:,.0f} s apart"
    low, high = (_megabytes(size) for size in traffic.model_megabytes)
    sizes = f"{low} MB" if low == high else f"{low} to {high} MB"
    over = f" over {days(traffic.days)}" if traffic.days is not None else ""
    calls_per_day = f"{traffic.calls_per_day:,.0f} calls a day{over}"
    return f"{counted(traffic.tenants, 'tenant')}, {calls_per_day}, {bursts}; models of {sizes}"


def _megabytes(size: float) -> str:
    return f"{size:.3g}" if size < 99.95 else f"{size:,.0f}"


def _lines(plan: Plan) -> Iterator[str]:
    answer = plan.answer
    yield f"{plan.fleet} in {plan.region}, {plan.container}"
    yield f"  {traffic_text(plan)}"
    yield f"  required: {plan.service_levels.requirements}"
    yield f"  {origin_text(plan)}"
    yield ""
    yield f"  plan    {headline(plan)}"
    yield f"  today   {option_text(answer.today)}"
    if answer.runner_up is not None:
        yield f"  next    {option_text(answer.runner_up)}: {answer.why_runner_up_lost}"
    if answer.cheaper is not None:
        yield f"  cheaper {option_text(answer.cheaper)}"
    yield f"          {plan.search.possible:,} fleets possible, {len(plan.search.options):,} evaluated"
    yield from _section("tiers", _tiers(plan))
    yield from _section("edits of the fleet file", (f"{e.where}: {e.before} -> {e.after}" for e in answer.edits))
    yield from _section(
        f"bill, {dollars(sum(line.usd for line in plan.money.bill))} a month{extrapolated_text(plan)}",
        _bill(plan),
    )
    yield from _section("call times", map(latency_text, plan.service_levels.latencies))
    yield from _section("containers, each at its cheapest", map(comparison_text, plan.search.containers))
    yield from _section("other tiers", map(comparison_text, plan.search.tierings))
    yield from _section("published hit ratios, and the computed ones of so many models", _published(plan))
    yield from _section("if things change", _sensitivity(plan))
    yield from _section("quotas to ask AWS for", (f"{q.name}: {q.needed} (default {q.default})" for q in answer.quotas))
    yield from _section("notices", plan.notes.notices)


def _section(title: str, lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if not number:
            yield ""
            yield f"  {title}"
        yield f"    {line}"


def _tiers(plan: Plan) -> Iterator[str]:
    answer, tail_tenants = plan.answer, plan.traffic.tail_tenants
    own = [decision for decision in answer.decisions if decision.usd is not None]
    for decision in own[:_MAX_DECISIONS]:
        yield f"{decision.tenant}: {decision.tier}: {decision.reason}"
    if len(own) > _MAX_DECISIONS:
        yield f"and {len(own) - _MAX_DECISIONS} more with a dedicated endpoint"
    first = next((decision for decision in answer.decisions if decision.usd is None), None)
    biggest = f"; the biggest, {first.tenant}: {first.reason}" if first else ""
    share = "shares" if tail_tenants == 1 else "share"
    yield f"{counted(tail_tenants, 'tenant')} {share} one endpoint{biggest}"
    yield f"rule: {answer.tiering_rule}"
    yield from (f"move {move.tenant}: {move.from_tier} -> {move.to_tier}" for move in answer.moves)


def _bill(plan: Plan) -> Iterator[str]:
    """Instances and volumes line by line, the small groups as sums."""
    small: dict[str, float] = {}
    for line in plan.money.bill:
        if line.group in ("instances", "volumes"):
            yield f"{line.group} of {line.tier}: {line.detail}: {dollars(line.usd)}"
        else:
            small[line.group] = small.get(line.group, 0.0) + line.usd
    yield ", ".join(f"{group} {dollars(usd)}" for group, usd in small.items())


def latency_text(times: TierLatency) -> str:
    """The percentiles of one tier."""
    warm = times.warm
    text = (
        f"{times.tier}: warm p50 {milliseconds(warm.p50)}, p95 {milliseconds(warm.p95)}, p99 {milliseconds(warm.p99)}"
    )
    text += f" (in the container p99 {milliseconds(times.container_p99_seconds)})"
    if times.loads is None:
        text += "; next to no cold call"
    else:
        text += f"; {percent(times.loads.share)} of calls cold: p50 {milliseconds(times.loads.p50)}"
        text += f", p95 {milliseconds(times.loads.p95)}; all calls p95 {milliseconds(times.every.p95)}"
    return text if times.outside_share is None else f"{text}; {percent(times.outside_share)} of calls outside the SLA"


def comparison_text(comparison: Comparison) -> str:
    """One alternative."""
    mark = " (PROTOTYPE)" if comparison.prototype else ""
    if comparison.best is not None:
        best = comparison.best
        cold = "" if best.cold_p95_seconds is None else f", cold p95 {milliseconds(best.cold_p95_seconds)}"
        warm = "" if best.warm_p95_seconds is None else f", warm p95 {milliseconds(best.warm_p95_seconds)}"
        memory = f", {gibibytes(best.model_memory_mib)} for {best.models_per_instance * best.instances:,} models"
        return f"{comparison.name}{mark}: {option_text(best)}{warm}{cold}{memory}"
    if comparison.nearest is not None:
        return f"{comparison.name}{mark}: none; nearest {option_text(comparison.nearest)}"
    return f"{comparison.name}{mark}: none"


def _published(plan: Plan) -> Iterator[str]:
    published = plan.traffic.published
    if not published:
        return
    if plan.traffic.published_usd is not None:
        yield f"published cost: {dollars(plan.traffic.published_usd)} a month"
    yield "models  claimed      LRU  best fixed set  clairvoyant"
    for ratio in published:
        point = ratio.point
        computed = f"{points(point.hit_ratio):>7}  {points(point.static):>14}  {_ratio(point.belady):>11}"
        yield f"{ratio.models:>6,}  {_ratio(ratio.claimed):>7}  {computed}"
    yield "memory, and the cheapest instances of the shared tier that hold it, without volumes and the rest of the bill"
    for ratio in published:
        yield f"{ratio.models:,} models: {'; '.join(_held(ratio))}"


def _held(ratio: PublishedRatio) -> Iterator[str]:
    for profile, memory in ratio.memory_mib.items():
        fleet, usd = ratio.cheapest[profile], ratio.usd[profile]
        price = "no type holds it" if fleet is None or usd is None else f"{fleet}, {dollars(usd)}"
        yield f"{profile} {gibibytes(memory)} ({price})"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else points(ratio)


def _sensitivity(plan: Plan) -> Iterator[str]:
    for case in plan.service_levels.sensitivity:
        cold = "" if case.cold_p95_seconds is None else f", cold p95 {milliseconds(case.cold_p95_seconds)}"
        verdict = "meets all" if case.meets else f"misses: {'; '.join(case.failures)}"
        about = "" if case.exact else ", by approximation"
        yield f"{case.what}: hit ratio {points(case.hit_ratio)} ({case.change * 100:+.1f}){cold}{about}: {verdict}"
