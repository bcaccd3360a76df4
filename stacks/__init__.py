"""The stacks of a fleet: composition only."""

import os

# Before aws_cdk is imported. Otherwise jsii prints eleven lines on Node 20 (works, but end of life).
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

from aws_cdk import App

__all__ = ["App"]
