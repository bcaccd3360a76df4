"""`make fuzz`: hostile inputs of every kind for minutes, two lanes at a time. Exit code 1 if there is a finding."""

import argparse
import json
import multiprocessing
import sys
import time
from multiprocessing.queues import Queue
from typing import Any

from tests.fuzz.lanes import HALVES, run_half


def _progress(seconds: float, started: float, ended: int, lanes: int) -> None:
    elapsed = time.monotonic() - started
    print(f"\r{elapsed:5.0f} of about {seconds:.0f} s, {ended} of {lanes} lanes ended", end="", flush=True)


def main() -> int:
    """Run all lanes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="of the whole run (default: 600)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats a run (default: the time)")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    results: Queue[dict[str, Any]] = context.Queue()
    halves = [
        context.Process(target=run_half, args=(half, options.seconds, options.seed, results))
        for half in range(len(HALVES))
    ]
    if not options.json:
        print(f"seed {options.seed}, about {options.seconds:.0f} s, findings are kept in .build/fuzz", flush=True)
    started, lanes, reports = time.monotonic(), sum(map(len, HALVES)), []
    for process in halves:
        process.start()
    while len(reports) < lanes and (any(process.is_alive() for process in halves) or not results.empty()):
        if not options.json and sys.stdout.isatty():
            _progress(options.seconds, started, len(reports), lanes)
        try:
            reports.append(results.get(timeout=2))
        except Exception:  # noqa: S112 - queue.Empty: nothing has ended meanwhile
            continue
    for process in halves:
        process.join(30)
    findings = [finding for lane in reports for finding in lane["findings"]]
    if len(reports) < lanes:
        findings.append(f"{lanes - len(reports)} lanes ended without a result")
    if options.json:
        print(json.dumps({"seed": options.seed, "lanes": reports, "findings": findings}, indent=2))
        return 1 if findings else 0
    print(f"\n{time.monotonic() - started:.0f} s")
    print("| lane | cases | refused | findings | slowest, s | memory beyond what was counted, MiB |")
    print("|---|---|---|---|---|---|")
    for lane in reports:
        over = f"{max(0, lane['greatest_over_bytes']) / 2**20:.0f}" if lane["greatest_over_bytes"] else "-"
        counts = f"{lane['cases']:,} | {lane['refused']:,} | {len(lane['findings'])}"
        print(f"| {lane['name']} | {counts} | {lane['slowest_seconds']:.1f} | {over} |")
    for finding in findings:
        print(f"FINDING {finding}")
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
