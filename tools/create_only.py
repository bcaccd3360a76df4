"""make schema: the create-only properties of every resource type in the snapshots, as `tierfleet diff` reads them."""

import json
import re
from pathlib import Path

from local_cloud.services.cloudformation.schemas import create_only_properties

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "tierfleet" / "data" / "create_only_properties.json"


def create_only() -> dict[str, tuple[str, ...]]:
    """By resource type; CloudFormation's schemas are the ones that cfn-lint ships."""
    texts = (file.read_text(encoding="utf-8") for file in (ROOT / "tests" / "snapshots").glob("*.json"))
    types = {kind for text in texts for kind in re.findall(r'"Type": "(AWS::\w+::\w+)"', text)}
    by_type = {kind: create_only_properties(kind, "us-east-1") for kind in sorted(types)}
    return {kind: properties for kind, properties in by_type.items() if properties}


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(create_only(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
