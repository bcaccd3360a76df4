"""Accounts and fleets in the local cloud, for tests and benchmarks."""
