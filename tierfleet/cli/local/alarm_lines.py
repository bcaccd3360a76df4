"""Red alarms as lines for a terminal: the reason, the runbook's section and the command to begin with."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from rich.text import Text

from tierfleet.columns import sentence, shortened

# By section of docs/runbook.md.
NEXT_COMMANDS: Final = {
    "server-errors": "tierfleet invoke TENANT --local --explain",
    "model-latency": "tierfleet invoke TENANT --local --count 100",
    "client-errors": "tierfleet invoke TENANT --local --explain",
    "memory": "tierfleet local status",
    "disk": "tierfleet local status",
    "above-scaling-target": "tierfleet local events",
    "scaled-to-max": "tierfleet local events",
    "cache-degraded": "tierfleet warm --local",
    "route-errors": "tierfleet local events",
    "warm-up": "tierfleet warm --local",
    "serverless-endpoint": "tierfleet local status",
    "asynchronous-endpoint": "tierfleet local events",
    "multi-container-endpoint": "tierfleet local status",
    "pipeline-stage": "tierfleet local status",
}
_NO_INCIDENT: Final = "Not an incident."
_LINK: Final = re.compile(r"^(.*?)\s*What to do: (\S+?)(?:#(\S+))?$", re.DOTALL)
_TARGET_TRACKING: Final = "TargetTracking-"


def alarm_lines(red_alarms: Sequence[str], descriptions: Mapping[str, str], width: int) -> Text:
    """The red ones, in lines of at most `width` characters; only a link may be longer.

    Alarms by which target tracking scales are red when an endpoint is idle. They are only counted.
    """
    tracking = [name for name in red_alarms if name.startswith(_TARGET_TRACKING)]
    # Scaling and suppression work by alarms too, and those are red in normal operation.
    harmless = [name for name in red_alarms if _NO_INCIDENT in descriptions.get(name, "")]
    red = [name for name in red_alarms if name not in tracking and name not in harmless]
    text = Text("alarms  ", "bold red" if red else "green")
    text.append("" if red else "none is red", "default")
    for number, name in enumerate(red):
        text.append("\n        " * (number > 0) + shortened(name, width - 8), "red")
        for line in _advice(descriptions.get(name, "")):
            text.append("\n" + sentence(line, width, first=" " * 10), "default")
    for name in harmless:
        told = descriptions[name].partition(_NO_INCIDENT)[0].strip()
        text.append("\n" + sentence(told, width, first=" " * 8), "dim")
    if tracking:
        counted = f"(and {len(tracking)} by which target tracking scales)"
        last = text.plain.rpartition("\n")[2]
        text.append(f" {counted}" if len(f"{last} {counted}") <= width else f"\n        {counted}", "dim")
    return text


def _advice(description: str) -> list[str]:
    parts = _LINK.match(description)
    if not parts:
        return [description] if description else []
    reason, page, section = parts.groups()
    lines = [reason, f"runbook: {page}#{section}" if section else f"runbook: {page}"]
    return lines + [f"next: {NEXT_COMMANDS[section]}"] * (section in NEXT_COMMANDS)
