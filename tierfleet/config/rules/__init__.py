"""The rules of a fleet file beyond the shape of its values: by fleet, tier, guardrail, container and size."""
