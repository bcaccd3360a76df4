"""docs/local-cloud-rules.md lists every file of rules, and every property without effect."""

import re
from pathlib import Path

from local_cloud.services.cloudformation.properties import IGNORED
from tests.local_cloud.rules import rules

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[1] / "docs" / "local-cloud-rules.md").read_text()


def test_every_file_of_rules_is_listed() -> None:
    listed = re.findall(r"^\| [^|]+ \| `([\w/]+\.py)` \|$", PAGE.partition("## Every rule")[2], re.MULTILINE)

    assert listed
    assert sorted(listed) == sorted(rules())


def test_every_property_without_effect_is_listed_with_its_reason() -> None:
    listed = dict(re.findall(r"\| `(AWS::\S+` `\w+)` \| (.+) \|", PAGE))

    assert listed == {f"{kind}` `{name}": reason for (kind, name), reason in IGNORED.items()}
