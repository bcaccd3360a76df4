"""Parliament and Checkov on synthesised templates; a finding without a reason of ours fails the scan.

    python tools/security_scan.py cdk.out

It runs in an environment of its own (requirements-security.txt). tools/security_findings.toml has the answers: check,
resource and reason. An answer that no finding needs any more fails too.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).with_name("security_findings.toml")
_PLACE = "eu-west-1:123456789012"
# What a reference to a resource becomes for Parliament, by type.
_ARNS = {
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{_PLACE}:alarm:{{}}",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/{}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{_PLACE}:function:{{}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{_PLACE}:log-group:{{}}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::SNS::Topic": f"arn:aws:sns:{_PLACE}:{{}}",
    "AWS::Scheduler::ScheduleGroup": f"arn:aws:scheduler:{_PLACE}:schedule-group/{{}}",
}
# Documents that say who may use the resource they hang on; Parliament reads those of identities.
_RESOURCE_POLICIES = ("AssumeRolePolicyDocument", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy")

Finding = tuple[str, str, str]
"""Check, resource (template and logical id) and the finding."""


def checkov(directory: Path) -> Iterator[Finding]:
    """Checkov's failed checks. Raises RuntimeError where it could not run."""
    command = [
        str(Path(sys.executable).with_name("checkov")),
        "--directory",
        str(directory),
        "--framework",
        "cloudformation",
    ]
    options = ["--compact", "--quiet", "--skip-download", "--output", "json"]
    run = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        reports = json.loads(run.stdout)
    except ValueError as error:
        raise RuntimeError(f"checkov gave no report: {run.stderr[-2000:]}") from error
    for report in reports if isinstance(reports, list) else [reports]:
        if "results" not in report or report["summary"]["parsing_errors"]:
            raise RuntimeError(f"checkov could not read the templates: {str(report)[:500]}")
        for failed in report["results"]["failed_checks"]:
            template = Path(failed["file_path"]).name.partition(".")[0]
            yield failed["check_id"], f"{template} {failed['resource'].rpartition('.')[2]}", failed["check_name"]


def parliament(directory: Path) -> Iterator[Finding]:
    """Parliament's findings in every policy of an identity."""
    from parliament import analyze_policy_string

    for file in sorted(directory.rglob("*.template.json")):
        resources = json.loads(file.read_text(encoding="utf-8"))["Resources"]
        for name, resource in resources.items():
            for document in _policies(resource["Type"], resource.get("Properties", {})):
                text = json.dumps(_resolved(document, resources))
                for finding in analyze_policy_string(text, include_community_auditors=True).findings:
                    where = f"{file.name.partition('.')[0]} {name}"
                    yield finding.issue, where, f"{finding.detail} {finding.location}"[:300]


def _policies(kind: str, value: Any) -> Iterator[dict[str, Any]]:
    if kind in _RESOURCE_POLICIES:
        return
    if isinstance(value, dict):
        if "Statement" in value:
            yield value
            return
        for key, below in value.items():
            if key not in _RESOURCE_POLICIES:
                yield from _policies(kind, below)
    elif isinstance(value, list):
        for item in value:
            yield from _policies(kind, item)


def _resolved(value: Any, resources: dict[str, Any]) -> Any:
    """A policy with a plausible value in place of each reference."""
    if isinstance(value, list):
        return [_resolved(item, resources) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Fn::Join"}:
        separator, parts = value["Fn::Join"]
        return separator.join(str(_resolved(part, resources)) for part in parts)
    if value.keys() == {"Fn::GetAtt"}:
        return _reference(value["Fn::GetAtt"][0], resources)
    if value.keys() == {"Ref"}:
        return "aws" if value["Ref"] == "AWS::Partition" else _reference(value["Ref"], resources)
    return {key: _resolved(item, resources) for key, item in value.items()}


def _reference(name: str, resources: dict[str, Any]) -> str:
    return _ARNS.get(resources.get(name, {}).get("Type", ""), "{}").format(name[:24].lower())


def unanswered(findings: list[Finding], answers: list[dict[str, str]]) -> list[str]:
    """One sentence for each finding without an answer, and for each answer without a finding."""
    used: set[int] = set()
    lines = []
    for check, resource, what in findings:
        matching = [
            number
            for number, answer in enumerate(answers)
            if answer["check"] == check and re.fullmatch(answer["resource"], resource)
        ]
        used.update(matching)
        if not matching:
            lines.append(f"{check}: {resource}: {what}")
    for number, answer in enumerate(answers):
        if len(answer["reason"]) < 40:
            lines.append(f"{answer['check']}: the reason of {answer['resource']} is too short")
        if number not in used:
            lines.append(f"{answer['check']}: no finding in {answer['resource']} any more; remove the answer")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="Parliament and Checkov on synthesised templates.")
    parser.add_argument("directory", type=Path, help="a cloud assembly, such as cdk.out")
    directory: Path = parser.parse_args().directory
    templates = len(list(directory.rglob("*.template.json")))
    if not templates:
        print(f"{directory} has no templates; run make synth first")
        return 2
    findings = [*parliament(directory), *checkov(directory)]
    lines = unanswered(findings, tomllib.loads(ANSWERS.read_text(encoding="utf-8"))["finding"])
    print("\n".join([*lines, f"{templates} templates, {len(findings)} findings, {len(lines)} to look at"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
