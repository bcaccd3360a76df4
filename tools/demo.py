"""make demo: a fleet from one file, checked, synthesised, deployed on loopback, called, edited, broken and removed.

Nothing outside .build/demo is touched and no AWS account is needed. Each step prints the command that does it by hand.
"""

import contextlib
import difflib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from demo_models import train_models
from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from local_cloud import find
from local_cloud.core.guarded import guard

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build" / "demo"
VERSION = "2026-11-14"
DEV = "config/fraud-dev.toml"
PROD = "config/fraud-prod.toml"
# Of an ml.m5.large's memory: room for about 40 of the 70 small models, so that the cache has work to do.
SCALE = "0.0002"
TIERFLEET = Path(sys.executable).parent / "tierfleet"
# What a command that SIGTERM ends, and nothing else, exits with. Ctrl-C is not heard where a shell or setsid has it
# ignored.
TERMINATED = 128 + signal.SIGTERM
# FleetClient's deadline for the calls that are under way when the traffic ends, and time for a busy machine.
DRIVER_END_SECONDS = 90
# The events that show the order of an update; the local emulator logs many more (tierfleet local events).
MILESTONES = {
    "EndpointCreating": "endpoint is being created",
    "EndpointInService": "endpoint is in service",
    "ConfigurationDeploying": "routes are switched, the bake begins",
    "ConfigurationComplete": "the bake is over",
    "StackCleaningUp": "clean-up begins",
    "EndpointDeleted": "endpoint is deleted",
    "StackSettled": "stack has settled",
}
out = Console(soft_wrap=True, highlight=False)
results = Table("during", "tier", "calls", "failed", "p50 ms", "p99 ms", box=None, padding=(0, 3, 0, 0))


def main() -> None:
    """Run every step. The local emulator is stopped at the end, also after SIGTERM and SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    started = time.monotonic()
    if (BUILD / ".local-cloud").exists():
        tierfleet("local", "down", quiet=True, expect=None)
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(ROOT / "config", BUILD / "config")
    check_and_synthesise()
    try:
        deploy_and_move()
    finally:
        step("12. Everything is removed", "tierfleet local down")
        tierfleet("local", "down", expect=None)
    out.print(Rule())
    out.print(
        f"Done in {time.monotonic() - started:.0f} s. Looked at: the fleet files, the template diff of a promotion, "
        "70 models served on loopback, a merchant promoted and demoted and a broken update rolled back under traffic.\n"
        "What the local emulator proves and what only AWS can: docs/local-cloud.md. Next: docs/architecture.md, "
        "docs/configuration.md."
    )


def check_and_synthesise() -> None:
    """Steps 1 to 4: without any cloud."""
    step("1. The fleet files are checked", "tierfleet config check")
    tierfleet("config", "check")
    step("2. What one file says, and the quotas it needs", f"tierfleet config show {PROD}")
    tierfleet("config", "show", PROD)

    step("3. A merchant is promoted by one line: what that changes in production's templates", "tierfleet diff …")
    synth(BUILD / PROD, BUILD / "before")
    edit(PROD, add=f'm07 = {{ model = "m07/{VERSION}.tar.gz" }}\n')
    synth(BUILD / PROD, BUILD / "after")
    tierfleet("diff", "before", "after")

    step("4. What a broken edit is answered", f"tierfleet config check {PROD}")
    text = (BUILD / PROD).read_text()
    (BUILD / PROD).write_text(
        text.replace("bake_minutes = 5", "bake_minutes = 2").replace("min = 2, max = 8", "min = 9, max = 8")
    )
    tierfleet("config", "check", PROD, expect=2)


def deploy_and_move() -> None:
    """Steps 5 to 11: the same templates, deployed by the CDK CLI into the local emulator, serving real models."""
    step(
        "5. The local emulator starts on loopback, its instances scaled down",
        f"tierfleet local up {DEV} --scale {SCALE}",
    )
    tierfleet("local", "up", DEV, "--scale", SCALE)
    guard(find(BUILD / ".local-cloud").pid, parent=os.getpid())

    step("6. The fleet is deployed: bucket, models, everything else", f"tierfleet local deploy {DEV} --models models")
    count = train_models(BUILD / "models", VERSION)
    out.print(f"  {count} small XGBoost models trained")
    tierfleet("local", "deploy", DEV, "--models", "models")

    step("7. The shared cache is warmed, and one call explained", f"tierfleet warm --local --config {DEV}")
    tierfleet("warm", "--local", "--config", DEV)
    tierfleet("invoke", "m02", "--local", "--config", DEV, "--explain")

    step("8. The merchants call: 20 s of traffic", f"tierfleet local drive {DEV} --seconds 20")
    tierfleet("local", "drive", DEV, "--seconds", "20")

    step("9. m07 gets an endpoint of its own while they call", f"tierfleet local deploy {DEV}")
    edit(DEV, add=f'm07 = {{ model = "m07/{VERSION}.tar.gz" }}\n')
    with traffic("promote m07"):
        deploy_and_show_order()

    step("10. and gives it back", f"tierfleet local deploy {DEV}")
    edit(DEV, remove="m07 = ")
    with traffic("demote m07"):
        deploy_and_show_order()

    step(
        "11. An update that cannot work: m08 is pinned to an unpublished version",
        f"tierfleet local deploy {DEV}",
    )
    edit(DEV, add='m08 = { model = "m08/never-published.tar.gz" }\n')
    with traffic("failed update"):
        tierfleet("local", "deploy", DEV, expect=2)
    out.print("  Rolled back; the routes still name what serves:")
    tierfleet("local", "status", DEV)

    out.print(Rule("[bold]What the callers saw", align="left"))
    out.print(results)


@contextlib.contextmanager
def traffic(during: str) -> Iterator[None]:
    """The fleet's callers, meanwhile; what they saw is a line of the result table. A failed call ends the demo."""
    command = [str(TIERFLEET), "local", "drive", DEV, "--seconds", "600", "--json"]
    driver = subprocess.Popen(command, cwd=BUILD, text=True, stdout=subprocess.PIPE, start_new_session=True)
    guardian = guard(driver.pid, parent=os.getpid())
    try:
        yield
        driver.terminate()
        printed, _ = driver.communicate(timeout=DRIVER_END_SECONDS)
    except subprocess.TimeoutExpired:
        sys.exit(f"the traffic did not end within {DRIVER_END_SECONDS} s of SIGTERM")
    finally:
        driver.kill()
        driver.communicate()
        guardian.wait()
    if not printed:
        sys.exit(f"the traffic ended with {driver.returncode} and printed nothing")
    seen = json.loads(printed)
    for tier in seen["tiers"]:
        latencies = (f"{tier[f'{name}_milliseconds']:.1f}" for name in ("p50", "p99"))
        results.add_row(during, tier["tier"], f"{tier['requests']:,}", f"{tier['failed']}", *latencies)
    if driver.returncode != TERMINATED:
        sys.exit(f"{seen['failed']} of {seen['requests']} calls failed during {during}: {seen['errors']}")
    out.print(f"  [green]{seen['requests']:,} calls meanwhile, {seen['failed']} failed[/]")


def deploy_and_show_order() -> None:
    """Deploy the edited file, then print the update's milestones in the order they happened."""
    events = json.loads(tierfleet("local", "events", "--json", quiet=True))
    seen = events[-1]["sequence"] if events else 0
    tierfleet("local", "deploy", DEV)
    for event in json.loads(tierfleet("local", "events", "--since", str(seen), "--json", quiet=True)):
        if event["action"] in MILESTONES:
            subject = event["resource"] if event["action"].startswith("Endpoint") else ""
            out.print(f"    {MILESTONES[event['action']]:<38}{subject}", style="dim")


def step(title: str, command: str) -> None:
    """Announce a step and the command that does it by hand."""
    out.print(Rule(f"[bold]{title}", align="left"))
    out.print(f"[dim]$ {command}")


def edit(file: str, *, add: str = "", remove: str = "") -> None:
    """Add a line at the end of a fleet file, or remove the one that begins with `remove`, and show the edit."""
    old = (BUILD / file).read_text().splitlines(keepends=True)
    new = [line for line in old if not (remove and line.startswith(remove))] + ([add] if add else [])
    (BUILD / file).write_text("".join(new))
    for line in list(difflib.unified_diff(old, new, n=1))[3:]:
        style = {"+": "green", "-": "red"}.get(line[0], "dim")
        out.print(f"  {line.rstrip()}", style=style, markup=False)


def synth(config: Path, outdir: Path) -> None:
    """Synthesise one fleet file with the CDK CLI; `make synth` adds CloudFormation's validation."""
    options = ["--quiet", "--no-validation", "--output", str(outdir), "--context", f"config={config}"]
    command = [str(ROOT / "node_modules/.bin/cdk"), "synth", *options, "*/**"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stderr)


def tierfleet(*arguments: str, expect: int | None = 0, quiet: bool = False) -> str:
    """Run a tierfleet command in .build/demo, shown unless `quiet`; end the demo when it ends otherwise than expected.

    Returns what it printed where `quiet`.
    """
    sys.stdout.flush()
    env = {**os.environ, **({"FORCE_COLOR": "1"} if out.is_terminal and not quiet else {})}
    command = [str(TIERFLEET), *arguments]
    result = subprocess.run(command, cwd=BUILD, env=env, text=True, capture_output=quiet, check=False)
    if expect is not None and result.returncode != expect:
        sys.exit(f"tierfleet {' '.join(arguments)} ended with {result.returncode}, expected {expect}")
    return result.stdout or ""


if __name__ == "__main__":
    main()
