"""What is measured, on the machine it runs on: `python -m benchmarks.NAME`."""
