"""The `tierfleet local` commands: a fleet served on this machine, driven and watched."""
