"""The scan of templates: what is found needs an answer with a reason, and an answer needs something that is found."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from local_cloud.testing.fleets import ROOT

sys.path.append(str(ROOT / "tools"))
import security_scan

ANSWER = {"check": "CKV_1", "resource": r"\S+ Topic\w+", "reason": "long enough to say why this is meant to be so"}


def test_a_finding_without_an_answer_is_reported() -> None:
    findings = [
        ("CKV_1", "fraud TopicA", "x"),
        ("CKV_1", "fraud BucketA", "not encrypted"),
        ("CKV_2", "fraud TopicA", "y"),
    ]
    lines = security_scan.unanswered(findings, [ANSWER])
    assert lines == ["CKV_1: fraud BucketA: not encrypted", "CKV_2: fraud TopicA: y"]


def test_an_answer_that_nothing_needs_and_one_without_a_reason_are_reported() -> None:
    assert "remove the answer" in security_scan.unanswered([], [ANSWER])[0]
    findings = [("CKV_1", "fraud TopicA", "x")]
    assert security_scan.unanswered(findings, [ANSWER]) == []
    assert "too short" in security_scan.unanswered(findings, [{**ANSWER, "reason": "because"}])[0]


def test_every_answer_of_ours_is_whole() -> None:
    answers = tomllib.loads(security_scan.ANSWERS.read_text())["finding"]
    assert answers
    assert all(answer.keys() == {"check", "resource", "reason"} for answer in answers)
    assert len({(answer["check"], answer["resource"]) for answer in answers}) == len(answers)


def test_parliament_gets_every_identitys_policy_without_references(assembly: Path) -> None:
    policies = [
        json.dumps(security_scan._resolved(document, template["Resources"]))
        for template in (json.loads(file.read_text()) for file in sorted(assembly.rglob("*.template.json")))
        for resource in template["Resources"].values()
        for document in security_scan._policies(resource["Type"], resource.get("Properties", {}))
    ]
    # Roles with inline policies, and policies of their own; each as IAM would read it.
    assert len(policies) > 15
    assert not [text for text in policies if '"Fn::' in text or '"Ref"' in text or "Principal" in text]


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ({"Fn::GetAtt": ["F", "Arn"]}, "arn:aws:lambda:eu-west-1:123456789012:function:f"),
        ({"Fn::Join": ["", [{"Ref": "AWS::Partition"}, ":", {"Ref": "X"}]]}, "aws:x"),
        ([{"a": {"Ref": "T"}}], [{"a": "arn:aws:sns:eu-west-1:123456789012:t"}]),
    ],
)
def test_references_become_values(value: Any, resolved: Any) -> None:
    resources = {"F": {"Type": "AWS::Lambda::Function"}, "T": {"Type": "AWS::SNS::Topic"}}
    assert security_scan._resolved(value, resources) == resolved
