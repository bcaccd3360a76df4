"""An instance: its container, its models on disk and in memory, its counters."""
