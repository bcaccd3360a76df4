"""The gate that asks the old and the new endpoint of each tenant that moves for the probe's score."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.route_parsing import parse_routes
from tierfleet.runtime.time_limit import seconds_allowed
from tierfleet.runtime.warm_up.comparison import MOST_ATTEMPTS, Move, answer, compare, moves

TAIL, WHALE, RARE = "f--p--tail--all--mme-m5-large", "f--p--whale--m1--dedicated-m5-large", "f--p--rare--m1--serverless"
PIPE, POOL = "f--p--pipe--m1--pipeline-m5-large", "f--p--pool--all--pipeline-m5-large-abcdef"
TRIO = "f--p--trio--m1--mce-m5-large"
ENDPOINTS = {"whale": WHALE, "rare": RARE, "pipe": PIPE, "pool": POOL, "trio": TRIO}
CONTAINERS = {name: {"content_type": "application/json", "model_version": name} for name in ("main", "other")}
PROBE = {"content_type": "text/csv", "body": "1,2,3"}
ORDER = {"content_type": "application/json", "body": "[{}]"}


def routes(
    tier: str | None = None,
    version: str = "1",
    *,
    stages: str = "aaaaaa",
    probes: Mapping[str, Mapping[str, str]] | None = None,
    renamed: str = "",
    **more: str,
) -> RouteDocument:
    """m1 on this tier; None: on the default one. more: tenant to tier, as m1's endpoint is named.

    stages: of a pipeline. probes: of tiers with their own. renamed: the end of every endpoint's name.
    """
    placed = {**({"m1": tier} if tier else {}), **more}
    document = {
        "version": 1,
        "fleet": "f",
        "environment": "p",
        "default_tier": "tail",
        "tiers": {
            "tail": {"hosting": "multi-model", "endpoint": TAIL},
            "whale": {"hosting": "dedicated"},
            "rare": {"hosting": "serverless"},
            "pipe": {"hosting": "pipeline"},
            "trio": {"hosting": "multi-container"},
            "pool": {"hosting": "pipeline", "endpoint": POOL + renamed},
        },
        "tenants": {
            tenant: {
                "tier": name,
                "endpoint": ENDPOINTS[name].replace("m1", tenant) + renamed,
                **({} if name == "pool" else {"model_version": version}),
                **({"stages": stages} if name in ("pipe", "pool") else {}),
                **({"primary": "main", "containers": CONTAINERS} if name == "trio" else {}),
            }
            for tenant, name in placed.items()
        },
        "warm_up": {"probe": PROBE, "probes": probes or {}, "tiers": {}},
    }
    return parse_routes(json.dumps(document))


class Runtime:
    """Answers by endpoint: bytes, or errors that are raised in turn before the bytes."""

    def __init__(self, **replies: Any) -> None:
        self.replies = {ENDPOINTS.get(name, TAIL): reply for name, reply in replies.items()}
        self.requests: list[Mapping[str, Any]] = []
        self.seconds_allowed: dict[str, float | None] = {}

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        self.seconds_allowed[request["EndpointName"]] = seconds_allowed(None)
        reply = self.replies[request["EndpointName"]]
        if isinstance(reply, list):
            reply = reply.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return {"Body": io.BytesIO(reply)}


class Catalog:
    def __init__(self, version: str | None = "1") -> None:
        self.version = version

    def get_object(self, **_: object) -> dict[str, Any]:
        if self.version is None:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": ""}}, "GetObject")
        pointer = {"tenant": "m1", "version": self.version, "target_model": f"m1/{self.version}.tar.gz"}
        return {"Body": io.BytesIO(json.dumps(pointer).encode())}


def error(code: str, message: str = "") -> Exception:
    return ClientError({"Error": {"Code": code, "Message": message}}, "InvokeEndpoint")


def outcome(
    old: RouteDocument, new: RouteDocument, runtime: Runtime, catalog: Catalog | None = None
) -> tuple[str, str]:
    clock = iter(range(10_000))
    (compared,) = compare(
        moves(old, new),
        runtime=runtime,  # type: ignore[arg-type]
        s3=catalog or Catalog(),  # type: ignore[arg-type]
        models_bucket="b",
        most_seconds=700,
        sleep=lambda _: None,
        clock=lambda: float(next(clock)),
    )
    return compared.word, compared.reason


def test_only_tenants_whose_endpoint_changes_are_moves() -> None:
    assert moves(routes("rare", m2="whale"), routes("rare", version="2", m2="whale")) == []
    assert [(m.tenant, m.old.tier, m.new.tier) for m in moves(routes("whale"), routes(m2="rare"))] == [
        ("m1", "whale", "tail"),
        ("m2", "tail", "rare"),
    ]


@pytest.mark.parametrize(("old", "new"), [(None, "rare"), ("rare", None), ("whale", "rare"), ("rare", "whale")])
def test_each_move_is_compared_and_the_stock_images_two_formats_are_the_same_score(
    old: str | None, new: str | None
) -> None:
    runtime = Runtime(tail=b"[0.25]", whale=b'{"predictions": [{"score": 0.25}]}', rare=b"0.2500000001\n")
    assert outcome(routes(old), routes(new), runtime) == ("equal", "")
    named = {request["EndpointName"]: request.get("TargetModel") for request in runtime.requests}
    assert len(named) == 2
    assert all(target == ("m1/1.tar.gz" if name == TAIL else None) for name, target in named.items())


def test_another_score_of_the_same_version_fails_the_deployment() -> None:
    word, reason = outcome(routes(), routes("rare"), Runtime(tail=b"[0.25]", rare=b"[0.26]"))
    assert word == "failed"
    assert f"version 1 scores the probe [0.25] on {TAIL} and [0.26] on {RARE}; the tolerance is 1e-06" in reason


def test_another_version_may_have_another_score_but_must_answer() -> None:
    runtime = Runtime(tail=b"[0.25]", rare=b"[0.9]")
    assert outcome(routes(), routes("rare", version="2"), runtime) == ("answers", "")
    assert outcome(routes(), routes("rare"), Runtime(rare=b"[0.9]"), Catalog(None)) == ("answers", "")


def test_a_new_endpoint_that_does_not_answer_fails_the_deployment() -> None:
    runtime = Runtime(tail=b"[0.25]", rare=[error("ServiceUnavailable")] * MOST_ATTEMPTS)
    word, reason = outcome(routes(), routes("rare"), runtime)
    assert (word, f"the new endpoint {RARE} gave no score" in reason) == ("failed", True)
    assert len(runtime.requests) == MOST_ATTEMPTS
    denied = Runtime(tail=b"[0.25]", rare=error("ValidationError", "Endpoint x of account y not found."))
    assert outcome(routes(), routes("rare"), denied)[0] == "failed"
    assert len(denied.requests) == 1


def test_throttled_probes_are_sent_again() -> None:
    runtime = Runtime(tail=b"[0.25]", rare=[error("ThrottlingException"), b"[0.25]"])
    assert outcome(routes(), routes("rare"), runtime) == ("equal", "")


def test_an_old_endpoint_that_does_not_answer_does_not_hold_up_its_repair() -> None:
    runtime = Runtime(tail=[error("ServiceUnavailable")] * MOST_ATTEMPTS, rare=b"[0.25]")
    assert outcome(routes(), routes("rare"), runtime) == ("answers", "")


def test_a_reply_that_is_no_score_is_an_answer() -> None:
    assert outcome(routes(), routes("rare"), Runtime(tail=b"<a/>", rare=b"<b/>")) == ("answers", "")


@pytest.mark.parametrize(("old", "new"), [(None, "pipe"), ("pipe", None), ("whale", "pipe"), ("pipe", "pool")])
def test_a_pipeline_that_changes_replies_only_has_to_answer(old: str | None, new: str | None) -> None:
    runtime = Runtime(tail=b"[0.25]", whale=b"[0.25]", pipe=b'[{"decision": "approve"}]', pool=b"[0.5]")
    before, after = routes(old, stages="aaaaaa"), routes(new, stages="bbbbbb")
    assert outcome(before, after, runtime) == ("answers", "")
    assert len(runtime.requests) == 1


def test_a_pipeline_gets_the_probe_of_its_tier() -> None:
    runtime = Runtime(tail=b"[0.25]", pipe=b"[]")
    probes = {"pipe": ORDER}
    assert outcome(routes(probes=probes), routes("pipe", probes=probes), runtime) == ("answers", "")
    assert outcome(routes("pipe", probes=probes), routes(probes=probes), runtime) == ("answers", "")
    assert [(request["ContentType"], request["Body"]) for request in runtime.requests] == [
        ("application/json", b"[{}]"),
        ("text/csv", b"1,2,3"),
    ]


def test_a_pipeline_that_does_not_answer_fails_the_deployment() -> None:
    runtime = Runtime(tail=b"[0.25]", pipe=error("ModelError", "Received client error (400) from features"))
    word, reason = outcome(routes(), routes("pipe"), runtime)
    assert (word, f"the new endpoint {PIPE} gave no score" in reason) == ("failed", True)


@pytest.mark.parametrize("tier", ["pipe", "pool"])
def test_the_same_stages_on_other_instances_must_give_the_same_scores(tier: str) -> None:
    name = ENDPOINTS[tier]
    for new, word in ((b"[0.25]", "equal"), (b"[0.26]", "failed"), (b'{"approve": true}', "answers")):
        runtime = Runtime()
        runtime.replies = {name: b"[0.25]", f"{name}2": new}
        assert outcome(routes(tier), routes(tier, renamed="2"), runtime)[0] == word
        assert [request.get("TargetModel") for request in runtime.requests] == (
            ["m1/1.tar.gz"] * 2 if tier == "pool" else [None] * 2
        )


@pytest.mark.parametrize(("old", "new"), [(None, "trio"), ("trio", None), ("whale", "trio"), ("trio", "rare")])
def test_the_primary_container_gets_the_fleets_probe_and_no_other_endpoint_gets_a_container(
    old: str | None, new: str | None
) -> None:
    same = Runtime(tail=b"[0.25]", whale=b"[0.25]", rare=b"[0.25]", trio=b"[0.25]")
    assert outcome(routes(old), routes(new), same) == ("equal", "")
    asked = {request["EndpointName"]: request.get("TargetContainerHostname") for request in same.requests}
    assert len(asked) == 2
    assert all(hostname == ("main" if name == TRIO else None) for name, hostname in asked.items())
    assert {request["ContentType"] for request in same.requests} == {"text/csv"}
    other = Runtime(tail=b"[0.25]", whale=b"[0.25]", rare=b"[0.25]", trio=b"[0.75]")
    assert outcome(routes(old), routes(new), other)[0] == "failed"


def test_routes_without_a_probe_compare_nothing() -> None:
    (move,) = moves(routes(), routes("rare"))
    runtime = Runtime()
    (compared,) = compare(
        [Move(move.tenant, move.old, move.new, None, None)],
        runtime=runtime,  # type: ignore[arg-type]
        s3=Catalog(),  # type: ignore[arg-type]
        models_bucket="b",
        most_seconds=1,
    )
    assert (compared.word, runtime.requests, answer([compared]).succeeded) == ("unprobed", [], True)


def test_a_move_to_a_multi_model_endpoint_without_a_published_model_is_not_probed() -> None:
    runtime = Runtime(whale=b"[0.25]")
    assert outcome(routes("whale"), routes(), runtime, Catalog(None)) == ("unpublished", "")
    assert runtime.requests == []


def test_a_cold_serverless_call_gets_minutes_and_the_others_seconds() -> None:
    runtime = Runtime(tail=b"[0.25]", rare=b"[0.25]")
    outcome(routes(), routes("rare"), runtime)
    assert 240 < float(runtime.seconds_allowed[RARE] or 0) <= 250
    assert 60 < float(runtime.seconds_allowed[TAIL] or 0) <= 70


def test_a_tenant_that_no_time_is_left_for_fails_the_deployment() -> None:
    runtime = Runtime(tail=b"[0.25]", rare=b"[0.25]")
    (compared,) = compare(
        moves(routes(), routes("rare")),
        runtime=runtime,  # type: ignore[arg-type]
        s3=Catalog(),  # type: ignore[arg-type]
        models_bucket="b",
        most_seconds=0,
    )
    assert "there was no time left" in answer([compared]).reason


def test_the_answer_says_which_tenants_failed_and_counts_the_others() -> None:
    failed = [outcome_of(f"m{n}", "failed", "why") for n in range(5)]
    told = answer([*failed, outcome_of("m9", "equal")])
    assert (told.succeeded, told.reason.count("why"), "and 2 more tenants" in told.reason) == (False, 3, True)
    told = answer([outcome_of("m1", "equal"), outcome_of("m2", "answers")])
    assert (told.succeeded, told.reason) == (True, "2 tenants move: 1 equal, 1 answers")
    assert answer([]).succeeded


def outcome_of(tenant: str, word: str, reason: str = "") -> Any:
    from tierfleet.runtime.warm_up.comparison import Outcome

    return Outcome(tenant, word, reason)
