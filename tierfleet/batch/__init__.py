"""`tierfleet batch`: every row of a file scored by one tenant's model, resumable after an interruption."""
