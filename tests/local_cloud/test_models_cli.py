"""`tierfleet models` against the local emulator: from a tenant's first publish to the last byte collected."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from loopback import service_models_read_once
from small_models import small_model
from tierfleet_server.publishing.packaging import package_model
from typer.testing import CliRunner

from local_cloud.host.cdk_cli import environment
from local_cloud.testing.account import Account
from local_cloud.testing.fleet_template import IMAGE, ROLE_ARN
from local_cloud.testing.fleets import DELETE, document
from tests.forest.compiled import needs_compiled
from tierfleet.cli import app
from tierfleet.models.publish import publish
from tierfleet.runtime.names import catalog_key, models_bucket

runner = CliRunner()


@pytest.fixture(scope="module")
def archive() -> bytes:
    """A real model of three features, packaged."""
    return package_model(small_model(3))[0]


@pytest.fixture(scope="module", autouse=True)
def quick_clients() -> Iterator[None]:
    """Each command is a process; here they share what botocore reads from disk, and nothing else."""
    with service_models_read_once():
        yield


class Shop:
    """A fleet file of the tests' small fleet in an account of its own, its bucket, and the command line."""

    def __init__(self, account: Account, directory: Path, archive: bytes) -> None:
        self.account, self.directory, self.archive = account, directory, archive
        self.bucket = models_bucket("shop", "test", account.id, "eu-west-1")
        self.config = directory / "shop-test.toml"
        self.write()
        self.s3 = account.client("s3")
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})

    def write(self, **changes: Any) -> None:
        self.config.write_text(tomlkit.dumps(document(account=self.account.id, **changes)))

    def models(self, *names: str) -> str:
        for name in names:
            file = self.directory / "models" / f"{name}.tar.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.archive)
        return str(self.directory / "models")

    def run(self, command: str, *arguments: str, code: int = 0) -> str:
        result = runner.invoke(app, ["models", command, str(self.config), *arguments])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    def json(self, command: str, *arguments: str, code: int = 0) -> Any:
        result = runner.invoke(app, ["models", command, str(self.config), *arguments, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def publish(self, *names: str) -> None:
        for name in names:
            tenant, _, version = name.partition("/")
            publish(self.s3, bucket=self.bucket, tenant=tenant, version=version, archive=self.archive)

    def deploy_model(self, name: str, key: str, mode: str = "SingleModel") -> None:
        url = f"s3://{self.bucket}/models/{key}"
        self.account.client("sagemaker").create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE_ARN,
            PrimaryContainer={"Image": IMAGE, "Mode": mode, "ModelDataUrl": url},
        )

    def fates(self, *arguments: str, code: int = 0) -> dict[str, str]:
        report = self.json("gc", "--grace-hours", "0", *arguments, code=code)
        return {item["target_model"].removesuffix(".tar.gz"): item["fate"] for item in report["artefacts"]}


@pytest.fixture
def shop(account: Account, tmp_path: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Shop:
    for name, value in environment(account.cloud, account.id).items():
        monkeypatch.setenv(name, value)
    return Shop(account, tmp_path, archive)


def test_a_directory_is_validated_published_and_published_again_without_a_change(shop: Shop) -> None:
    models = shop.models("t1/1", "t2/1", "t3/1", "t3/2")
    first = shop.json("publish", models)
    again = shop.json("publish", models)
    assert {item["target_model"] for item in first["published"]} == {
        "t1/1.tar.gz",
        "t2/1.tar.gz",
        "t3/1.tar.gz",
        "t3/2.tar.gz",
    }
    assert (first["summary"]["published"], again["summary"]) == (
        4,
        {**again["summary"], "unchanged": 3, "older": 1, "uploaded_bytes": 0},
    )
    rows = {row["tenant"]: row for row in shop.json("list", code=2)["models"]}
    assert (rows["t3"]["version"], rows["t3"]["previous"]) == ("2", "1"), "a rerun does not point back"


def test_a_model_with_an_error_stops_neither_the_others_nor_the_exit_code(shop: Shop) -> None:
    models = shop.models("t1/1", "t2/1")
    (shop.directory / "models" / "t2" / "1.tar.gz").write_bytes(b"no archive")
    output = shop.run("publish", models, code=2)
    assert "t2/1.tar.gz: the artefact is truncated or not a tar.gz" in output
    assert "2 models: 1 published, 1 refused" in output
    assert list(shop.json("list", "--tenant", "t1")["models"][0]["problems"]) == []


def test_a_model_file_under_a_published_version_is_refused(shop: Shop, archive: bytes) -> None:
    shop.publish("t1/1")
    shop.archive = archive + b"\0"
    shop.models("t1/1")
    output = shop.run("publish", str(shop.directory / "models"), "--skip-validation", code=2)
    assert "t1/1.tar.gz is current with other bytes; publish under a new version" in output


def test_the_list_shows_what_each_tenant_serves_and_what_is_wrong(shop: Shop) -> None:
    shop.publish("t1/1", "t1/2", "w1/2027-01-01", "w1/2027-02-02")
    shop.s3.put_object(Bucket=shop.bucket, Key=catalog_key("t9"), Body=b"{")
    shop.s3.put_object(
        Bucket=shop.bucket,
        Key=catalog_key("t8"),
        Body=b'{"tenant": "t8", "version": "1", "target_model": "t8/1.tar.gz"}',
    )
    listed = shop.json("list", code=2)
    rows = {row["tenant"]: row for row in listed["models"]}
    assert list(rows) == ["t1", "t8", "t9", "w1"]
    assert rows["t1"] | {"published_at": 0} == {
        "tenant": "t1",
        "tier": "tail",
        "endpoint": "shop--test--tail--all--mme-m5-xlarge",
        "version": "2",
        "pinned": None,
        "serves": "2",
        "size_bytes": len(shop.archive),
        "published_at": 0,
        "previous": "1",
        "versions": 2,
        "removed_at": None,
        "problems": [],
        "broken": False,
    }
    assert rows["w1"]["serves"] == "2027-01-01"
    assert rows["w1"]["problems"] == ["its endpoint serves the pin 2027-01-01, the pointer names 2027-02-02"]
    assert "is malformed" in rows["t9"]["problems"][0]
    assert rows["t8"]["problems"] == ["the pointer names 1, which is not in the bucket"]
    assert listed["s3_calls"] == {"LIST": 2, "GET": 4}
    text = shop.run("list", "--tier", "whale")
    assert "2027-02-02 (pinned: 2027-01-01)" in text
    assert "1 tenant, " in text


def test_a_rollback_goes_to_the_previous_version_or_to_the_one_named(shop: Shop) -> None:
    shop.publish("t1/1", "t1/2", "t1/3")
    assert "t1: 3 -> 2; callers use it within 60 s" in shop.run("rollback", "t1")
    assert "t1: 2 -> 1" in shop.run("rollback", "t1", "--to", "1")
    assert "t1: 1 is already current" in shop.run("rollback", "t1", "--to", "1")
    assert "t1/7.tar.gz is not in" in shop.run("rollback", "t1", "--to", "7", code=2)
    assert "tenant t7 has no published model" in shop.run("rollback", "t7", code=2)
    assert shop.json("list", "--tenant", "t1")["models"][0]["previous"] == "2"


def test_publishing_for_a_whale_says_that_its_pin_decides(shop: Shop) -> None:
    output = shop.run("publish", shop.models("w1/2027-02-02"), "--skip-validation")
    assert "pinned by [tiers.whale.tenants] w1: its endpoint still serves w1/2027-01-01.tar.gz; change" in output
    assert "warning" not in shop.run(
        "publish", shop.models("w1/2027-01-01") + "/w1/2027-01-01.tar.gz", "--skip-validation"
    )


def test_rolling_a_whale_back_says_that_its_pin_decides(shop: Shop) -> None:
    shop.publish("w1/2027-01-01", "w1/2027-02-02")
    assert "its endpoint still serves w1/2027-01-01.tar.gz; change that line and deploy" in shop.run("rollback", "w1")


def test_a_tenant_is_removed_in_two_steps(shop: Shop) -> None:
    shop.publish("t1/1", "t1/2", "t5/1")
    output = shop.run("remove", "t1")
    assert "t1 is removed, t1/2.tar.gz was current; 2 artefacts" in output
    assert "instances keep a loaded model until they evict it" in output
    assert "t1 is on the warm-up list of [tiers.tail]" in output
    assert "t1 was already removed at" in shop.run("remove", "t1")
    assert "kept: 2 artefacts" in shop.run("remove", "t1", "--artefacts"), "the grace period"
    assert "deleted: 2 artefacts" in shop.run("remove", "t1", "--artefacts", "--grace-hours", "0", "--permanently")
    kept = [item["Key"] for item in shop.s3.list_object_versions(Bucket=shop.bucket, Prefix="models/")["Versions"]]
    assert kept == ["models/t5/1.tar.gz"]
    assert "there is nothing of tenant t6" in shop.run("remove", "t6", code=2)
    assert "t5 is not removed yet; run models remove without --artefacts first" in shop.run(
        "remove", "t5", "--artefacts", code=2
    )


def test_a_tenant_that_something_still_names_is_not_removed(shop: Shop) -> None:
    shop.publish("w1/2027-01-01", "t1/1")
    shop.deploy_model("left-over", "t1/1.tar.gz")
    assert "the fleet file lists w1 in [tiers.whale] tenants; delete it there and deploy" in shop.run(
        "remove", "w1", code=2
    )
    assert "a model of t1 is deployed as SageMaker model left-over" in shop.run("remove", "t1", code=2)


def test_gc_keeps_what_anything_refers_to_and_changes_nothing_unasked(shop: Shop) -> None:
    shop.publish("t1/1", "t1/2", "t1/3", "w1/2027-01-01", "w1/2", "w1/3", "w1/4", "t2/1", "t2/2", "t2/3")
    shop.deploy_model("tail", "", "MultiModel")
    shop.deploy_model("by-hand", "t2/1.tar.gz")
    shop.s3.put_object(Bucket=shop.bucket, Key="models/readme.txt", Body=b"x")
    expected = {
        "t1/1": "garbage",
        "t1/2": "kept",
        "t1/3": "kept",
        "t2/1": "kept",
        "t2/2": "kept",
        "t2/3": "kept",
        "w1/2": "garbage",
        "w1/2027-01-01": "kept",
        "w1/3": "kept",
        "w1/4": "kept",
    }
    assert shop.fates() == shop.fates() == expected
    assert "garbage: 0 artefacts" in shop.run("gc"), "nothing is a day old"
    output = shop.run("gc", "--grace-hours", "0", "--delete")
    assert "deleted  t1/1.tar.gz" in output
    assert "2 artefacts" in output
    assert "hidden, freed when the bucket's lifecycle rule deletes old versions" in output
    assert "models/readme.txt is not the key of an artefact" in output
    assert shop.json("list")["models"][0]["versions"] == 2
    assert shop.fates("--delete", "--permanently")["w1/2"] == "deleted"
    assert "w1/2" not in shop.fates()


def test_gc_counts_the_pins_of_every_file_given(shop: Shop, tmp_path: Path) -> None:
    shop.publish("w1/1", "w1/2", "w1/3", "w1/2027-01-01", "w1/4")
    other = tmp_path / "branch" / shop.config.name
    other.parent.mkdir()
    branch = document(account=shop.account.id, tiers={"whale": {"tenants": {"w1": {"model": "w1/1.tar.gz"}}}})
    other.write_text(tomlkit.dumps(branch))
    assert shop.fates(str(other)) == {
        "w1/1": "kept",
        "w1/2": "garbage",
        "w1/3": "garbage",
        "w1/2027-01-01": "kept",
        "w1/4": "kept",
    }


def test_gc_keeps_a_tenant_whose_pointer_is_broken_and_says_so(shop: Shop) -> None:
    shop.publish("t1/1", "t1/2", "t1/3")
    shop.s3.put_object(Bucket=shop.bucket, Key=catalog_key("t1"), Body=b"[]")
    assert set(shop.fates("--delete", code=2).values()) == {"kept"}


def test_gc_refuses_when_sagemaker_cannot_be_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish("t1/1", "t1/2", "t1/3")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "http://127.0.0.1:9")
    output = shop.run("gc", "--grace-hours", "0", "--delete", code=2)
    assert "no answer (" in output
    assert len(shop.s3.list_objects_v2(Bucket=shop.bucket, Prefix="models/")["Contents"]) == 3


@pytest.mark.parametrize("command", ["list", "gc", "rollback", "publish"])
def test_a_missing_bucket_is_one_sentence(shop: Shop, command: str) -> None:
    shop.account.id = "123123123123"
    shop.write()
    arguments = {"rollback": ["t1"], "publish": [shop.models("t1/1")]}.get(command, [])
    output = shop.run(command, *arguments, code=2)
    said = "on shop--test--models--123123123123--eu-west-1: there is no such bucket; it comes with cdk deploy shop-test"
    assert said in output


@needs_compiled
def test_published_models_are_converted_and_their_sources_collected(shop: Shop) -> None:
    shop.publish("t1/1", "t2/1", "t2/2")
    shop.write(container={"image": "tierfleet", "version": DELETE})

    def convert(*arguments: str, code: int = 0) -> Any:
        result = runner.invoke(app, ["models", "convert", "--config", str(shop.config), *arguments])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if "--json" in arguments else " ".join(result.output.split())

    assert "would convert" in convert("--dry-run", "--tenant", "t1")
    done = convert("--json")
    assert done["summary"] == {"converted": 2}
    assert [item["after"] for item in done["conversions"]] == ["t1/1-forest.tar.gz", "t2/2-forest.tar.gz"]
    assert "2 tenants: 2 unchanged" in convert()
    kept = shop.json("gc", "--grace-hours", "0")
    assert (kept["sources"], kept["unneeded_sources"]) == (2, [])
    assert "nothing is published for t9" in convert("--tenant", "t9", code=2)
    for wrong, says in (
        (["--forest", "both"], "give none, beside or alone"),
        (["--forest", "none", "--contribs"], "leave one out"),
        (["model.ubj"], "not both"),
    ):
        assert says in convert(*wrong, code=2)
    shop.write(container={"image": "sagemaker-xgboost", "version": "3.0-5"})
    assert "may not read flat forests" in convert(code=2)
    alone = runner.invoke(app, ["models", "convert"])
    assert alone.exit_code == 2
    assert "--config with a fleet file" in " ".join(alone.output.split())
