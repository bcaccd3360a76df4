"""A price table as a file, in the form that `load_prices` reads."""

import json
from pathlib import Path

from tierfleet.cost.price import Price, PriceSource
from tierfleet.cost.prices import HOSTING_INSTANCE_HOUR, PriceTable
from tierfleet.files import write_whole


def write_prices(table: PriceTable, file: Path) -> None:
    """The table as TOML, written whole or not at all. Derived prices are left out: reading computes them again."""
    lines = ["# AWS list prices in US dollars; written by tierfleet prices refresh. Every line names its source.", ""]
    for source in _sources(table):
        lines += [f"[sources.{json.dumps(source.name)}]", f"date = {source.as_of}", f"text = {json.dumps(source.text)}"]
        lines += ["check = true"] if source.check else []
        lines += ["checked = true"] if source.checked else []
        lines += [f"aws_url = {json.dumps(source.aws_url)}"] if source.aws_url else []
        lines += [f"sha256 = {json.dumps(source.sha256)}"] if source.sha256 else []
        lines.append("")
    for region in table.regions:
        for key, prices in ((HOSTING_INSTANCE_HOUR, table.hosting), ("unit", table.units)):
            known = [price for _, price in sorted(prices.get(region, {}).items()) if not price.derived]
            if known:
                lines += [f"[regions.{region}.{key}]", *map(_line, known), ""]
    if table.ec2.source and table.ec2.usd_per_vcpu_hour:
        lines += ["[ec2]", f"source = {json.dumps(table.ec2.source.name)}", ""]
        for region, families in sorted(table.ec2.usd_per_vcpu_hour.items()):
            lines.append(f"[ec2.usd_per_vcpu_hour.{region}]")
            lines += [f"{family} = {_plain(usd)}" for family, usd in sorted(families.items())]
            lines.append("")
    write_whole(file, "\n".join(lines))


def _sources(table: PriceTable) -> list[PriceSource]:
    """The ones that a line names, by name."""
    prices = [
        price
        for by_region in (table.hosting, table.units)
        for named in by_region.values()
        for price in named.values()
        if not price.derived
    ]
    named = {source.name: source for price in prices for source in (price.source, price.second) if source}
    if table.ec2.source and table.ec2.usd_per_vcpu_hour:
        named[table.ec2.source.name] = table.ec2.source
    return [source for _, source in sorted(named.items())]


def _line(price: Price) -> str:
    fields = [f"usd = {_plain(price.usd)}"]
    if price.through is not None:
        fields.append(f"through = {price.through:.0f}")
    fields.append(f"source = {json.dumps(price.source.name)}")
    if price.second is not None:
        fields.append(f"second = {json.dumps(price.second.name)}")
    if price.sku:
        fields.append(f"sku = {json.dumps(price.sku)}")
    return f"{json.dumps(price.name)} = {{ {', '.join(fields)} }}"


def _plain(usd: float) -> str:
    """Never with an exponent: 0.0000004."""
    return f"{usd:.12f}".rstrip("0").rstrip(".")
