"""What FleetClient.invoke costs on top of boto3's own invoke_endpoint, and what a cold caller asks first.

    python -m benchmarks.client [--quick] [--json]

An echo server in a process of its own answers both at once, on loopback. Bare calls and client calls alternate, so
that a noisy machine harms both alike; the overhead is the difference of their medians in a block of such pairs, given
as the median over the blocks with quartiles. The bars are on wall time. Exits 1 if one is missed.
"""

import argparse
import json
import multiprocessing
import os
import platform
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final

import boto3
import botocore
from botocore.config import Config

from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.settings import ClientSettings

MOST_OVERHEAD_MICROSECONDS: Final = 100.0
MOST_CALLS_BEFORE_THE_FIRST: Final = 3
THREADS: Final = 8
TENANTS: Final = tuple(f"m{number:02}" for number in range(70))
ACCOUNT, REGION = "111122223333", "eu-west-1"
SHARED: Final = "fraud--prod--tail--all--mme-m5-xlarge"
BODY: Final = b",".join([b"0.125"] * 20)
ROUTES: Final = json.dumps(
    {
        "version": 1,
        "fleet": "fraud",
        "environment": "prod",
        "default_tier": "tail",
        "tiers": {"tail": {"hosting": "multi-model", "endpoint": SHARED}, "whale": {"hosting": "dedicated"}},
        "tenants": {
            f"m{number:02}": {"tier": "whale", "endpoint": f"fraud--prod--whale--m{number:02}--dedicated-m5-large"}
            for number in range(5)
        },
    }
).encode()


def serve(ready: Connection) -> None:
    """Answer everything at once; a socket and a thread per connection, so that little but the client is measured."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    asked: list[str] = []
    ready.send(listener.getsockname()[1])

    def tell() -> None:
        ready.recv()
        ready.send(asked)

    threading.Thread(target=tell, daemon=True).start()
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(connection, asked), daemon=True).start()


def answer(connection: socket.socket, asked: list[str]) -> None:
    stream = connection.makefile("rb")
    while request_line := stream.readline():
        method, path, _ = request_line.decode().split(" ")
        length = 0
        while (header := stream.readline()) != b"\r\n":
            if header[:15].lower() == b"content-length:":
                length = int(header[15:])
        stream.read(length)
        asked.append(f"{method} {path.split('?')[0]}")
        status, headers, content = reply(path)
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
        connection.sendall(head.encode() + content)


def reply(path: str) -> tuple[str, str, bytes]:
    if path.endswith("/invocations"):
        return "200 OK", "x-Amzn-Invoked-Production-Variant: AllTraffic\r\n", b"[0.123456789]"
    if path.startswith("/configurationsessions"):
        return "201 Created", "", b'{"InitialConfigurationToken": "t"}'
    if path.startswith("/configuration"):
        next_poll = "Next-Poll-Configuration-Token: t\r\nNext-Poll-Interval-In-Seconds: 3600\r\n"
        return "200 OK", next_poll, ROUTES
    tenant = path.rsplit("/", 1)[1].removesuffix(".json")
    pointer = {"tenant": tenant, "version": "v1", "target_model": f"{tenant}/v1.tar.gz"}
    return "200 OK", "", json.dumps(pointer).encode()


def paired(bare: Callable[[int], object], ours: Callable[[int], object], blocks: int, calls: int) -> dict[str, Any]:
    """Calls in the order bare, ours, ours, bare, …, cut into blocks: the median of each block, and of the differences.

    Wall time holds whatever else the machine does; the calling thread's CPU time does not.
    """
    wall: dict[str, list[float]] = {"bare": [], "ours": []}
    cpu: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(blocks):
        took: dict[str, list[tuple[int, int]]] = {"bare": [], "ours": []}
        for number in range(calls):
            order = (("bare", bare), ("ours", ours)) if number % 2 else (("ours", ours), ("bare", bare))
            for name, call in order:
                started, cpu_started = time.perf_counter_ns(), time.thread_time_ns()
                call(number)
                took[name].append((time.perf_counter_ns() - started, time.thread_time_ns() - cpu_started))
        for name, durations in took.items():
            wall[name].append(statistics.median(duration for duration, _ in durations) / 1000)
            cpu[name].append(statistics.median(duration for _, duration in durations) / 1000)
    return {"wall": differences(wall), "cpu": differences(cpu), "blocks": blocks, "calls_per_block": calls}


def differences(medians: dict[str, list[float]]) -> dict[str, Any]:
    overheads = [ours - bare for bare, ours in zip(medians["bare"], medians["ours"], strict=True)]
    return {
        "bare_microseconds": round(statistics.median(medians["bare"]), 1),
        "client_microseconds": round(statistics.median(medians["ours"]), 1),
        "overhead_microseconds": round(statistics.median(overheads), 1),
        "overhead_quartiles_microseconds": [round(value, 1) for value in statistics.quantiles(overheads, n=4)[::2]],
    }


def calls_per_second(call: Callable[[int], object], calls: int) -> float:
    """All threads together; calls: of each."""
    barrier = threading.Barrier(THREADS + 1)

    def work(first: int) -> None:
        barrier.wait()
        for number in range(first, first + calls):
            call(number)

    threads = [threading.Thread(target=work, args=(index * 7,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return THREADS * calls / (time.perf_counter() - started)


def contention(bare: Callable[[int], object], ours: Callable[[int], object], rounds: int, calls: int) -> dict[str, Any]:
    bare_rates, our_rates = [], []
    for turn in range(rounds):
        for which in ("bare", "ours") if turn % 2 else ("ours", "bare"):
            if which == "bare":
                bare_rates.append(calls_per_second(bare, calls))
            else:
                our_rates.append(calls_per_second(ours, calls))
    ratios = [ours / bare for bare, ours in zip(bare_rates, our_rates, strict=True)]
    return {
        "threads": THREADS,
        "bare_calls_per_second": round(statistics.median(bare_rates)),
        "client_calls_per_second": round(statistics.median(our_rates)),
        "client_to_bare": round(statistics.median(ratios), 3),
        "client_to_bare_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "rounds": rounds,
    }


def measure(port: int, server: Connection, *, quick: bool) -> dict[str, Any]:
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    session = boto3.Session("test", "test", region_name=REGION)
    settings = ClientSettings(pointer_ttl_seconds=86_400)
    config = Config(retries={"total_max_attempts": 1}, tcp_keepalive=True, max_pool_connections=settings.connections)
    bare_client = session.client("sagemaker-runtime", config=config)
    written: list[str] = []

    def fleet(**options: Any) -> FleetClient:
        return FleetClient("fraud", "prod", account=ACCOUNT, session=session, settings=settings, **options)

    def bare(number: int) -> bytes:
        target = f"{TENANTS[5 + number % 65]}/v1.tar.gz"
        response = bare_client.invoke_endpoint(
            EndpointName=SHARED, TargetModel=target, Body=BODY, ContentType="text/csv", Accept="application/json"
        )
        return bytes(response["Body"].read())

    with fleet() as client, fleet(emit=written.append) as client_with_metrics:

        def ours(number: int) -> bytes:
            return client.invoke(TENANTS[5 + number % 65], BODY).body

        def ours_with_metrics(number: int) -> bytes:
            return client_with_metrics.invoke(TENANTS[5 + number % 65], BODY).body

        first_started = time.perf_counter()
        ours(0)
        first_milliseconds = (time.perf_counter() - first_started) * 1000
        server.send("what was asked?")
        cold_calls = server.recv()
        for number in range(300):
            bare(number)
            ours(number)
            ours_with_metrics(number)
        blocks, calls = (11, 40) if quick else (40, 150)
        return {
            "python": platform.python_version(),
            "botocore": botocore.__version__,
            "cpus": os.cpu_count(),
            "load_average": [round(value, 1) for value in os.getloadavg()],
            "before_the_first_invoke": cold_calls[: cold_calls.index(f"POST /endpoints/{SHARED}/invocations")],
            "first_call_milliseconds": round(first_milliseconds, 1),
            "one_thread": paired(bare, ours, blocks, calls),
            "one_thread_with_metrics": paired(bare, ours_with_metrics, blocks, calls),
            "contention": contention(bare, ours, *((3, 40) if quick else (9, 200))),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer calls, for a check that it runs")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there,), daemon=True)
    server.start()
    try:
        result = measure(here.recv(), here, quick=options.quick)
    finally:
        server.terminate()
        server.join()
    bars = {
        "overhead": result["one_thread"]["wall"]["overhead_microseconds"] <= MOST_OVERHEAD_MICROSECONDS,
        "overhead with metrics": (
            result["one_thread_with_metrics"]["wall"]["overhead_microseconds"] <= MOST_OVERHEAD_MICROSECONDS
        ),
        "calls before the first": len(result["before_the_first_invoke"]) <= MOST_CALLS_BEFORE_THE_FIRST,
    }
    result["bars_met"] = bars
    print(json.dumps(result, indent=2) if options.json else table(result))
    return 0 if all(bars.values()) else 1


def table(result: dict[str, Any]) -> str:
    machine = f"{result['cpus']} CPUs, load {result['load_average'][0]}"
    lines = [f"Python {result['python']}, botocore {result['botocore']}, {machine}", ""]
    for title, name in (("one thread", "one_thread"), ("metrics on", "one_thread_with_metrics")):
        for kind in ("wall", "cpu"):
            part = result[name][kind]
            low, high = part["overhead_quartiles_microseconds"]
            lines.append(
                f"{title + ', ' + kind:24} bare {part['bare_microseconds']:7.1f} us   "
                f"client {part['client_microseconds']:7.1f} us   "
                f"overhead {part['overhead_microseconds']:6.1f} us (quartiles {low} to {high})"
            )
    part = result["contention"]
    lines += [
        f"{part['threads']} threads{'':15} bare {part['bare_calls_per_second']:5}/s    "
        f"client {part['client_calls_per_second']:5}/s     ratio {part['client_to_bare']} "
        f"({part['client_to_bare_range'][0]} to {part['client_to_bare_range'][1]})",
        f"calls before the first   {len(result['before_the_first_invoke'])} (bar {MOST_CALLS_BEFORE_THE_FIRST}): "
        + ", ".join(result["before_the_first_invoke"]),
        f"first call               {result['first_call_milliseconds']} ms, connections included",
        "",
        f"bars ({MOST_OVERHEAD_MICROSECONDS:g} us of wall time): "
        + ", ".join(f"{name} {'met' if met else 'MISSED'}" for name, met in result["bars_met"].items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
