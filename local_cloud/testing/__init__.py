"""Accounts and fleets in the local emulator, for tests and benchmarks."""
