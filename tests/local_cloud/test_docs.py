"""docs/local-cloud-rules.md lists every property without effect, and its command prints every rule."""

import re
from pathlib import Path

from local_cloud.services.cloudformation.properties import IGNORED
from tests.local_cloud.rules import rules

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[1] / "docs" / "local-cloud-rules.md").read_text()


def test_every_property_without_effect_is_listed_with_its_reason() -> None:
    listed = dict(re.findall(r"\| `(AWS::\S+` `\w+)` \| (.+) \|", PAGE))

    assert listed == {f"{kind}` `{name}": reason for (kind, name), reason in IGNORED.items()}


def test_the_command_that_the_page_names_has_the_rules_of_every_service() -> None:
    assert "`python -m tests.local_cloud.rules`" in PAGE
    assert {"sagemaker", "autoscaling", "cloudformation", "cloudwatch", "stacks"} <= {
        file.split("/")[1] for file in rules() if file.startswith("services/")
    }
