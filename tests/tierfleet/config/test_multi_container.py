"""hosting = "multi-container": what a fleet file may say, and what it gets for the rest."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG, DELETE, checked, document, fleet
from tierfleet.cli import app
from tierfleet.config import load, routes
from tierfleet.config.hosting.multi_container import FEWEST_CONTAINERS, MOST_CONTAINERS, MultiContainerTier
from tierfleet.config.quotas import quotas
from tierfleet.config.summary import fleet_summary

NAMES = ("card", "document", "velocity")
OWN_IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/velocity:1"


def container(name: str, **changes: Any) -> dict[str, Any]:
    table = {
        "hostname": name,
        "image": "sagemaker-xgboost",
        "version": "1.7-1",
        "model": f"c1/{name}-1.tar.gz",
        **changes,
    }
    return {key: value for key, value in table.items() if value is not DELETE}


def tenant(*containers: dict[str, Any], primary: str = "card") -> dict[str, Any]:
    return {"primary": primary, "containers": list(containers or map(container, NAMES))}


def trio(own: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "hosting": "multi-container",
        "instance_type": "ml.m5.large",
        "instances": {"min": 2, "max": 4, "initial": 2},
        "scaling": {"max_requests_per_second": 60},
        "alarms": {"max_model_latency_p99_milliseconds": 100},
        "tenants": {"c1": own or tenant()},
        **changes,
    }


def with_trio(tier: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document(**{**changes, "tiers": {"trio": tier}})


def of(*changed: dict[str, Any], primary: str = "card") -> dict[str, Any]:
    return trio(tenant(*changed, primary=primary))


AT = "tiers.trio.tenants.c1"
# What is wrong: the tier and the rest of the file, then (table, key, words) of each error.
BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, str, str]]]] = {
    "one container": (
        of(container("card")),
        {},
        [(AT, "containers", "1 containers, a multi-container endpoint has 2 to")],
    ),
    "no container": (
        trio({"primary": "card", "containers": []}),
        {},
        [(AT, "containers", "0 con"), (AT, "primary", "none")],
    ),
    "sixteen containers": (
        of(*(container(f"c{number}") for number in range(15)), container("card")),
        {},
        [(AT, "containers", "16 containers")],
    ),
    "no hostname": (
        of({key: value for key, value in container("card").items() if key != "hostname"}, container("velocity")),
        {},
        [(f"{AT}.containers.0", "hostname", "is missing")],
    ),
    "a hostname twice": (
        of(container("card"), container("velocity"), container("velocity")),
        {},
        [(f"{AT}.containers", "hostname", "2 containers have this hostname")],
    ),
    "hostnames that differ only in case": (
        of(container("card"), container("velocity"), container("Velocity")),
        {},
        [(f"{AT}.containers", "hostname", "Velocity and velocity differ only in case")],
    ),
    **{
        f"the hostname {hostname!r:.20}": (
            of(container("card"), container("velocity") | {"hostname": hostname}),
            {},
            [(f"{AT}.containers", "hostname", "SageMaker takes")],
        )
        for hostname in ("", "-velocity", "velocity-", "velo_city", "velo.city", "vélo", "v" * 64)
    },
    "no primary": (
        trio({"containers": list(map(container, NAMES))}),
        {},
        [(AT, "primary", "is missing")],
    ),
    "an unknown primary": (
        of(*map(container, NAMES), primary="Card"),
        {},
        [(AT, "primary", "no container has this hostname; there are card, document, velocity")],
    ),
    "a container called primary that is not": (
        of(container("card"), container("primary")),
        {},
        [(AT, "primary", "a container is called primary, and so do calls name the primary container, card")],
    ),
    "no image": (
        of(container("card"), container("velocity", image=DELETE)),
        {},
        [(f"{AT}.containers.1", "image", "is miss")],
    ),
    "an unknown image": (
        of(container("card"), container("velocity", image="pytorch", version=DELETE)),
        {},
        [(f"{AT}.containers.velocity", "image", "must be sagemaker-xgboost")],
    ),
    "an unknown version": (
        of(container("card"), container("velocity", version="9")),
        {},
        [(f"{AT}.containers.velocity", "version", "is published as")],
    ),
    "an image of another region": (
        of(container("card"), container("velocity", image=OWN_IMAGE.replace("eu-west-1", "us-east-1"), version=DELETE)),
        {},
        [(f"{AT}.containers.velocity", "image", "from its own region only")],
    ),
    "no model": (
        of(container("card"), container("velocity", model=DELETE)),
        {},
        [(f"{AT}.containers.1", "model", "is miss")],
    ),
    "a content type that the image does not read": (
        of(container("card"), container("velocity", content_type="Application/JSON")),
        {},
        [(f"{AT}.containers.velocity", "content_type", "the image sagemaker-xgboost reads text/csv")],
    ),
    "another tenant's model": (
        of(container("card"), container("velocity", model="c2/1.tar.gz")),
        {},
        [(f"{AT}.containers.velocity", "model", "below its own id, c1/")],
    ),
    "a variable that SageMaker sets": (
        of(container("card"), container("velocity", environment={"SAGEMAKER_BIND_TO_PORT": "8080", "1A": "x"})),
        {},
        [
            (f"{AT}.containers.velocity.environment", "SAGEMAKER_BIND_TO_PORT", "SageMaker sets this itself"),
            (f"{AT}.containers.velocity.environment", "1A", "may not begin with a digit"),
        ],
    ),
    "no content type": (
        of(container("card"), container("velocity", content_type="csv")),
        {},
        [(f"{AT}.containers.velocity", "content_type", "must be a media type")],
    ),
    "a script from S3 without a network": (
        of(
            container("card"),
            container("velocity", environment={"SAGEMAKER_PROGRAM": "a.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://a/b"}),
        ),
        {"network_isolation": True},
        [("", "network_isolation", "without a network the container cannot fetch SAGEMAKER_SUBMIT_DIRECTORY")],
    ),
    "a probe that the primary cannot read": (
        of(*map(container, NAMES)),
        {
            "container": {"image": OWN_IMAGE, "version": DELETE},
            "probe": {"content_type": "application/json", "body": "[[1]]"},
            "tiers": {},
        },
        [("probe", "content_type", "it is the primary container card that gets the probe")],
    ),
    "a Graviton type": (
        trio(instance_type="ml.m6g.large"),
        {},
        [("tiers.trio", "instance_type", "sagemaker-xgboost 1.7-1 is built for x86 only")],
    ),
    "a GPU type": (trio(instance_type="ml.g5.xlarge"), {}, [("tiers.trio", "instance_type", "")]),
    "a burstable type": (trio(instance_type="ml.t2.medium"), {}, [("tiers.trio", "instance_type", "burstable")]),
    "a limit above all vCPUs": (
        trio(alarms={"max_model_latency_p99_milliseconds": 100, "max_container_cpu_percent": 101}),
        {},
        [("tiers.trio.alarms", "max_container_cpu_percent", "100")],
    ),
    "a percentile of a container": (
        of(container("card"), container("velocity", max_latency_p99_milliseconds=10)),
        {},
        [(f"{AT}.containers.1", "max_latency_p99_milliseconds", "unknown key")],
    ),
    "one model as on a dedicated tier": (
        trio(tenants={"c1": {"model": "c1/1.tar.gz"}}),
        {},
        [(AT, "primary", "is missing"), (AT, "containers", "is missing"), (AT, "model", "unknown key")],
    ),
    "a tenant twice": (
        trio(tenants={"w1": tenant(*(container(n, model=f"w1/{n}.tar.gz") for n in NAMES))}),
        {},
        [("tiers.whale.tenants", "w1", "tenant is on 2 tiers")],
    ),
    "everything at once": (
        of(
            container("card"),
            container(
                "velocity", hostname="-velocity", image="x", version=DELETE, content_type="", model="c2/1.tar.gz"
            ),
            container("velocity", hostname="-velocity"),
            primary="main",
        ),
        {},
        [
            (f"{AT}.containers", "hostname", "SageMaker takes"),
            (f"{AT}.containers", "hostname", "2 containers have"),
            (AT, "primary", "no container has this hostname"),
            (f"{AT}.containers.-velocity", "image", "must be"),
            (f"{AT}.containers.-velocity", "content_type", "must be a media type"),
            (f"{AT}.containers.-velocity", "model", "below its own id"),
        ],
    ),
}


def test_a_problem_that_names_a_hostname_with_a_line_break_is_one_line(tmp_path: Path) -> None:
    own = tenant(container("card\n2", model="c1/1.tar.gz"), container("velocity\u2028", model="c1/2.tar.gz"))
    result = checked(tmp_path, with_trio(trio(own)))
    assert result.config is None
    assert [len(str(problem).splitlines()) for problem in result.problems] == [1] * len(result.problems)


def test_a_sound_multi_container_tier_has_no_problem(tmp_path: Path) -> None:
    own = tenant(
        container("card"),
        container("doc", image="tierfleet", version=DELETE),
        container("v", image=OWN_IMAGE, version=DELETE),
    )
    result = checked(tmp_path, with_trio(trio(own)))
    assert result.config is not None, [str(problem) for problem in result.problems]
    assert [problem for problem in result.problems if "trio" in problem.table] == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gets_all_its_errors_at_once_and_exit_code_2(name: str, tmp_path: Path) -> None:
    tier, changes, expected = BROKEN[name]
    result = checked(tmp_path, with_trio(tier, **changes))
    errors = [problem for problem in result.problems if problem.severity == "error"]
    for table, key, words in expected:
        assert any((e.table, e.key) == (table, key) and words in e.message for e in errors), [str(e) for e in errors]
    assert len(errors) == len(expected), [str(error) for error in errors]
    assert CliRunner().invoke(app, ["config", "check", str(tmp_path / "shop-test.toml")]).exit_code == 2


HOSTNAMES = st.text(alphabet="aB1-_.é", max_size=6) | st.sampled_from(["v" * 63, "v" * 64, "primary"])


@given(hostnames=st.lists(HOSTNAMES, max_size=17), primary=HOSTNAMES)
@settings(max_examples=80, deadline=None)
def test_a_tenant_is_sound_exactly_when_sagemaker_takes_its_containers_and_one_is_primary(
    tmp_path_factory: pytest.TempPathFactory, hostnames: list[str], primary: str
) -> None:
    own = {"primary": primary, "containers": [container("x") | {"hostname": name} for name in hostnames]}
    taken = FEWEST_CONTAINERS <= len(hostnames) <= MOST_CONTAINERS and len({name.lower() for name in hostnames}) == len(
        hostnames
    )
    taken &= all(re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name) and len(name) <= 63 for name in hostnames)
    taken &= primary in hostnames and ("primary" not in hostnames or primary == "primary")
    result = checked(tmp_path_factory.mktemp("fleet"), with_trio(trio(own)))
    assert (result.config is not None) == taken, [str(problem) for problem in result.problems]


def test_endpoint_routes_and_quotas_follow_from_the_file() -> None:
    own = tenant(container("velocity", content_type="text/libsvm"), container("card"))
    config = fleet(tiers={"trio": trio(own)})
    assert routes.endpoint_name(config, "trio", "c1") == "shop--test--trio--c1--mce-m5-large"
    built = routes.route_document(config)
    assert built["tiers"]["trio"] == {"hosting": "multi-container"}
    assert built["tenants"]["c1"] == {
        "tier": "trio",
        "endpoint": "shop--test--trio--c1--mce-m5-large",
        "model_version": "card-1",
        "primary": "card",
        "containers": {
            "card": {"content_type": "text/csv", "model_version": "card-1"},
            "velocity": {"content_type": "text/libsvm", "model_version": "velocity-1"},
        },
    }
    Draft4Validator(routes.route_schema(config)).validate(built)
    needed = {quota.name: quota.at_maximum for quota in quotas(config)}
    assert needed["ml.m5.large for endpoint usage"] == 8 + 4
    assert (
        "2 to 4 x ml.m5.large, scaling at 1800 calls a minute and instance, as the slowest container"
        in fleet_summary(config)
    )


def test_the_order_of_the_containers_changes_nothing_but_the_primary_is_the_routes_version() -> None:
    one, other = (
        fleet(tiers={"trio": trio(tenant(*map(container, names), primary="velocity"))})
        for names in (NAMES, NAMES[::-1])
    )
    assert routes.route_document(one) == routes.route_document(other)
    (tier,) = (tier for tier in one.tiers.values() if isinstance(tier, MultiContainerTier))
    assert next(iter(tier.pinned_models("c1").items())) == ("containers.velocity.model", "c1/velocity-1.tar.gz")
    assert one.tiers["trio"].containers(one.container, "c1") == other.tiers["trio"].containers(other.container, "c1")


def test_a_fleet_without_a_multi_container_tier_has_the_validator_that_it_had() -> None:
    assert routes.route_schema(fleet()) == routes.ROUTE_SCHEMA


def test_the_showcase_has_a_trio() -> None:
    (tier,) = (t for t in load(CONFIG / "showcase-dev.toml").tiers.values() if t.hosting == "multi-container")
    assert [len(own.containers) for own in tier.tenants.values()] == [3]
