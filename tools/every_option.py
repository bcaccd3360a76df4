"""Synthesises every fleet of config/ and one with every option, for scanners: python tools/every_option.py DIRECTORY"""

# The paths come first where this runs as a script.

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aws_cdk as cdk

from local_cloud.testing.fleets import CONFIG, EVERYTHING_ON, ROOT
from stacks.fleet_stage import FleetStage
from tierfleet.config import load_all

if __name__ == "__main__":
    flags = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    app = cdk.App(context=flags, outdir=sys.argv[1], analytics_reporting=False, tree_metadata=False)
    for config in [*load_all(CONFIG), EVERYTHING_ON]:
        FleetStage(app, config)
    app.synth()
