"""The route document as AppConfig hosts it: whole while it fits, else with its lists in the model bucket."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from local_cloud.testing.fleets import document, fleet
from tierfleet import aws_limits
from tierfleet.config import FleetConfig, hosted_routes, routes
from tierfleet.config.hosted_routes import template_bytes
from tierfleet.config.rules.size import check_sizes
from tierfleet.runtime.route_document import RoutesError
from tierfleet.runtime.route_parsing import parse_routes
from tierfleet.runtime.route_parts import KEY_PATTERN, TENANTS, part_key

TAIL = document()["tiers"]["tail"]


def made(
    *, shared_tiers: int = 0, tenants: int = 0, warmed: int = 1, whales: int = 0, probe: int = 1, tags: int = 0
) -> FleetConfig:
    """A fleet with so many tenants in each further shared tier, in each warm-up list and on endpoints of their own."""
    tiers: dict[str, Any] = {
        "tail": {"warm_up": {"tenants": [f"warm-{n}" for n in range(warmed)]}},
        # The small fleet has one of its own.
        "whale": {"tenants": {f"whale-{n}": {"model": f"whale-{n}/1.tar.gz"} for n in range(whales)}},
    }
    for number in range(shared_tiers):
        names = [f"tenant-{number}-{n}" for n in range(tenants)]
        warm_up = {**TAIL["warm_up"], "tenants": names[:warmed]}
        tiers[f"s{number}"] = {**TAIL, "default": False, "tenants": names, "warm_up": warm_up}
    return fleet(
        tiers=tiers,
        probe={"body": "0," * probe + "0"},
        tags={f"key-{n}": "v" * 200 for n in range(tags)},
    )


def read_back(config: FleetConfig) -> Any:
    hosted = hosted_routes.hosted_routes(config)
    return parse_routes(hosted.document, read_part=lambda bucket, key: _stored(config, hosted.parts, bucket, key))


def _stored(config: FleetConfig, parts: Any, bucket: str, key: str) -> bytes:
    assert bucket == routes.route_document(config)["models_bucket"]
    content: bytes = parts[key]
    return content


fleets = st.builds(
    made,
    shared_tiers=st.integers(0, 4),
    tenants=st.integers(0, 3000),
    warmed=st.integers(0, 1500),
    whales=st.integers(0, 160),
    probe=st.integers(1, 49_000),
    tags=st.integers(0, 2),
)


@settings(max_examples=40)
@given(fleets)
@example(made(shared_tiers=4, tenants=4000, warmed=3000, whales=100))
@example(made(whales=160, shared_tiers=2, tenants=1))
def test_any_fleet_fits_or_is_split_and_reads_back_the_same(config: FleetConfig) -> None:
    hosted = hosted_routes.hosted_routes(config)
    assert read_back(config) == parse_routes(routes.route_json(config))
    Draft4Validator(routes.ROUTE_SCHEMA).validate(json.loads(hosted.document))
    assert all(part_key(content) == key for key, content in hosted.parts.items())
    whole = hosted_routes.HostedRoutes(routes.route_json(config), {})
    assert bool(hosted.parts) == (template_bytes(config, whole) > hosted_routes.WHOLE_TEMPLATE_BYTES)
    fits = (
        template_bytes(config, hosted) <= aws_limits.TEMPLATE_BYTES.most
        and len(hosted.document) <= aws_limits.HOSTED_DOCUMENT_BYTES.most
    )
    # What grows with tenants is in S3, so these fleets all fit.
    assert (fits, list(check_sizes(config))) == (True, [])


def test_a_fleet_whose_document_fits_is_hosted_as_it_always_was() -> None:
    config = fleet()
    hosted = hosted_routes.hosted_routes(config)
    assert (hosted.document, hosted.parts) == (routes.route_json(config), {})


def test_a_split_document_keeps_what_every_caller_of_a_dedicated_tenant_needs() -> None:
    hosted = json.loads(hosted_routes.hosted_routes(made(shared_tiers=2, tenants=6000, whales=2)).document)
    assert set(hosted["tenants"]) == {"w1", "whale-0", "whale-1"}
    assert set(hosted["parts"]) == {"tenants", "warm_up"}
    assert "warm_up" not in hosted


def test_a_change_of_a_list_changes_its_own_part_alone() -> None:
    parts = []
    for tenants in (6000, 6001):
        parts.append(json.loads(hosted_routes.hosted_routes(made(shared_tiers=2, tenants=tenants)).document)["parts"])
    assert parts[0]["warm_up"] == parts[1]["warm_up"]
    assert parts[0]["tenants"] != parts[1]["tenants"]


def split() -> tuple[dict[str, Any], dict[str, bytes]]:
    hosted = hosted_routes.hosted_routes(made(shared_tiers=2, tenants=6000, whales=1))
    return json.loads(hosted.document), dict(hosted.parts)


def test_a_caller_reads_no_more_than_its_own_sections() -> None:
    content, parts = split()
    read: list[str] = []

    def read_part(_bucket: str, key: str) -> bytes:
        read.append(key)
        return parts[key]

    routes = parse_routes(json.dumps(content), read_part=read_part, sections=(TENANTS,))
    assert read == [content["parts"]["tenants"]]
    assert (routes.tier_of("tenant-1-5999"), routes.tier_of("whale-0"), routes.probe) == ("s1", "whale", None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parts": {"tenants": "models/m01/1.tar.gz"}}, "not the key of a part"),
        ({"parts": {"surprise": "routes/x.json"}}, "update this tierfleet"),
        ({"parts": {"tenants": 1}}, "not a string"),
        ({"parts": ["tenants"]}, "malformed"),
        ({"models_bucket": None}, "not a string"),
    ],
)
def test_a_document_with_broken_parts_is_refused(change: dict[str, Any], words: str) -> None:
    content, parts = split()
    with pytest.raises(RoutesError, match=words):
        parse_routes(json.dumps({**content, **change}), read_part=lambda _bucket, key: parts[key])


@pytest.mark.parametrize("content", [b"[]", b"1", b"{", b'"' + b"x" * 10, b"[" * 100_000])
def test_a_part_that_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(RoutesError, match="malformed"):
        parse_routes(json.dumps(split()[0]), read_part=lambda _bucket, _key: content)


def test_a_split_document_without_a_reader_says_what_is_missing() -> None:
    with pytest.raises(RoutesError, match=re.escape("which cannot be read here")):
        parse_routes(json.dumps(split()[0]))


@pytest.mark.parametrize(
    "change",
    [{"parts": {}}, {"parts": {"tenants": "catalog/x.json"}}, {"parts": None}, {"models_bucket": None}],
)
def test_appconfigs_validator_refuses_broken_parts(change: dict[str, Any]) -> None:
    content, _ = split()
    broken = {key: value for key, value in {**content, **change}.items() if value is not None}
    assert not Draft4Validator(routes.ROUTE_SCHEMA).is_valid(broken)
    assert Draft4Validator(routes.ROUTE_SCHEMA).is_valid(content)
    assert all(re.fullmatch(KEY_PATTERN, key) for key in content["parts"].values())
