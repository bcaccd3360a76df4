"""Names: exact forms, and the properties that IAM and routing rely on."""

import fnmatch
import re

from hypothesis import assume, given
from hypothesis import strategies as st

from tierfleet.runtime import names

# Few letters, so that words repeat, overlap and begin one another.
words = st.lists(st.text("a1", min_size=1, max_size=2), min_size=1, max_size=3).map("-".join)
hostings = st.sampled_from(["multi-model", "dedicated"])
instance_types = st.sampled_from(["ml.m5.large", "ml.m5.xlarge", "ml.r5.2xlarge", "ml.m5d.xlarge"])
endpoints = st.tuples(words, words, words, words | st.none(), hostings, instance_types)


def test_a_multi_model_endpoint_is_named_for_all_tenants() -> None:
    name = names.endpoint_name("fraud", "prod", "tail", None, "multi-model", "ml.m5.xlarge")
    assert name == "fraud--prod--tail--all--mme-m5-xlarge"


def test_a_dedicated_endpoint_is_named_for_its_tenant() -> None:
    name = names.endpoint_name("fraud", "prod", "whale", "m01", "dedicated", "ml.m5.large")
    assert name == "fraud--prod--whale--m01--dedicated-m5-large"


UUID = "550e8400-e29b-41d4-a716-446655440000"


def test_a_uuid_is_named_by_its_hash_and_an_id_that_fits_by_itself() -> None:
    name = names.endpoint_name("fraud", "prod", "whale", UUID, "dedicated", "ml.m5.large")
    assert name == "fraud--prod--whale--h-uou6d3mxglfl--dedicated-m5-large"
    short = names.endpoint_name("f", "p", "w", UUID[:34], "dedicated", "ml.m5.large")
    assert short == f"f--p--w--{UUID[:34]}--dedicated-m5-large"
    assert re.fullmatch(names.RESERVED_TENANT_PATTERN, names.hashed_tenant(UUID))


@given(st.uuids(), st.uuids())
def test_two_uuids_have_two_names_of_at_most_63_characters(first: object, second: object) -> None:
    assume(first != second)
    made = [
        names.endpoint_name("fraud", "prod", "whale", str(tenant), "dedicated", "ml.m5.large")
        for tenant in (first, second)
    ]
    assert made[0] != made[1]
    assert max(map(len, made)) <= names.MAX_ENDPOINT_NAME_CHARACTERS


@given(st.integers(1, 40))
def test_names_that_fit_do_not_change(length: int) -> None:
    tenant = "a" * length
    plain = f"fraud--prod--whale--{tenant}--dedicated-m5-large"
    name = names.endpoint_name("fraud", "prod", "whale", tenant, "dedicated", "ml.m5.large")
    assert (name == plain) == (len(plain) <= names.MAX_ENDPOINT_NAME_CHARACTERS)


@given(words)
def test_the_words_of_these_tests_are_words(word: str) -> None:
    assert re.fullmatch(names.WORD_PATTERN, word)


def test_the_other_names() -> None:
    bucket = names.models_bucket("fraud", "prod", "111122223333", "eu-west-1")
    assert bucket == "fraud--prod--models--111122223333--eu-west-1"
    assert names.alarm_topic("fraud", "prod") == "fraud--prod--alarms"
    assert names.routes_application("fraud", "prod") == "fraud--prod"
    assert names.catalog_key("m37") == "catalog/m37.json"


@given(endpoints, endpoints)
def test_different_endpoints_have_different_names(first: tuple, second: tuple) -> None:
    assume(first != second)
    assert names.endpoint_name(*first) != names.endpoint_name(*second)


@given(endpoints)
def test_sagemaker_accepts_the_name(endpoint: tuple) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", names.endpoint_name(*endpoint))


@given(endpoints, words, words)
def test_no_name_is_a_prefix_of_another_tenants(endpoint: tuple, tenant: str, other: str) -> None:
    assume(tenant != other)
    fleet, environment, tier, _, hosting, instance_type = endpoint
    name = names.endpoint_name(fleet, environment, tier, tenant, hosting, instance_type)
    assert not name.startswith(names.endpoint_name(fleet, environment, tier, other, hosting, instance_type))
    assert not name.startswith(f"{fleet}--{environment}--{tier}--{other}--")


@given(endpoints, words)
def test_the_tenant_grant_matches_exactly_the_tenants_own_endpoints(endpoint: tuple, tenant: str) -> None:
    fleet, environment, _, owner, _, _ = endpoint
    grant = f"{fleet}--{environment}--*--{tenant}--*"
    assert fnmatch.fnmatchcase(names.endpoint_name(*endpoint), grant) == (owner == tenant)
    own = (*endpoint[:3], tenant, *endpoint[4:])
    assert fnmatch.fnmatchcase(names.endpoint_name(*own), grant)


@given(endpoints, words, words)
def test_the_tenant_grant_matches_no_other_fleet_or_environment(endpoint: tuple, fleet: str, environment: str) -> None:
    assume((fleet, environment) != endpoint[:2])
    grant = f"{fleet}--{environment}--*--{endpoint[3] or names.ALL_TENANTS}--*"
    assert not fnmatch.fnmatchcase(names.endpoint_name(*endpoint), grant)
