"""The `tierfleet plan` commands."""
