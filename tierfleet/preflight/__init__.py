"""What can be proven about an AWS account before a fleet is deployed there; every call only reads."""

from tierfleet.preflight.finding import Finding, Status
from tierfleet.preflight.run import preflight

__all__ = ["Finding", "Status", "preflight"]
