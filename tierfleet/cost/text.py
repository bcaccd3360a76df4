"""A fleet's cost and its changes as lines of text, Markdown and JSON-ready data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tierfleet.columns import in_columns, in_columns_and_text
from tierfleet.cost.diff import CostDiff
from tierfleet.cost.monthly_cost import FleetCost
from tierfleet.cost.price import Price, PriceSource
from tierfleet.text import counted, wrapped


def cost_text(
    cost: FleetCost,
    tenants: Mapping[str, float] | None = None,
    *,
    most_tenants: int = 10,
    width: int | None = None,
    verbose: bool = True,
) -> str:
    """The bill as a table, then its assumptions. tenants: US dollars by tenant; the most expensive are shown.

    width: columns to wrap at; None: any. verbose: with the source of every price.
    """
    rows = [["tier", "tenant", "item", "at min", "expected", "at max", ""]]
    rows += [list(map(str, row)) for row in _rows(cost)]
    lines = [f"{cost.fleet} in {cost.region}: US dollars a month", *in_columns_and_text(rows, width, right=(3, 4, 5))]
    if tenants:
        dearest = sorted(tenants.items(), key=lambda item: (-item[1], item[0]))[:most_tenants]
        whom = "the only tenant" if len(tenants) == 1 else f"the {len(dearest)} dearest of {len(tenants)} tenants"
        lines += ["", f"{whom} (a shared tier is divided by calls)"]
        amounts = [(tenant, f"{usd:,.2f}") for tenant, usd in dearest]
        lines += [f"  {line}" for line in in_columns(amounts, width and width - 2, shrink=(0,), right=(1,))]
    return "\n".join([*lines, "", *wrapped(_footer(cost, verbose=verbose), width)])


def cost_markdown(cost: FleetCost) -> str:
    """The bill as a Markdown section."""
    lines = [f"### Cost of {cost.fleet} ({cost.region}): ${cost.usd:,.2f} a month", ""]
    lines += _table(["tier", "tenant", "item", "at min", "expected", "at max", ""], _rows(cost), right=(3, 4, 5))
    return "\n".join([*lines, "", *_details(cost), ""])


def diff_text(diff: CostDiff, *, width: int | None = None, verbose: bool = True) -> str:
    """The change in one line, then as a table; width, verbose: as in `cost_text`."""
    if not diff.changes:
        return f"{diff.after.fleet}: no change, ${diff.after.usd:,.2f} a month"
    rows = [["tier", "tenant", "before", "after", "change", "why"], *_changes(diff)]
    totals = f"${diff.before.usd:,.2f} -> ${diff.after.usd:,.2f}"
    title = f"{diff.after.fleet} in {diff.after.region}: {signed(diff.usd)} a month, {totals}"
    footer = wrapped(_footer(diff.after, verbose=verbose), width)
    return "\n".join([title, *in_columns_and_text(rows, width, right=(2, 3, 4)), "", *footer])


def diff_markdown(diff: CostDiff) -> str:
    """The changes as a Markdown section for a pull request."""
    title = f"### Cost of {diff.after.fleet}: {signed(diff.usd)} a month"
    if not diff.changes:
        return f"{title}\n\nNo change: ${diff.after.usd:,.2f} a month.\n"
    lines = [title, ""]
    lines += _table(["tier", "tenant", "before", "after", "change", "why"], _changes(diff), right=(2, 3, 4))
    return "\n".join([*lines, "", *_details(diff.after), ""])


def cost_json(cost: FleetCost, tenants: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Everything, for scripts."""
    return {
        "fleet": cost.fleet,
        "region": cost.region,
        "usd_a_month": {"at_min": cost.usd_at_min, "expected": cost.usd, "at_max": cost.usd_at_max},
        "lines": [vars(line) for line in cost.lines],
        "tenants": dict(tenants or {}),
        "prices": [
            {
                "name": p.name,
                "usd": p.usd,
                "as_of": p.source.as_of.isoformat(),
                "source": p.source.text,
                "verify": p.unchecked,
                "second_source": p.second and p.second.text,
                "aws_url": p.source.aws_url,
                "sha256": p.source.sha256,
            }
            for p in cost.prices
        ],
        "notes": list(cost.notes),
        "left_out": list(cost.left_out),
    }


def diff_json(diff: CostDiff) -> dict[str, Any]:
    """Everything, for scripts."""
    return {
        "fleet": diff.after.fleet,
        "usd_a_month": {"before": diff.before.usd, "after": diff.after.usd, "change": diff.usd},
        "changes": [{**vars(change), "usd": change.usd, "reasons": list(change.reasons)} for change in diff.changes],
        "before": cost_json(diff.before),
        "after": cost_json(diff.after),
    }


def _rows(cost: FleetCost) -> list[list[str]]:
    rows = [
        [
            line.tier or "fleet",
            line.tenant or "",
            line.item,
            *_amounts(line.usd_at_min, line.usd, line.usd_at_max),
            line.detail,
        ]
        for line in sorted(cost.lines, key=lambda line: (line.tier is None, line.tier or "", line.tenant or ""))
    ]
    return [*rows, ["total", "", "", *_amounts(cost.usd_at_min, cost.usd, cost.usd_at_max), ""]]


def _changes(diff: CostDiff) -> list[list[str]]:
    rows = [
        [
            change.tier or "fleet",
            change.tenant or "",
            *_amounts(change.usd_before, change.usd_after),
            signed(change.usd),
            "; ".join(change.reasons),
        ]
        for change in diff.changes
    ]
    return [*rows, ["total", "", *_amounts(diff.before.usd, diff.after.usd), signed(diff.usd), ""]]


def _amounts(*usd: float) -> list[str]:
    return [f"{amount:,.2f}" for amount in usd]


def signed(usd: float) -> str:
    """Dollars with their sign, for example +$12.30."""
    # A change of less than half a cent counts as none, and has no sign.
    return "$0.00" if abs(usd) < 0.005 else f"{'-' if usd < 0 else '+'}${abs(usd):,.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    rule = ["---:" if column in right else "---" for column in range(len(head))]
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *rows)]


def _footer(cost: FleetCost, *, verbose: bool = True) -> list[str]:
    return [
        *(f"assumed: {note}" for note in cost.notes),
        *(f"not in it: {item}" for item in cost.left_out),
        *(_sources(cost.prices) if verbose else _dates(cost.prices)),
    ]


def _dates(prices: Sequence[Price]) -> Iterator[str]:
    dates = sorted(price.source.as_of for price in prices)
    if dates:
        unchecked = sum(price.unchecked for price in prices)
        marked = f", {unchecked} of them unchecked" if unchecked else ""
        yield (
            f"{counted(len(prices), 'price')} of {dates[0]} to {dates[-1]}{marked}: --verbose names the sources, "
            "tierfleet prices refresh reads AWS's own"
        )


def _details(cost: FleetCost) -> list[str]:
    lines = [f"- {line}" for line in _footer(cost)]
    return ["<details><summary>What this rests on</summary>", "", *lines, "", "</details>"]


def _sources(prices: Sequence[Price]) -> Iterator[str]:
    by_source: dict[tuple[PriceSource, PriceSource | None, str | None], list[Price]] = {}
    for price in prices:
        by_source.setdefault((price.source, price.second, price.borrowed_from), []).append(price)
    for (source, second, elsewhere), group in sorted(by_source.items(), key=lambda item: item[0][0].as_of):
        label = "unchecked price" if group[0].unchecked else "price"
        names = ", ".join(sorted(price.name for price in group))
        of_region = f", the price of {elsewhere}" if elsewhere else ""
        also = f"; also {second.as_of}, {second.text}" if second else ""
        yield f"{label}: {names}{of_region}: {source.as_of}, {source.text}{also}"
