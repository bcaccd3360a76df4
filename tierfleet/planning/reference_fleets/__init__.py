"""The two fleets that tierfleet is measured with, hosted in every way that is talked about: cost and call times.

`tierfleet shapes --reference-fleets` prints the tables, and docs/choosing.md shows them.
"""
