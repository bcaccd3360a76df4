"""The search for the cheapest fleet: who is dedicated, which types, how many instances, and how each would do."""
