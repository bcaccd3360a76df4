"""Hit ratios and call times of real endpoints compared with the planner."""
