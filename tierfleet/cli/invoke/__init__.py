"""The `tierfleet invoke` command."""
