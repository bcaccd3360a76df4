"""The configuration of a fleet: one TOML file per fleet and environment, checked before anything is built."""

from tierfleet.config.container import Container
from tierfleet.config.hosting.dedicated import DedicatedTenant, DedicatedTier
from tierfleet.config.hosting.multi_model import MultiModelTier, ScaleOnCache
from tierfleet.config.hosting.scaling import Scaling
from tierfleet.config.hosting.tier import Guardrail, HostedTier, InstanceTier, Tier
from tierfleet.config.load import CheckedFile, check_file, check_files, load, load_all
from tierfleet.config.model import FleetConfig
from tierfleet.config.problems import ConfigError, Problem

__all__ = [
    "CheckedFile",
    "ConfigError",
    "Container",
    "DedicatedTenant",
    "DedicatedTier",
    "FleetConfig",
    "Guardrail",
    "HostedTier",
    "InstanceTier",
    "MultiModelTier",
    "Problem",
    "ScaleOnCache",
    "Scaling",
    "Tier",
    "check_file",
    "check_files",
    "load",
    "load_all",
]
