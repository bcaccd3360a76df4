"""`tierfleet preflight`: check an account before the first deployment."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from rich.text import Text

from tierfleet.cli.console import Json, columns, fail, out, print_json
from tierfleet.cli.fleet_choice import Local, choose_fleet
from tierfleet.cli.fleet_file import ConfigOption, File, named, remembered
from tierfleet.cli.interruption import if_interrupted
from tierfleet.cli.progress import counter
from tierfleet.columns import sentence
from tierfleet.preflight import preflight as run_preflight
from tierfleet.preflight.finding import Account, Finding
from tierfleet.preflight.run import CHECKS
from tierfleet.runtime import clients

_ASSUMPTIONS = Path(__file__).resolve().parents[2] / "docs" / "aws-assumptions.md"
_STYLE = {"ok": "green", "problem": "bold red", "unknown": "yellow"}


def preflight(
    file: File = None,
    config: ConfigOption = None,
    local: Local = False,
    as_json: Json = False,
) -> None:
    """Check an account before the first deployment: credentials, quotas, image, bucket, keys, VPC, CDK bootstrap.

    It only reads. Exit code 0 if every check passed; 1 if one failed or could not be made; 2 if the fleet file is
    invalid or there are no credentials.
    """
    path = named(file, config) or (remembered() if local else None)
    if path is None:
        fail("no fleet file is given, for example: tierfleet preflight config/fraud-prod.toml")
    choice = choose_fleet(path, None, None, None, local=local)
    assert choice.config is not None  # noqa: S101 - the fleet was given by its file

    @cache
    def client(service: str) -> Any:
        return clients.control_client(service, session=choice.session, endpoint_url=choice.endpoint_url)

    with if_interrupted("nothing was changed; run it again"), counter("checking the account", len(CHECKS)) as one:
        findings = run_preflight(Account(config=choice.config, client=client), begins=lambda _area: one())
    assumptions = _assumptions()
    if as_json:
        document = {"findings": [finding.to_json() for finding in findings], "assumptions": assumptions}
        print_json(document)
    else:
        _print(findings, assumptions)
    if any(finding.status != "ok" for finding in findings):
        raise typer.Exit(1)


def _print(findings: list[Finding], assumptions: list[str]) -> None:
    width = max(len(finding.area) for finding in findings)
    for finding in findings:
        line = Text(sentence(finding.message, columns(), first=f"{finding.status:<7}  {finding.area:<{width}}  "))
        line.stylize(_STYLE[finding.status], 0, len(finding.status))
        out.print(line)
        if finding.remedy:
            out.print(escape(sentence(finding.remedy, columns(), first=f"{'':7}  {'':{width}}  -> ")))
    counts = {status: sum(finding.status == status for finding in findings) for status in _STYLE}
    out.print(", ".join(f"{count} {status}" for status, count in counts.items() if count))
    if assumptions:
        settle = f"These {len(assumptions)} can only be settled by a deployment (docs/aws-assumptions.md says how):"
        out.print(f"\n{sentence(settle, columns())}")
        for assumption in assumptions:
            number, _, text = assumption.partition(" ")
            out.print(Text(sentence(text, columns(), first=f"  {number} "), "dim"))


def _assumptions() -> list[str]:
    """The numbered headings of docs/aws-assumptions.md; none if the docs are not installed."""
    try:
        text = _ASSUMPTIONS.read_text(encoding="utf-8")
    except OSError:
        return []
    return re.findall(r"^### (\d+\. .+)$", text, re.MULTILINE)
