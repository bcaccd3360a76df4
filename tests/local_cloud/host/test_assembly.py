"""Deploying a cloud assembly by boto3, as the tests of the synthesised app do."""

import json
from pathlib import Path
from typing import Any

import pytest

from local_cloud.host import assembly
from local_cloud.testing.account import Account


def write_assembly(folder: Path, account: str, *, region: str = "eu-west-1", topic: str = "alarms") -> Path:
    """Two stacks, the second dependent on the first, and one zip asset: the files the CDK writes."""
    folder.mkdir()
    (folder / "code").mkdir()
    (folder / "code" / "index.py").write_text("def handler(event, context):\n    return 1\n")
    stacks = {
        "Models": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": topic}}},
        "Fleet": {"Group": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "fleet"}}},
    }
    artifacts: dict[str, Any] = {}
    for name, resources in stacks.items():
        template = {
            "Parameters": {
                "BootstrapVersion": {
                    "Type": "AWS::SSM::Parameter::Value<String>",
                    "Default": "/cdk-bootstrap/hnb659fds/version",
                }
            },
            "Resources": resources,
        }
        (folder / f"{name}.template.json").write_text(json.dumps(template))
        artifacts[name] = {
            "type": "aws:cloudformation:stack",
            "environment": f"aws://{account}/{region}",
            "properties": {
                "templateFile": f"{name}.template.json",
                "stackName": name,
                "tags": {"fleet": "mini"},
            },
            "dependencies": ["Models"] if name == "Fleet" else [],
        }
    (folder / "manifest.json").write_text(json.dumps({"artifacts": dict(reversed(artifacts.items()))}))
    place = {"bucketName": "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}", "objectKey": "code.zip"}
    files = {"code": {"source": {"path": "code", "packaging": "zip"}, "destinations": {"current": place}}}
    (folder / "Fleet.assets.json").write_text(json.dumps({"files": files}))
    return folder


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
def test_assembly_is_published_deployed_and_destroyed(account: Account, tmp_path: Path, region: str) -> None:
    folder = write_assembly(tmp_path / "assembly", account.id, region=region)
    stacks = list(assembly.stacks(folder))

    assembly.publish_assets(account.cloud, folder, account.id, region)
    statuses = [assembly.deploy(account.cloud, stack) for stack in stacks]
    again = assembly.deploy(account.cloud, stacks[0])
    topics = account.cloud.client("sns", account.id, region=region).list_topics()["Topics"]
    for stack in reversed(stacks):
        assembly.destroy(account.cloud, stack)

    assert [stack.name for stack in stacks] == ["Models", "Fleet"]
    assert statuses == ["CREATE_COMPLETE"] * 2
    assert again == "CREATE_COMPLETE"
    assert [topic["TopicArn"] for topic in topics] == [f"arn:aws:sns:{region}:{account.id}:alarms"]
    assert account.cloud.client("sns", account.id, region=region).list_topics()["Topics"] == []


def test_failed_deployment_names_the_resource_and_the_reason(account: Account, tmp_path: Path) -> None:
    folder = write_assembly(tmp_path / "assembly", account.id)
    template = json.loads((folder / "Fleet.template.json").read_text())
    template["Resources"]["Group"]["Properties"]["RetentionInDay"] = 7
    (folder / "Fleet.template.json").write_text(json.dumps(template))
    models, fleet = assembly.stacks(folder)
    assembly.publish_assets(account.cloud, folder, account.id, "eu-west-1")
    assembly.deploy(account.cloud, models)

    with pytest.raises(assembly.DeploymentError, match=r"Group: .*RetentionInDay: unknown property"):
        assembly.deploy(account.cloud, fleet)
