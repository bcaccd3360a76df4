"""The `tierfleet models` commands."""
