"""The CDK app: one Stage for every fleet file in config/, or for what `-c config=...` names (a directory or file)."""

import sys
from pathlib import Path

from stacks import App
from stacks.fleet_stage import FleetStage
from tierfleet.config import ConfigError, load_all
from tierfleet.config.quotas import quota_table, quotas
from tierfleet.template_limits import check_assembly

app = App()
path = Path(str(app.node.try_get_context("config") or Path(__file__).parent / "config"))
try:
    fleets = load_all(path)
except ConfigError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
for config in fleets:
    FleetStage(app, config)
    print(quota_table(config, quotas(config)), file=sys.stderr)
if findings := check_assembly(Path(app.synth().directory)):
    print(*(f"error: {finding}" for finding in findings), sep="\n", file=sys.stderr)
    sys.exit(2)
