"""A plan on the terminal."""

from collections.abc import Iterator, Sequence

from tierfleet.planning.plan import Plan
from tierfleet.planning.plan_parts import PublishedRatio
from tierfleet.planning.search.fleet_option import Comparison, FleetOption, TierLatency
from tierfleet.text import counted, dollars, gibibytes, milliseconds, percent, points, wrapped

_MOST_DECISIONS = 12
_WORTH_A_RANGE = 0.005


def plan_text(plan: Plan, width: int | None = None) -> str:
    """Every part of the plan that fits a terminal, one below the other; width: columns to wrap at, None: any."""
    return "\n".join(wrapped(_lines(plan), width))


def headline(plan: Plan) -> str:
    """The answer in one sentence."""
    if plan.answer.chosen is None:
        if plan.answer.nearest is None:
            return "No fleet could be looked at: no type with a price holds the biggest model"
        missed = "; ".join(plan.answer.nearest.failures)
        return f"No fleet meets the requirements. Nearest: {option_text(plan.answer.nearest)}, but {missed}"
    kept = "; type and count as today" if plan.answer.kept_as_today else ""
    return f"{option_text(plan.answer.chosen)}{kept}"


def option_text(option: FleetOption) -> str:
    """One fleet in a few words."""
    dedicated = f" + {len(option.dedicated)} dedicated" if option.dedicated else ""
    return f"{option.name}{dedicated}, {dollars(option.usd)} a month, hit ratio {hit_ratio_text(option)}"


def hit_ratio_text(option: FleetOption) -> str:
    """Of the placement that serves worst, with the range where placements differ by half a point or more."""
    low, high = option.hit_ratio_range or (option.hit_ratio, option.hit_ratio)
    text = points(option.hit_ratio)
    return f"{text} ({points(low)} to {points(high)} by placement)" if high - low >= _WORTH_A_RANGE else text


def traffic_text(plan: Plan) -> str:
    """The traffic in one line."""
    traffic, bursts = plan.traffic, "independent calls"
    if traffic.calls_per_session > 1:
        bursts = f"sessions of {traffic.calls_per_session:.2g} calls {traffic.mean_gap_seconds:,.0f} s apart"
    low, high = traffic.model_megabytes
    sizes = f"{low:.3g} MB" if high - low < 0.05 else f"{low:.3g} to {high:.3g} MB"
    days = f" over {traffic.days:.3g} days" if traffic.days is not None else ""
    calls = f"{traffic.calls_per_day:,.0f} calls a day{days}"
    return f"{counted(traffic.tenants, 'tenant')}, {calls}, {bursts}; models of {sizes}"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.fleet} in {plan.region}, {plan.container}"
    yield f"  {traffic_text(plan)}"
    yield f"  required: {plan.service_levels.requirements}"
    yield ""
    yield f"  plan    {headline(plan)}"
    yield f"  today   {option_text(plan.answer.today)}{_failing(plan.answer.today)}"
    if plan.answer.runner_up is not None:
        yield f"  next    {option_text(plan.answer.runner_up)}: {plan.answer.why_runner_up_lost}"
    if plan.answer.cheaper is not None:
        yield f"  cheaper {option_text(plan.answer.cheaper)}{_failing(plan.answer.cheaper)}"
    yield f"          {plan.search.possible:,} fleets possible, {len(plan.search.options):,} worth a look"
    yield from _section("tiers", _tiers(plan))
    yield from _section(
        "edits of the fleet file", (f"{edit.where}: {edit.before} -> {edit.after}" for edit in plan.answer.edits)
    )
    yield from _section("call times", map(latency_text, plan.service_levels.latencies))
    yield from _section("containers, each at its cheapest", map(comparison_text, plan.search.containers))
    yield from _section("other tiers", map(comparison_text, plan.search.tierings))
    yield from _section("published claims and what a cache of so many models does", _claims(plan))
    yield from _section("if things change", _sensitivity(plan))
    yield from _section(
        "quotas to ask AWS for",
        (f"{quota.name}: {quota.needed} (default {quota.default})" for quota in plan.answer.quotas),
    )
    yield from _section("notices", plan.notes.notices)


def _section(title: str, lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"  {title}"
        yield from (f"    {line}" for line in found)


def _failing(option: FleetOption) -> str:
    return f"  [{'; '.join(option.failures)}]" if option.failures else ""


def _tiers(plan: Plan) -> Iterator[str]:
    own = [decision for decision in plan.answer.decisions if decision.usd is not None]
    for decision in own[:_MOST_DECISIONS]:
        yield f"{decision.tenant}: {decision.tier}: {decision.reason}"
    if len(own) > _MOST_DECISIONS:
        yield f"and {len(own) - _MOST_DECISIONS} more with their own endpoint"
    first = next((decision for decision in plan.answer.decisions if decision.usd is None), None)
    biggest = f"; the biggest, {first.tenant}: {first.reason}" if first else ""
    share = "shares" if plan.traffic.tail_tenants == 1 else "share"
    yield f"{counted(plan.traffic.tail_tenants, 'tenant')} {share} one endpoint{biggest}"
    yield f"rule: {plan.answer.tiering_rule}"
    yield from (f"move {move.tenant}: {move.from_tier} -> {move.to_tier}" for move in plan.answer.moves)


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
        found = comparison.best
        cold = "" if found.cold_p95_seconds is None else f", cold p95 {milliseconds(found.cold_p95_seconds)}"
        warm = "" if found.warm_p95_seconds is None else f", warm p95 {milliseconds(found.warm_p95_seconds)}"
        memory = f", {gibibytes(found.model_memory_mib)} for {found.models_per_instance * found.instances:,} models"
        return f"{comparison.name}{mark}: {option_text(found)}{warm}{cold}{memory}"
    if comparison.nearest is not None:
        return f"{comparison.name}{mark}: none; nearest {option_text(comparison.nearest)}{_failing(comparison.nearest)}"
    return f"{comparison.name}{mark}: none"


def _claims(plan: Plan) -> Iterator[str]:
    if not plan.traffic.published:
        return
    if plan.traffic.published_usd is not None:
        yield f"claimed cost: {dollars(plan.traffic.published_usd)} a month"
    yield "models  claimed      LRU  best fixed set  clairvoyant"
    for claim in plan.traffic.published:
        point = claim.point
        computed = f"{points(point.hit_ratio):>7}  {points(point.static):>14}  {_ratio(point.belady):>11}"
        yield f"{claim.models:>6,}  {_ratio(claim.claimed):>7}  {computed}"
    yield "memory, and the cheapest instances of the shared tier that hold it, without volumes and the rest of the bill"
    for claim in plan.traffic.published:
        yield f"{claim.models:,} models: {'; '.join(_held(claim))}"


def _held(claim: PublishedRatio) -> Iterator[str]:
    for profile, memory in claim.memory_mib.items():
        fleet, usd = claim.cheapest[profile], claim.usd[profile]
        price = "no type holds it" if fleet is None or usd is None else f"{fleet}, {dollars(usd)}"
        yield f"{profile} {gibibytes(memory)} ({price})"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else points(ratio)


def _sensitivity(plan: Plan) -> Iterator[str]:
    for case in plan.service_levels.sensitivity:
        cold = "" if case.cold_p95_seconds is None else f", cold p95 {milliseconds(case.cold_p95_seconds)}"
        verdict = "meets" if case.meets else "; ".join(case.failures)
        about = "" if case.exact else ", by approximation"
        yield f"{case.what}: hit ratio {points(case.hit_ratio)} ({case.change * 100:+.1f}){cold}{about}: {verdict}"
