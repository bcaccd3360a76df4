"""The stacks of a fleet: composition only."""
