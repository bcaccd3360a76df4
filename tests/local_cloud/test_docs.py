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


def test_every_rule_is_printed_with_its_test_and_its_page() -> None:
    printed = rules()

    assert len(printed) > 10
    assert all(name.startswith("test_") for pages in printed.values() for name in pages)
