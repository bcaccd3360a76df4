"""Synthesises every fleet of config/ and one with every option, for scanners: python tools/every_option.py DIRECTORY"""

# The paths come first where this runs as a script.
# ruff: noqa: E402

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import aws_cdk as cdk
from synthesis import FLAGS
from test_lint import EVERYTHING_ON

from stacks.fleet_stage import FleetStage
from tierfleet.config import load_all

if __name__ == "__main__":
    app = cdk.App(context=FLAGS, outdir=sys.argv[1], analytics_reporting=False, tree_metadata=False)
    for config in [*load_all(ROOT / "config"), EVERYTHING_ON]:
        FleetStage(app, config)
    app.synth()
