"""Hit ratios and call times of real endpoints beside the planner."""
