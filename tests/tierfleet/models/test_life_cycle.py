"""Publish, rollback, remove and gc at the same time, with crashes and lost replies: nothing is ever missing.

The machine runs each operation in a thread that stops before every call of S3; hypothesis chooses whose call comes
next, which process ends, and which reply is lost.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from versioned_s3 import Crash, VersionedS3

from tierfleet.models import pointer
from tierfleet.models.collection.delete import delete_garbage
from tierfleet.models.collection.find import Collection, find_garbage
from tierfleet.models.publish import LostRaceError, Publication, PublishError, publish
from tierfleet.models.references import Deployed
from tierfleet.models.remove import RemoveError, remove
from tierfleet.models.rollback import RollbackError, roll_back
from tierfleet.runtime.names import MODELS_PREFIX, catalog_key

BUCKET, TENANT, PIN = "b", "m01", "m01/2.tar.gz"
VERSIONS = ("1", "2", "3", "4")
Operation = Callable[[Any], object]


def archive(version: str) -> bytes:
    return f"the archive of {version}".encode()


def publishing(s3: VersionedS3, version: str, content: bytes | None = None) -> Operation:
    content = content or archive(version)
    return lambda client: publish(client, bucket=BUCKET, tenant=TENANT, version=version, archive=content, now=s3.now)


def rolling_back(s3: VersionedS3, to: str | None = None) -> Operation:
    return lambda client: roll_back(client, bucket=BUCKET, tenant=TENANT, to=to, now=s3.now)


def removing(s3: VersionedS3) -> Operation:
    return lambda client: remove(client, bucket=BUCKET, tenant=TENANT, now=s3.now)


def collecting(s3: VersionedS3, *, permanently: bool = False, grace_hours: float = 0) -> Operation:
    def run(client: Any) -> Collection:
        grace = timedelta(hours=grace_hours)
        collection, held = find_garbage(
            client,
            bucket=BUCKET,
            pins={PIN: "pinned"},
            deployed=Deployed(),
            now=s3.now,
            grace=grace,
            tenant=TENANT,
        )
        delete_garbage(
            client, collection, held, bucket=BUCKET, now=s3.now, look_again=Deployed, permanently=permanently
        )
        return collection

    return run


def current(s3: VersionedS3) -> pointer.Entry:
    content = s3.content(catalog_key(TENANT))
    return pointer.parse(content, TENANT, "test") if content else pointer.Entry(tenant=TENANT)


def check(s3: VersionedS3) -> None:
    """What holds at every moment, whoever is under way."""
    entry = current(s3)
    for target in filter(None, (entry.target_model, entry.previous)):
        content = s3.content(MODELS_PREFIX + target)
        assert content is not None, f"the pointer names {target}, which is not there"
    if entry.target_model and entry.sha256:
        content = s3.content(MODELS_PREFIX + entry.target_model) or b""
        assert entry.sha256 == hashlib.sha256(content).hexdigest()
    if s3.versioned:
        _check_no_update_is_lost(s3)


def _check_no_update_is_lost(s3: VersionedS3) -> None:
    """Each pointer was made from the one before it: no publisher wrote over another's unseen."""
    names: list[dict[str, Any]] = [json.loads(text) if text else {} for text in s3.history(catalog_key(TENANT))]
    for before, after in pairwise(names):
        if after.get("target_model") and after["target_model"] != before.get("target_model"):
            assert after["previous"] == before.get("target_model"), f"{before} was overwritten unseen by {after}"


class Process(threading.Thread):
    """An operation that stops before each call of S3 until it is told how to go on."""

    def __init__(self, s3: VersionedS3, name: str, operation: Operation) -> None:
        super().__init__(daemon=True, name=name)
        self.result: object = None
        self.error: BaseException | None = None
        self._how: str | None = None
        self._operation = operation
        self._client = s3.client(self._gate)
        self._stopped, self._go = threading.Semaphore(0), threading.Semaphore(0)
        self.start()
        self._stopped.acquire()

    def run(self) -> None:
        try:
            self._gate("start")
            self.result = self._operation(self._client)
        except (Exception, Crash) as error:
            self.error = error
        self.ended = True
        self._stopped.release()

    def _gate(self, _operation: str) -> str | None:
        self._stopped.release()
        self._go.acquire()
        if self._how == "crash":
            raise Crash
        return self._how

    ended = False

    def step(self, how: str) -> None:
        """Let it make its next call; "crash": end it instead; "twice": lose the first reply."""
        self._how = how
        self._go.release()
        self._stopped.acquire()


TOLD = (PublishError, RollbackError, RemoveError)


class LifeCycle(RuleBasedStateMachine):
    """One tenant, any number of publishers, rollbacks, removals and collectors at once, no grace period."""

    def __init__(self) -> None:
        super().__init__()
        self.s3 = VersionedS3()
        self.running: list[Process] = []
        self.published: set[str] = set()
        self.pin_was_there = False

    @precondition(lambda self: len(self.running) < 4)
    @rule(version=st.sampled_from(VERSIONS), other_bytes=st.booleans())
    def start_publish(self, version: str, other_bytes: bool) -> None:
        content = b"other" if other_bytes and version == "4" else None
        self._start(f"publish {version}", publishing(self.s3, version, content))

    @precondition(lambda self: len(self.running) < 4)
    @rule(to=st.sampled_from([None, *VERSIONS]))
    def start_rollback(self, to: str | None) -> None:
        self._start("rollback", rolling_back(self.s3, to))

    @precondition(lambda self: len(self.running) < 4)
    @rule()
    def start_remove(self) -> None:
        self._start("remove", removing(self.s3))

    @precondition(lambda self: len(self.running) < 4)
    @rule(permanently=st.booleans())
    def start_gc(self, permanently: bool) -> None:
        self._start("gc", collecting(self.s3, permanently=permanently))

    @precondition(lambda self: self.running)
    @rule(
        which=st.integers(0, 3),
        steps=st.integers(1, 4),
        how=st.sampled_from(["go", "go", "go", "go", "twice", "crash"]),
    )
    def step(self, which: int, steps: int, how: str) -> None:
        process = self.running[which % len(self.running)]
        for _ in range(steps):
            process.step(how)
            self.nothing_is_missing()
            if process.ended:
                self._end(process)
                return

    @rule(seconds=st.integers(1, 3600))
    def time_passes(self, seconds: int) -> None:
        self.s3.pass_time(seconds / 3600 / 100)

    @invariant()
    def nothing_is_missing(self) -> None:
        check(self.s3)
        there = self.s3.content(MODELS_PREFIX + PIN) is not None
        assert there or not self.pin_was_there, "a pinned artefact was collected"
        self.pin_was_there = there

    def teardown(self) -> None:
        for process in self.running:
            while not process.ended:
                process.step("crash")
        check(self.s3)
        # Whatever was left half done, the next publisher completes.
        publishing(self.s3, "9")(self.s3.client())
        assert current(self.s3).version == "9"
        check(self.s3)

    def _start(self, name: str, operation: Operation) -> None:
        self.running.append(Process(self.s3, name, operation))

    def _end(self, process: Process) -> None:
        self.running.remove(process)
        process.join()
        assert process.error is None or isinstance(process.error, (Crash, *TOLD)), repr(process.error)
        if process.error is None and process.name.startswith("publish"):
            # It won: it was current at some moment. Else it was told.
            version = process.name.removeprefix("publish ")
            history = [json.loads(text).get("version") for text in self.s3.history(catalog_key(TENANT)) if text]
            assert version in history


LifeCycle.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLifeCycle = LifeCycle.TestCase


def calls_of(s3: VersionedS3, operation: Operation) -> int:
    """How many calls an operation makes, counted on the bucket itself."""
    calls = 0

    def count(_operation: str) -> None:
        nonlocal calls
        calls += 1

    with suppress(*TOLD):
        operation(s3.client(count))
    return calls


def before_call(number: int, act: Callable[[], None]) -> Callable[[str], None]:
    left = number

    def gate(_operation: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            act()

    return gate


def bucket_with(*versions: str, versioned: bool = True) -> VersionedS3:
    s3 = VersionedS3(versioned=versioned)
    for version in versions:
        publishing(s3, version)(s3.client())
        s3.pass_time(1)
    return s3


OPERATIONS: dict[str, Callable[[VersionedS3], Operation]] = {
    "publish": lambda s3: publishing(s3, "4"),
    "rollback": rolling_back,
    "rollback to 1": lambda s3: rolling_back(s3, "1"),
    "remove": removing,
    "gc": collecting,
    "gc permanently": lambda s3: collecting(s3, permanently=True),
}


def crash() -> None:
    raise Crash


@pytest.mark.parametrize("versioned", [True, False], ids=["versioned", "unversioned"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_crash_at_any_call_leaves_a_whole_catalog_and_a_rerun_completes_it(name: str, versioned: bool) -> None:
    whole = bucket_with("1", "2", "3", versioned=versioned)
    calls = calls_of(whole, OPERATIONS[name](whole))
    assert calls >= 2
    for number in range(1, calls + 1):
        s3 = bucket_with("1", "2", "3", versioned=versioned)
        with pytest.raises(Crash):
            OPERATIONS[name](s3)(s3.client(before_call(number, crash)))
        check(s3)
        assert current(s3).version == "3" or name.startswith("rollback"), (
            "the old version is current until the last step"
        )
        OPERATIONS[name](s3)(s3.client())
        check(s3)
        assert s3.keys("") == whole.keys("")
        assert (current(s3).target_model, current(s3).previous) == (
            current(whole).target_model,
            current(whole).previous,
        )


@pytest.mark.parametrize("other", OPERATIONS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_any_two_operations_may_meet_at_any_call(name: str, other: str) -> None:
    start = bucket_with("1", "2", "3")
    for number in range(1, calls_of(start, OPERATIONS[name](start)) + 1):
        s3 = bucket_with("1", "2", "3")

        def meet(s3: VersionedS3 = s3) -> None:
            with suppress(*TOLD):
                OPERATIONS[other](s3)(s3.client())
            check(s3)

        with suppress(*TOLD):
            OPERATIONS[name](s3)(s3.client(before_call(number, meet)))
        check(s3)


def test_a_version_that_gc_took_is_not_published_again_while_its_deletion_may_be_under_way() -> None:
    s3 = bucket_with("1", "2", "3", "4")
    collection = collecting(s3)(s3.client())
    assert isinstance(collection, Collection)
    assert [item.target_model for item in collection.of("deleted")] == ["m01/1.tar.gz"]
    with pytest.raises(PublishError, match=r"m01/1.tar.gz was given to models gc at .*; publish under a new version"):
        publishing(s3, "1")(s3.client())
    with pytest.raises(RollbackError, match="not in b, or was collected"):
        rolling_back(s3, "1")(s3.client())
    s3.pass_time(49)
    publishing(s3, "1")(s3.client())
    assert current(s3).version == "1"


def test_a_deletion_that_the_buckets_policy_refuses_says_who_may() -> None:
    s3 = bucket_with("1", "2", "3", "4")
    client = s3.client()

    def refuse(*, Delete: dict[str, Any], **_: Any) -> Any:  # noqa: N803 - boto3's name
        return {"Errors": [{"Key": item["Key"], "Code": "AccessDenied", "Message": "no"} for item in Delete["Objects"]]}

    client.delete_objects = refuse
    collection = collecting(s3)(client)
    assert isinstance(collection, Collection)
    [failed] = collection.of("failed")
    assert (failed.target_model, "models.gc_principal_arns" in failed.why) == ("m01/1.tar.gz", True)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_lost_reply_at_any_call_changes_nothing(name: str) -> None:
    """The SDK repeats the request and meets its own first result. It reports no race."""
    whole = bucket_with("1", "2", "3")
    for number in range(1, calls_of(whole, OPERATIONS[name](whole)) + 1):
        s3 = bucket_with("1", "2", "3")
        left = iter(range(number - 1, -1, -1))
        OPERATIONS[name](s3)(s3.client(lambda _, left=left: "twice" if next(left, None) == 0 else None))
        assert s3.keys("") == whole.keys("")
        assert current(s3) == current(whole)


def test_of_two_publishers_one_wins_and_the_other_is_told_what_to_do() -> None:
    s3 = bucket_with("1")
    winner = publishing(s3, "3")
    with pytest.raises(
        LostRaceError, match=r"m01/3.tar.gz is current; m01/2.tar.gz is stored and not current: publish it"
    ):
        publishing(s3, "2")(s3.client(before_call(3, lambda: winner(s3.client()) and None)))
    assert current(s3).version == "3"
    assert s3.content(f"{MODELS_PREFIX}m01/2.tar.gz") == archive("2"), "nothing is lost"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_two_publishers_of_the_same_version_are_both_told_that_it_is_current(number: int) -> None:
    s3 = bucket_with("1")

    def other_one() -> None:
        s3.pass_time(0.1)
        publishing(s3, "2")(s3.client())

    published = publishing(s3, "2")(s3.client(before_call(number, other_one)))
    assert isinstance(published, Publication)
    assert (published.target_model, published.pointer, published.previous) == (
        "m01/2.tar.gz",
        "unchanged",
        "m01/1.tar.gz",
    )
    assert (current(s3).version, current(s3).previous) == ("2", "m01/1.tar.gz")


def test_a_publisher_that_gc_met_halfway_still_wins() -> None:
    """gc notes its deletions in the pointer. That alone makes no publisher lose."""
    s3 = bucket_with("1", "2", "3")
    publishing(s3, "4")(s3.client(before_call(3, lambda: collecting(s3, grace_hours=1)(s3.client()) and None)))
    assert current(s3).version == "4"
    assert "m01/1.tar.gz" in current(s3).collected


class TestGrace:
    """What gc leaves alone for a while, and why."""

    def reasons(self, s3: VersionedS3, grace_hours: float = 24) -> dict[str, tuple[str, str]]:
        collection = collecting(s3, grace_hours=grace_hours)(s3.client())
        assert isinstance(collection, Collection)
        return {
            item.target_model.partition("/")[2].removesuffix(".tar.gz"): (item.fate, item.why)
            for item in collection.artefacts
        }

    def test_an_upload_that_no_pointer_names_yet(self) -> None:
        s3 = bucket_with("1")
        with pytest.raises(Crash):
            publishing(s3, "3")(s3.client(before_call(3, crash)))
        s3.pass_time(23)
        assert self.reasons(s3)["3"] == ("kept", "uploaded 2027-09-14T13:00:00+00:00, less than 24 h ago")
        s3.pass_time(2)
        assert self.reasons(s3)["3"] == ("deleted", "1 is current")

    def test_what_was_current_until_a_moment_ago(self) -> None:
        s3 = bucket_with("1")
        s3.pass_time(1000)
        publishing(s3, "3")(s3.client())
        publishing(s3, "4")(s3.client())
        assert self.reasons(s3)["1"] == ("kept", "current until 2027-10-26T05:00:00+00:00, less than 24 h ago")
        s3.pass_time(25)
        assert self.reasons(s3)["1"][0] == "deleted"

    def test_a_removed_tenant_and_its_pointer_at_last(self) -> None:
        s3 = bucket_with("1", "3")
        s3.pass_time(1000)
        removing(s3)(s3.client())
        assert {fate for fate, _ in self.reasons(s3).values()} == {"kept"}
        s3.pass_time(25)
        assert {fate for fate, _ in self.reasons(s3).values()} == {"deleted"}
        assert s3.keys("") == [catalog_key(TENANT)], "it says for 48 h what was deleted"
        s3.pass_time(49)
        self.reasons(s3)
        assert s3.keys("") == []

    def test_the_current_the_previous_and_the_pinned_version_for_ever(self) -> None:
        s3 = bucket_with("1", "2", "3", "4")
        s3.pass_time(10_000)
        assert self.reasons(s3) == {
            "1": ("deleted", "4 is current"),
            "2": ("kept", "pinned"),
            "3": ("kept", "previous"),
            "4": ("kept", "current"),
        }

    def test_more_grace_than_pointers_remember_is_refused(self) -> None:
        s3 = bucket_with("1")
        with pytest.raises(ValueError, match="0 to 48 hours"):
            self.reasons(s3, grace_hours=49)
