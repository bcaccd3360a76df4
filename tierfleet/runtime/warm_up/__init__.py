"""The warm-up: what to load, the run that loads it, its report, and the gate of a deployment."""
