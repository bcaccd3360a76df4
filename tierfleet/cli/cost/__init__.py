"""The `tierfleet cost` and `tierfleet prices` commands."""
