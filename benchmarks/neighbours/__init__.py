"""Small calls during other tenants' costliest requests and loads: `python -m benchmarks.neighbours`."""
