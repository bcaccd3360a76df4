"""The embedded AWS stand-in: an emulator on loopback that deploys our templates, without an AWS account."""

from local_cloud.processes import LocalCloud, NotRunningError, running, start

__all__ = ["LocalCloud", "NotRunningError", "running", "start"]
