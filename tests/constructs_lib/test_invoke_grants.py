"""Who may call which endpoint."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from hypothesis import given
from hypothesis import strategies as st
from synthesis import AUDIENCE, statements, template_of

from constructs_lib import invoke_grants
from constructs_lib.hosting.dedicated_endpoint import DedicatedEndpoint
from constructs_lib.hosting.multi_model_endpoint import MultiModelEndpoint
from local_cloud.testing.fleets import fleet
from tierfleet.config import routes
from tierfleet.runtime.names import endpoint_name, hashed_tenant

# Few letters, so that words repeat, overlap and begin one another.
words = st.lists(st.text("a1", min_size=1, max_size=2), min_size=1, max_size=2).map("-".join)
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/"
CONFIG = fleet()
SHARED = routes.endpoint_name(CONFIG, "tail")
COMMON: dict[str, Any] = {"config": CONFIG, "audience": AUDIENCE}


def granted(grant: Callable[[iam.Role], Any]) -> Any:
    def build(stack: Any) -> None:
        grant(iam.Role(stack, "Caller", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com")))

    template: Template = template_of(CONFIG, build)
    [statement] = statements(template)
    return statement


def test_a_caller_on_a_multi_model_endpoint_reaches_only_the_models_of_its_tenants() -> None:
    statement = granted(lambda role: invoke_grants.grant_shared(role, CONFIG, SHARED, ["m1", "m2"]))
    assert statement == {
        "Effect": "Allow",
        "Action": "sagemaker:InvokeEndpoint",
        "Resource": f"{ARN}{SHARED}",
        "Condition": {"StringLike": {"sagemaker:TargetModel": ["m1/*", "m2/*"]}},
    }


def test_an_empty_list_of_tenants_is_refused_because_it_must_not_read_as_everyone() -> None:
    with pytest.raises(ValueError, match="no tenant to grant"):
        granted(lambda role: invoke_grants.grant_shared(role, CONFIG, SHARED, []))


def test_a_tenants_pattern_ends_at_the_slash_so_that_m1_does_not_reach_m10() -> None:
    statement = granted(lambda role: invoke_grants.grant_shared(role, CONFIG, SHARED, ["m1"]))
    [pattern] = statement["Condition"]["StringLike"]["sagemaker:TargetModel"]
    assert fnmatchcase("m1/2027-01-01.tar.gz", pattern)
    assert not fnmatchcase("m10/2027-01-01.tar.gz", pattern)


def test_the_fleets_own_functions_reach_every_model() -> None:
    statement = granted(lambda role: invoke_grants.grant_shared(role, CONFIG, SHARED, None))
    assert "Condition" not in statement
    assert statement["Resource"] == f"{ARN}{SHARED}"


def test_a_dedicated_endpoint_is_granted_by_its_exact_name() -> None:
    name = routes.endpoint_name(CONFIG, "whale", "w1")
    statement = granted(lambda role: invoke_grants.grant_dedicated(role, CONFIG, name))
    assert statement == {"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": f"{ARN}{name}"}


def test_a_promotion_does_not_wait_for_iam() -> None:
    statement = granted(lambda role: invoke_grants.grant_future_dedicated(role, CONFIG, "w1"))
    by_id, by_hash = sorted(statement["Resource"], reverse=True)
    assert by_id == f"{ARN}shop--test--*--w1--*"
    assert fnmatchcase(f"{ARN}{routes.endpoint_name(CONFIG, 'whale', 'w1')}", by_id)
    assert by_hash == f"{ARN}shop--test--*--{hashed_tenant('w1')}--*"


def test_a_promotion_of_a_uuid_does_not_wait_for_iam_either() -> None:
    tenant = "550e8400-e29b-41d4-a716-446655440000"
    statement = granted(lambda role: invoke_grants.grant_future_dedicated(role, CONFIG, tenant))
    name = endpoint_name("shop", "test", "whale", tenant, "dedicated", "ml.m5.large")
    assert any(fnmatchcase(f"{ARN}{name}", pattern) for pattern in statement["Resource"])


def test_an_id_that_looks_like_a_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="are reserved for hashes in endpoint names"):
        granted(lambda role: invoke_grants.grant_future_dedicated(role, CONFIG, hashed_tenant("w1")))


def test_the_pattern_of_future_endpoints_reaches_no_other_tenant_and_no_multi_model_endpoint() -> None:
    patterns = granted(lambda role: invoke_grants.grant_future_dedicated(role, CONFIG, "w1"))["Resource"]
    names = [routes.endpoint_name(CONFIG, "whale", tenant) for tenant in ("w10", "w1-b", "a-w1", "w")]
    for name in (*names, SHARED, "shop--test--w1--all--mme-m5-xlarge", "shop--prod--whale--w1--dedicated-m5-large"):
        assert not any(fnmatchcase(f"{ARN}{name}", pattern) for pattern in patterns), name


@given(words, words, words, words | st.none(), st.sampled_from(["q3f7xk", None]))
def test_the_pattern_of_an_endpoint_reaches_it_under_each_type_and_generation_and_no_other(
    fleet_name: str, tier: str, other: str, tenant: str | None, suffix: str | None
) -> None:
    hosting = "dedicated" if tenant else "multi-model"
    pattern = invoke_grants.any_generation(
        endpoint_name(fleet_name, "test", tier, tenant, hosting, "ml.m5.large", suffix)
    )
    assert fnmatchcase(endpoint_name(fleet_name, "test", tier, tenant, hosting, "ml.r5.4xlarge", "aaaaaa"), pattern)
    assert fnmatchcase(endpoint_name(fleet_name, "test", other, tenant, hosting, "ml.m5.large"), pattern) == (
        tier == other
    )
    another = endpoint_name(fleet_name, "test", tier, other, "dedicated", "ml.m5.large")
    assert fnmatchcase(another, pattern) == (other == tenant)


def test_a_multi_model_endpoint_grants_its_own_name_with_the_given_tenants() -> None:
    def grant(role: iam.Role) -> None:
        tier = CONFIG.multi_model_tiers["tail"]
        endpoint = MultiModelEndpoint(
            cdk.Stack.of(role), "Tail", **COMMON, image_uri="image", tier_name="tail", tier=tier, execution_role=role
        )
        endpoint.grant_invoke(role, tenants=["m1"])

    statement = granted(grant)
    assert statement["Resource"] == f"{ARN}shop--test--tail--all--*"
    assert statement["Condition"] == {"StringLike": {"sagemaker:TargetModel": ["m1/*"]}}


def test_a_dedicated_endpoint_grants_its_own_name() -> None:
    def grant(role: iam.Role) -> None:
        tier = CONFIG.dedicated_tiers["whale"]
        DedicatedEndpoint(
            cdk.Stack.of(role),
            "W1",
            **COMMON,
            image_uris=["image"],
            tier_name="whale",
            tier=tier,
            tenant="w1",
            execution_role=role,
        ).grant_invoke(role)

    assert granted(grant)["Resource"] == f"{ARN}shop--test--whale--w1--*"
