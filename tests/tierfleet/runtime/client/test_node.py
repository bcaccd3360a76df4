"""The Node caller that was written from docs/calling.md, run as a program against the loopback fake."""

import json
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from loopback import (
    ACCOUNT,
    BUCKET,
    ENVIRONMENT,
    FLEET,
    REGION,
    SECOND,
    SHARED,
    SHARED_AFTER_RETYPE,
    WHALES_VERSION,
    FakeAws,
    older_route_document,
    route_document,
    score,
    split_route_document,
    whale,
)

from benchmarks import chaos_proxy

EXAMPLE = Path(__file__).parents[4] / "examples" / "node"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="Node is not installed"),
    pytest.mark.skipif(not (EXAMPLE / "node_modules").is_dir(), reason="run `npm ci` in examples/node first"),
]


def variables(url: str) -> dict[str, str]:
    """The environment of a program that calls the loopback fake."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PATH": os.environ["PATH"],
    }


class Caller:
    """The program under way: one line of JSON in, one line out."""

    def __init__(self, url: str, **options: Any) -> None:
        options = {"fleet": FLEET, "environment": ENVIRONMENT, "region": REGION, **options}
        self.program = subprocess.Popen(
            [str(NODE), str(EXAMPLE / "caller.mjs"), json.dumps(options)],
            env=variables(url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, *questions: tuple[str, str]) -> list[dict[str, Any]]:
        """All questions at once; the answers in the order they came."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        for tenant, body in questions:
            self.program.stdin.write(json.dumps({"tenant": tenant, "body": body}) + "\n")
        self.program.stdin.flush()
        return [json.loads(self.program.stdout.readline()) for _ in questions]

    def end(self) -> None:
        self.program.communicate()
        assert self.program.returncode == 0


@pytest.fixture
def caller(url: str) -> Iterator[Caller]:
    caller = Caller(url)
    yield caller
    caller.end()


def test_a_document_of_an_older_fleet_needs_the_account(aws: FakeAws, url: str) -> None:
    aws.routes = older_route_document()
    caller = Caller(url, account=ACCOUNT)
    assert_answered(caller.ask(("m37", "1")))
    caller.end()
    assert aws.buckets == {BUCKET}


def test_tenants_of_a_large_fleet_are_read_from_the_bucket(aws: FakeAws, url: str) -> None:
    aws.routes = split_route_document(aws, {"m07": {"tier": "second", "endpoint": SECOND}})
    aws.endpoints.add(SECOND)
    caller = Caller(url)
    answers = caller.ask(("m07", "1"), ("m01", "1"), ("m37", "1"))
    caller.end()
    assert_answered(answers)
    tiers = {answer["tenant"]: (answer["tier"], answer["endpoint"]) for answer in answers}
    assert tiers == {"m07": ("second", SECOND), "m01": ("whale", whale("m01")), "m37": ("tail", SHARED)}


def test_a_part_of_other_bytes_is_refused(aws: FakeAws, url: str) -> None:
    aws.routes = split_route_document(aws, {"m07": {"tier": "second", "endpoint": SECOND}})
    aws.parts = dict.fromkeys(aws.parts, "{}")
    caller = Caller(url, deadlineSeconds=2)
    [answer] = caller.ask(("m07", "1"))
    caller.end()
    assert "has bytes whose SHA-256 is not the one in its name" in answer["error"]


def assert_answered(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        assert answer.get("predictions") == [score(answer["tenant"], row) for row in answer["body"].split("\n")], answer


QUESTIONS = [(tenant, f"{number},0.5\n{number},2") for number in range(10) for tenant in ("m01", "m07", "m37")]


def test_no_call_is_lost_while_tiers_move_and_old_endpoints_go(aws: FakeAws, caller: Caller) -> None:
    answers = caller.ask(*QUESTIONS)
    assert_answered(answers)
    assert {(answer["tenant"], answer["tier"], answer["version"]) for answer in answers} == {
        ("m01", "whale", WHALES_VERSION),
        ("m07", "tail", "v1"),
        ("m37", "tail", "v1"),
    }
    assert aws.operations[:2] == ["StartConfigurationSession", "GetLatestConfiguration"]
    assert (aws.starts[0]["RequiredMinimumPollIntervalInSeconds"], aws.buckets) == (15, {BUCKET})
    assert (aws.count("StartConfigurationSession"), aws.count("GetObject")) == (1, 2)
    # Demote m01, promote m07 and retype the tail at once, without any bake.
    with aws.lock:
        aws.routes = route_document(shared=SHARED_AFTER_RETYPE, whales=("m07",))
        aws.endpoints = {SHARED_AFTER_RETYPE, whale("m07")}
    answers = caller.ask(*QUESTIONS)
    assert_answered(answers)
    assert {(answer["tenant"], answer["endpoint"]) for answer in answers} == {
        ("m01", SHARED_AFTER_RETYPE),
        ("m07", whale("m07")),
        ("m37", SHARED_AFTER_RETYPE),
    }
    assert aws.count("StartConfigurationSession") == 2


def test_a_gone_whale_falls_back_and_is_counted(aws: FakeAws, caller: Caller) -> None:
    aws.endpoints.remove(whale("m01"))
    (answer,) = caller.ask(("m01", "1"))
    assert_answered([answer])
    assert (answer["endpoint"], answer["routeErrors"], answer["routeFallback"]) == (SHARED, 1, 1)


def test_the_retry_table_is_kept(aws: FakeAws, caller: Caller) -> None:
    busy = {"OriginalStatusCode": 503, "OriginalMessage": "No worker is available to serve request"}
    aws.fail(SHARED, "ModelNotReadyException", "loading", status=429)
    aws.fail(SHARED, "ThrottlingException", "slow down")
    aws.fail(SHARED, "InternalDependencyException", "later", status=530)
    aws.fail(SHARED, "ModelError", "busy", status=424, **busy)
    assert_answered(caller.ask(("m37", "1,2")))
    assert aws.count("InvokeEndpoint") == 5
    aws.fail(SHARED, "ModelError", "bad", status=424, OriginalStatusCode=503, OriginalMessage="Prediction failed")
    (answer,) = caller.ask(("m37", "1,2"))
    assert answer["error"].startswith("ModelError")
    assert aws.count("InvokeEndpoint") == 6


def test_a_newer_pointer_heals_a_missing_archive(aws: FakeAws, caller: Caller) -> None:
    assert_answered(caller.ask(("m37", "1")))
    aws.missing_archives.add("m37/v1.tar.gz")
    aws.versions["m37"] = "v2"
    (answer,) = caller.ask(("m37", "1"))
    assert_answered([answer])
    assert answer["version"] == "v2"


def test_slow_replies_keep_no_other_call_waiting_for_a_socket(aws: FakeAws, caller: Caller) -> None:
    caller.ask(("m37", "1,2"))
    aws.hold_invocations.clear()
    assert caller.program.stdin is not None
    assert caller.program.stdout is not None
    for _ in range(60):
        caller.program.stdin.write(json.dumps({"tenant": "m37", "body": "1,2"}) + "\n")
    caller.program.stdin.flush()
    give_up = time.monotonic() + 30
    while aws.count("InvokeEndpoint") < 61 and time.monotonic() < give_up:
        time.sleep(0.01)
    under_way = aws.count("InvokeEndpoint") - 1
    aws.hold_invocations.set()
    answers = [json.loads(caller.program.stdout.readline()) for _ in range(60)]

    assert under_way == 60
    assert [answer for answer in answers if "error" in answer] == []


def test_while_s3_does_not_answer_the_last_pointer_serves(aws: FakeAws, url: str, tmp_path: Path) -> None:
    """A minute later by its clock; the program asks twice while S3 is silent, and until S3's late answer is used."""
    program = f"""
        import {{ FleetCaller }} from {json.dumps((EXAMPLE / "caller.mjs").as_uri())};
        import {{ createInterface }} from "node:readline";
        const fleet = new FleetCaller({json.dumps({"fleet": FLEET, "environment": ENVIRONMENT, "region": REGION})});
        const now = performance.now.bind(performance);
        let calls = 0;
        for await (const line of createInterface({{ input: process.stdin }})) {{
          const deadline = new Promise((resolve) => setTimeout(resolve, 30_000, {{ version: "none in time" }}));
          const reply = await Promise.race([fleet.invoke("m37", "1,2"), deadline]);
          if (++calls === 1) performance.now = () => now() + 61_000;
          console.log(JSON.stringify(reply.version));
        }}
        process.exit(0);
    """
    file = tmp_path / "late.mjs"
    file.write_text(program)
    with subprocess.Popen(
        [str(NODE), str(file)],
        env=variables(url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as caller:
        assert caller.stdin is not None
        assert caller.stdout is not None

        def ask() -> str:
            assert caller.stdin is not None
            assert caller.stdout is not None
            caller.stdin.write("\n")
            caller.stdin.flush()
            return str(json.loads(caller.stdout.readline()))

        assert ask() == "v1"
        aws.versions["m37"] = "v2"
        aws.hold_s3.clear()
        assert [ask(), ask()] == ["v1", "v1"]
        aws.hold_s3.set()
        while ask() != "v2":
            pass
        caller.stdin.close()


def program_that(steps: str) -> str:
    """A program that has a caller and `said`, which prints what a call brought or its error."""
    return f"""
        import {{ FleetCaller }} from {json.dumps((EXAMPLE / "caller.mjs").as_uri())};
        const newCaller = () =>
          new FleetCaller({json.dumps({"fleet": FLEET, "environment": ENVIRONMENT, "region": REGION})});
        let fleet = newCaller();
        const said = (tenant, options) =>
          fleet.invoke(tenant, "1,2", options).then(
            (reply) => console.log(JSON.stringify(reply)),
            (error) => console.log(JSON.stringify({{ error: error.message }})),
          );
        {steps}
        process.exit(0);
    """


def answers_of(url: str, tmp_path: Path, steps: str) -> list[dict[str, Any]]:
    (tmp_path / "program.mjs").write_text(program_that(steps))
    ended = subprocess.run(
        [str(NODE), str(tmp_path / "program.mjs")],
        env=variables(url),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_a_clock_that_jumps_costs_no_call(aws: FakeAws, url: str, tmp_path: Path) -> None:
    """The whale is gone when the clock has jumped: routes must still be read again, within the deadline."""
    aws.endpoints.remove(whale("m01"))
    answers = answers_of(
        url,
        tmp_path,
        """
        const wall = Date.now;
        await said("m37");
        for (const hours of [26, -26]) {
          Date.now = () => wall() + hours * 3_600_000;
          await said("m01", { deadlineSeconds: 20 });
        }
        """,
    )
    assert [answer.get("tier") for answer in answers] == ["tail"] * 3, answers


def test_no_call_is_sent_after_its_deadline_nor_for_a_removed_tenant(aws: FakeAws, url: str, tmp_path: Path) -> None:
    aws.pointers["m38"] = json.dumps({"tenant": "m38", "removed_at": "2027-09-14T12:00:00+00:00"})
    steps = 'await said("m37", { deadlineSeconds: 0 }); await said("m38");'
    errors = [answer["error"] for answer in answers_of(url, tmp_path, steps)]
    assert errors == ["no routes or pointer of m37 before the deadline", "m38 was removed at 2027-09-14T12:00:00+00:00"]
    assert aws.invocations == []


def test_while_appconfig_does_not_answer_an_idle_callers_routes_serve(aws: FakeAws, url: str, tmp_path: Path) -> None:
    """An hour later by its clock. AppConfig is silent from then on; a program that waits for it is ended."""
    aws.held_after_polls = 1
    answers = answers_of(
        url,
        tmp_path,
        """
        await said("m01");
        const now = performance.now.bind(performance);
        performance.now = () => now() + 3_600_000;
        await said("m01");
        await said("m01");
        """,
    )
    aws.hold_appconfig.set()
    assert [answer.get("endpoint") for answer in answers] == [whale("m01")] * 3, answers


@contextmanager
def harmed(url: str, *faults: chaos_proxy.Fault, only: bytes) -> Iterator[str]:
    proxy = chaos_proxy.ChaosProxy(("127.0.0.1", urlsplit(url).port or 0), faults=faults, only=only)
    try:
        yield f"http://127.0.0.1:{proxy.port}"
    finally:
        proxy.close()


def drips_from_its_first_byte(connection: socket.socket, reply: bytes, _rng: random.Random) -> bool:
    class First(random.Random):
        def randrange(self, *_bounds: int) -> int:
            return 0

    return chaos_proxy.drips(connection, reply, First())


@pytest.mark.parametrize(
    "only", [b"/invocations", b"/catalog/", b"/configuration"], ids=["invoke", "pointer", "routes"]
)
def test_a_reply_that_drips_ends_at_the_deadline(aws: FakeAws, url: str, tmp_path: Path, only: bytes) -> None:
    """Dripped to its end, the reply would arrive after 15 s or more, and be a success."""
    with harmed(url, drips_from_its_first_byte, only=only) as through:
        (answer,) = answers_of(through, tmp_path, 'await said("m37", { deadlineSeconds: 1 });')
    assert answer["error"].endswith("of m37 before the deadline")


CUT = [
    chaos_proxy.cut_head,
    chaos_proxy.half_a_reply,
    chaos_proxy.no_length,
    chaos_proxy.garbage,
    chaos_proxy.garbage_for_a_body,
    chaos_proxy.length_too_long,
    chaos_proxy.chunks_that_break_off,
    chaos_proxy.odd_error,
    chaos_proxy.odd_status,
    chaos_proxy.interim_replies_without_end,
    chaos_proxy.resets,
    chaos_proxy.twice,
]


def test_harmed_replies_end_in_a_right_score_or_an_error(aws: FakeAws, url: str, tmp_path: Path) -> None:
    """One program, with a new caller for each fault."""
    with ExitStack() as proxies:
        through = [proxies.enter_context(harmed(url, fault, only=b"/invocations")) for fault in CUT]
        steps = f"""
        for (const url of {json.dumps(through)}) {{
          process.env.AWS_ENDPOINT_URL = url;
          fleet = newCaller();
          for (let number = 0; number < 4; number += 1) await said("m37", {{ deadlineSeconds: 1 }});
        }}
        """
        answers = answers_of(url, tmp_path, steps)
    assert len(answers) == 4 * len(CUT)
    for position, fault in enumerate(CUT):
        for answer in answers[4 * position : 4 * position + 4]:
            # Node takes the first of two replies, and a whole reply of HTTP/2.0 for one of HTTP/1.1.
            harmless = fault in {chaos_proxy.twice, chaos_proxy.odd_status}
            right = harmless and answer.get("predictions") == [score("m37", "1,2")]
            assert right or "error" in answer, (fault.__name__, answer)


def test_a_held_pointer_serves_while_s3_gives_what_is_none(aws: FakeAws, url: str, tmp_path: Path) -> None:
    """Two minutes later by its clock."""
    steps = """
    await said("m37");
    const now = performance.now.bind(performance);
    performance.now = () => now() + 120_000;
    await (await fetch(process.env.AWS_ENDPOINT_URL + "/later")).text();
    await said("m37");
    """
    for garbage in ("<html>", "[]", "null", "[" * 10_000, '{"tenant": "m37", "target_model": "m37/a\\r\\nb"}'):
        aws.pointers.clear()
        aws.later_pointers = {"m37": garbage}
        answers = answers_of(url, tmp_path, steps)
        assert [answer.get("version") for answer in answers] == ["v1", "v1"], (garbage, answers)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("[[0.25, 0.75], [0.5, 0.5]]", [[0.25, 0.75], [0.5, 0.5]]),
        ('{"predictions": [{"score": [0.25, 0.75]}]}', [[0.25, 0.75]]),
        ("[[0.25], [0.5]]", [0.25, 0.5]),
        ("[[0.25, 0.75], [0.5]]", "the rows differ in their numbers of scores"),
        ("[[0.25, 0.75], 0.5]", "the rows differ in their numbers of scores"),
        ("[[0.25, [0.75, 1]]]", "the reply holds something else than scores per row"),
    ],
)
def test_several_scores_per_row(body: str, expected: Any, aws: FakeAws, url: str, tmp_path: Path) -> None:
    aws.containers[SHARED] = lambda *_: (200, "application/json", body.encode())
    (answer,) = answers_of(url, tmp_path, 'await said("m37");')
    assert expected in (answer.get("predictions"), answer.get("error"))
